'use strict';

// From an event to its outcome: calls the handler by the rules of its runtime, and posts what comes of it exactly once.

const { RuntimeError, errorBody, errorType } = require('./errors.cjs');
const { makeContext } = require('./context.cjs');
const { contextOf } = require('./store.cjs');
const { ResponseStream } = require('./stream.cjs');

const DESTROYED = 'The response stream was destroyed before its end.';
const TRACE_VARIABLE = '_X_AMZN_TRACE_ID';
// What waits for it runs without a frame of node's own in its stack trace.
const SOON = Promise.resolve();

// AWS calls handlers as methods of a class of this name: it shows in stack traces.
class Runtime {
  constructor(handler) {
    this.handler = handler;
  }
}

class Invocations {
  constructor({ api, log, rules, identity, loaded, store }) {
    this._api = api;
    this._log = log;
    this._rules = rules;
    this._identity = identity;
    this._store = store;
    this._runtime = new Runtime(loaded.handler);
    this._streaming = loaded.streaming;
    this._highWaterMark = loaded.highWaterMark;
    this.current = undefined; // { requestId, stream } of the invocation that has no outcome yet
    this._atRest = undefined; // what to do when the event loop has nothing left to do
  }

  take(headers, body) {
    const requestId = headers['lambda-runtime-aws-request-id'];
    const trace = headers['lambda-runtime-trace-id'];
    if (trace !== undefined) process.env[TRACE_VARIABLE] = trace;
    else delete process.env[TRACE_VARIABLE];
    const invocation = { requestId, tenantId: headers['lambda-runtime-aws-tenant-id'], stream: undefined };
    this.current = invocation;
    // Text now: the bytes are written over. Not run from here: a stack trace would show how the event came.
    const text = body.utf8Slice();
    const run = () => this._run(invocation, headers, text);
    const store = this._store;
    SOON.then(store ? () => store.run(contextOf(requestId, trace, invocation.tenantId), run) : run);
  }

  // The event loop is empty. What waited for that is done now, and gives it work again.
  atRest() {
    const work = this._atRest;
    this._atRest = undefined;
    work?.();
  }

  _run(invocation, headers, text) {
    this._log.enter(invocation);
    try {
      const event = JSON.parse(text);
      if (this._streaming) this._stream(invocation, event, this._context(headers));
      else if (this._rules.callbacks) this._callWithCallback(invocation, event, headers);
      else this._call(invocation, event, this._context(headers));
    } catch (error) {
      this._fail(invocation, error);
    }
  }

  _context(headers, methods) {
    return makeContext(headers, this._identity, this._rules, methods);
  }

  // --- from nodejs24.x on: what the handler returns, or what its promise gives -----------------------------------

  _call(invocation, event, context) {
    const result = this._runtime.handler(event, context);
    if (!isThenable(result)) {
      this._succeed(invocation, result);
      return;
    }
    Promise.resolve(result).then(
      (value) => this._succeed(invocation, value),
      (error) => this._fail(invocation, error),
    );
  }

  // --- up to nodejs22.x: a promise, the callback, the context's methods, or an empty event loop --------------------

  _callWithCallback(invocation, event, headers) {
    let called = false;
    const callback = (error, value) => {
      if (called) return;
      called = true;
      this._atRest = undefined;
      if (error !== undefined && error !== null) this._fail(invocation, error);
      else if (context.callbackWaitsForEmptyEventLoop) this._atRest = () => this._succeed(invocation, value);
      else this._succeed(invocation, value);
    };
    const done = (error, value) => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(error, value);
    };
    const succeed = (value) => done(null, value);
    const fail = (error) => done(error ?? 'handled');
    const context = this._context(headers, { succeed, fail, done });
    this._atRest = () => succeed(undefined);
    let result;
    try {
      result = this._runtime.handler(event, context, callback);
    } catch (error) {
      callback(error);
      return;
    }
    if (isThenable(result)) result.then(succeed, fail);
  }

  // --- streams --------------------------------------------------------------------------------------------------

  _stream(invocation, event, context) {
    const stream = new ResponseStream(this._api, invocation.requestId, this._highWaterMark);
    invocation.stream = stream;
    // A stream that is never ended is waited for, until the function's time is over.
    this._api.hold();
    let failed = false;
    const fail = (error) => {
      if (failed) return;
      failed = true;
      this._fail(invocation, error);
      stream.destroy();
    };
    stream.on('error', fail);
    stream.on('finish', () => {
      if (!failed) this._close(invocation, undefined);
    });
    stream.on('close', () => {
      if (!stream.writableFinished) fail(new Error(DESTROYED));
    });
    let result;
    try {
      result = this._runtime.handler(event, stream, context);
    } catch (error) {
      fail(error);
      return;
    }
    if (!isThenable(result)) {
      const error = new Error('Streaming does not support non-async handlers.');
      if (stream.writableEnded) this._log.error('Invoke Error', error);
      else fail(error);
      return;
    }
    result.then((value) => {
      if (value !== undefined) this._log.warn('Streaming handlers ignore return values.');
    }, fail);
  }

  // --- outcomes -------------------------------------------------------------------------------------------------

  _succeed(invocation, value) {
    if (this.current !== invocation) return;
    let body;
    try {
      body = serialized(value, this._rules);
    } catch (error) {
      this._fail(invocation, error);
      return;
    }
    this.current = undefined;
    this._api.respond(invocation.requestId, body);
  }

  _fail(invocation, error) {
    if (this.current !== invocation) return;
    this._log.error('Invoke Error', error);
    if (invocation.stream) {
      this._close(invocation, error ?? 'handled');
      return;
    }
    this.current = undefined;
    this._atRest = undefined;
    this._api.fail(invocation.requestId, errorBody(error, this._rules.callbacks), errorType(error));
  }

  _close(invocation, error) {
    if (this.current !== invocation) return;
    this.current = undefined;
    invocation.stream.close(error, this._rules.callbacks);
  }
}

function serialized(value, rules) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch {
    throw new RuntimeError(rules.unserializableType, 'Unable to stringify response body', rules);
  }
  if (text === undefined) throw new TypeError('Wrong arguments');
  return text;
}

function isThenable(value) {
  return typeof value?.then === 'function';
}

module.exports = { Invocations };
