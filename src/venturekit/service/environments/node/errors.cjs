'use strict';

// An error as the caller gets it and as the log shows it. Source: AWS page "AWS Lambda function errors in Node.js" and
// recordings of AWS's runtime interface clients.

const util = require('util');

// Named when our own frames would be shown: a function's author has nothing to do with them.
const OWN_FOLDER = __dirname;
const UNREADABLE =
  'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack';

// What the runtime itself has found. `rules` (see rules.cjs) say whether the log shows the name twice.
class RuntimeError extends Error {
  constructor(type, message, rules, stack) {
    super(message);
    Object.defineProperty(this, 'name', { value: type, enumerable: rules.repeatsNames });
    const kind = type.replace(/^Runtime\./, '');
    const className = /Error$|^InvalidStreaming/.test(kind) ? kind : kind + rules.classSuffix;
    Object.defineProperty(this, 'className', { value: className });
    this.stack = stack || `${type}: ${message}`;
  }
}

function isError(value) {
  try {
    return util.types.isNativeError(value) || value instanceof Error;
  } catch {
    return false; // a proxy that refuses to be asked
  }
}

function stackLines(error) {
  return error.stack.split('\n').filter((line) => !line.includes(OWN_FOLDER));
}

// The body of a posted error, as text. `callbacks`: by the rules of the runtimes that have them. Never throws.
function errorBody(error, callbacks) {
  return JSON.stringify(describe(error, callbacks));
}

function describe(error, callbacks) {
  try {
    if (isError(error)) {
      const described = { errorType: escaped(error.name), errorMessage: escaped(error.message), trace: [] };
      if (callbacks || (error.stack ?? '') !== '') described.trace = stackLines(error).map(escaped);
      return described;
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return { errorType: 'handled', errorMessage: UNREADABLE, ...(callbacks ? {} : { trace: [] }) };
  }
}

// Never throws.
function errorType(error) {
  let type;
  try {
    type = isError(error) ? error.name : typeof error;
  } catch {
    type = 'handled';
  }
  // It stands in a header line.
  return typeof type === 'string' && /^[\x21-\x7e]{1,256}$/.test(type) ? type : 'Error';
}

function escaped(text) {
  if (text === undefined || text === null) return undefined;
  if (typeof text !== 'string') throw new TypeError('not a text');
  return text.replaceAll('\x7f', '%7F');
}

// An error in the text log: one line of JSON. Never throws.
function logText(error, callbacks) {
  const given = asError(error);
  try {
    return JSON.stringify(loggedFields(given), (_, value) => (isError(value) ? loggedFields(value) : value));
  } catch {
    return errorBody(given, callbacks);
  }
}

function loggedFields(error) {
  const stack = typeof error.stack === 'string' ? stackLines(error) : undefined;
  return { errorType: error.name, errorMessage: error.message, code: error.code, ...error, stack };
}

// An error in the JSON log.
function logFields(error) {
  return {
    errorType: error.className ?? error.constructor?.name ?? 'UnknownError',
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? stackLines(error) : error.stack,
    ...error,
  };
}

function asError(value) {
  if (isError(value)) return value;
  let message;
  try {
    message = String(value);
  } catch {
    message = '[object]';
  }
  const error = new Error(message);
  error.stack = `Error: ${message}`;
  return error;
}

module.exports = { RuntimeError, asError, errorBody, errorType, isError, logFields, logText };
