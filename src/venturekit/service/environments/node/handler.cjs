'use strict';

// From the name of a handler to the function: "folder/app.nested.handler". Source: AWS page "Define Lambda function
// handler in Node.js" and recordings of AWS's runtime interface clients.

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const { RuntimeError } = require('./errors.cjs');

const NAME = /^([^.]*)\.(.*)$/;
const SUFFIXES = ['', '.js', '.mjs', '.cjs'];
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
// Where AWS's runtime lies: the last entry of the "Require stack" in an import error's message.
const AWS_RUNTIME = '/var/runtime/index.mjs';

// { handler, streaming, highWaterMark }. Throws what the module throws, or a RuntimeError.
async function loadHandler(root, name, rules) {
  const { file, requested, exportPath } = locate(root, name, rules);
  const exported = await loadModule(file, requested, root, rules);
  const value = exportPath.split('.').reduce((holder, part) => holder?.[part], exported);
  if (!value) throw new RuntimeError('Runtime.HandlerNotFound', `${name} is undefined or not exported`, rules);
  if (typeof value !== 'function') {
    throw new RuntimeError('Runtime.HandlerNotFound', `${name} is not a function`, rules);
  }
  const streaming = value[STREAMING];
  if (streaming !== undefined && streaming !== 'response') {
    throw new RuntimeError('Runtime.InvalidStreamingOperation', `unknown kind of streaming: ${String(streaming)}`, rules);
  }
  if (!rules.callbacks && !streaming && value.length >= 3) {
    throw new RuntimeError('Runtime.CallbackHandlerDeprecated', rules.callbackRefusal, rules);
  }
  return { handler: value, streaming: streaming !== undefined, highWaterMark: value[HIGH_WATER_MARK] };
}

function locate(root, name, rules) {
  if (name.includes('..')) {
    throw new RuntimeError(
      'Runtime.MalformedHandlerName',
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
      rules,
    );
  }
  const base = path.basename(name);
  const match = NAME.exec(base);
  if (!match) throw new RuntimeError('Runtime.MalformedHandlerName', 'Bad handler', rules);
  const requested = path.join(name.slice(0, name.length - base.length), match[1]);
  const stem = path.resolve(root, requested);
  const file = SUFFIXES.map((suffix) => stem + suffix).find(isFile);
  return { file, requested, exportPath: match[2] };
}

async function loadModule(file, requested, root, rules) {
  const requireFrom = createRequire(AWS_RUNTIME);
  try {
    const found = file ?? requireFrom.resolve(requested, { paths: [root] });
    if (isModule(found)) return await import(pathToFileURL(found).href);
    try {
      return requireFrom(found);
    } catch (error) {
      // Modules that wait at their top level cannot be required, whatever finds out that they are modules.
      if (error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
      return await import(pathToFileURL(found).href);
    }
  } catch (error) {
    if (error instanceof SyntaxError) {
      const stack = rules.callbacks ? undefined : error.stack;
      throw new RuntimeError('Runtime.UserCodeSyntaxError', String(error), rules, stack);
    }
    if (error?.code === 'MODULE_NOT_FOUND') {
      throw new RuntimeError('Runtime.ImportModuleError', String(error), rules);
    }
    throw error;
  }
}

function isModule(file) {
  const suffix = path.extname(file);
  return suffix === '.mjs' || (suffix === '.js' && packageType(path.dirname(file)) === 'module');
}

// The "type" of the nearest package.json.
function packageType(folder) {
  for (let here = folder; ; here = path.dirname(here)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(here, 'package.json'), 'utf8')).type;
    } catch (error) {
      if (error instanceof SyntaxError || path.dirname(here) === here) return undefined;
    }
  }
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

module.exports = { HIGH_WATER_MARK, STREAMING, loadHandler };
