'use strict';

// A worker thread of an environment that serves several invocations at once: it loads the function, and its invocations
// run between one another. Which one some code works for is told by the asynchronous context it runs in.

const fs = require('fs');
const net = require('net');
const { AsyncLocalStorage } = require('async_hooks');
const errors = require('./errors.cjs');
const { ConcurrentApi, complaintOf } = require('./concurrent_api.cjs');
const { identityOf } = require('./context.cjs');
const { PHASES } = require('./in_flight.cjs');
const { Invocations } = require('./invocations.cjs');
const { FunctionLog } = require('./log.cjs');
const { concurrentRulesOf } = require('./rules.cjs');
const { InvokeStore, contextOf } = require('./store.cjs');
const { awslambda } = require('./stream.cjs');

const LOG_SOCKET_VARIABLE = '_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET';
const WITHOUT_GLOBAL = 'AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA';
const FAILED_STATUS = 1;
const [STDOUT, STDERR] = [1, 2];
// What waits for it runs without a frame of node's own in its stack trace.
const SOON = Promise.resolve();

// The runtime of a worker; `inFlight` is what the main thread sees of it, `load` as in concurrent.cjs.
async function serve(environ, inFlight, load) {
  const rules = concurrentRulesOf(environ.AWS_EXECUTION_ENV);
  const store = new ConcurrentStore();
  const log = await openLog(environ, rules, store);
  if (!['1', 'true'].includes(environ[WITHOUT_GLOBAL])) globalThis.awslambda = { ...awslambda, InvokeStore: store };
  let invocations;
  const api = new ConcurrentApi(environ.AWS_LAMBDA_RUNTIME_API, {
    onInvocation: (headers, body) => invocations.take(headers, body),
    onGone: (reason, unreachable) => {
      log.warn(`This worker ends: ${reason}`);
      if (unreachable) inFlight.enter(PHASES.apiGone);
      process.exit(FAILED_STATUS);
    },
    warn: (text) => log.warn(text),
  });
  try {
    const loaded = await load(environ, log, rules);
    invocations = new ConcurrentInvocations({ api, log, rules, identity: identityOf(environ), loaded, store }, inFlight);
  } catch (error) {
    log.error(rules.failedInitLabel, error);
    inFlight.enter(PHASES.refused);
    // Another worker may have said it before, and is answered otherwise.
    api.initError(errors.errorType(error), errors.errorBody(error, rules.callbacks), () => process.exit(FAILED_STATUS));
    return;
  }
  inFlight.enter(PHASES.ready);
  api.next();
}

class ConcurrentInvocations {
  constructor(parts, inFlight) {
    this._parts = parts;
    this._inFlight = inFlight;
  }

  take(headers, body) {
    const { api, log, store } = this._parts;
    const requestId = headers['lambda-runtime-aws-request-id'];
    const tenantId = headers['lambda-runtime-aws-tenant-id'];
    const slot = this._inFlight.take(requestId);
    const context = contextOf(requestId, headers['lambda-runtime-trace-id'], tenantId);
    const port = api.portOf((answer) => {
      this._inFlight.drop(slot);
      const complaint = complaintOf(answer);
      if (complaint) store.run(context, () => log.warn(complaint));
    });
    const one = new ConcurrentInvocation({ ...this._parts, api: port });
    // Text now: the bytes may be written over. Not run from here: a stack trace would show how the event came.
    const text = body.utf8Slice();
    SOON.then(() => store.run(context, () => one.begin({ requestId, tenantId, stream: undefined }, headers, text)));
  }
}

// The rules of one invocation at a time, for one of many.
class ConcurrentInvocation extends Invocations {
  begin(invocation, headers, text) {
    this.current = invocation;
    this._run(invocation, headers, text);
  }
}

// `awslambda.InvokeStore`: what is kept belongs to the asynchronous context. Source: as store.cjs.
class ConcurrentStore extends InvokeStore {
  #contexts = new AsyncLocalStorage();

  run(context, work) {
    return this.#contexts.run(context, work);
  }

  getContext() {
    return this.#contexts.getStore();
  }

  hasContext() {
    return this.getContext() !== undefined;
  }

  get(key) {
    return this.getContext()?.[key];
  }

  // Throws an Error for the three that are the runtime's, and outside of an invocation.
  set(key, value) {
    if (this.isProtectedKey(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    const context = this.getContext();
    if (!context) throw new Error('No context available');
    context[key] = value;
  }
}

// A log whose records belong to the invocation that the store tells of.
class ConcurrentLog extends FunctionLog {
  constructor(options, store) {
    super(options);
    this._store = store;
  }

  enter() {}

  _invocation() {
    return { requestId: this._store.getRequestId(), tenantId: this._store.getTenantId() };
  }
}

// Records go over a connection of this worker's own, what the function writes itself to the standard streams over another,
// so that no line is mixed with those of other workers; without a socket, or where nobody listens, to standard output.
async function openLog(environ, rules, store) {
  const path = environ[LOG_SOCKET_VARIABLE];
  const [output, streams] = path ? await Promise.all([connect(path), connect(path)]) : [];
  const options = { json: true, level: environ.AWS_LAMBDA_LOG_LEVEL, rules, output };
  const log = new ConcurrentLog(options, store);
  log.patch(console);
  direct(process.stdout, streams ?? STDOUT);
  direct(process.stderr, streams ?? STDERR);
  if (path && (output === undefined || streams === undefined)) {
    log.warn(`The log stays on standard output: ${path} takes no connection.`);
  }
  return log;
}

// The descriptor of a connection that does not keep the thread alive; undefined where there is none.
function connect(path) {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.unref();
    socket.on('error', () => resolve(undefined));
    socket.on('connect', () => resolve(socket._handle?.fd));
  });
}

// A worker's standard streams go through the main thread otherwise, and lose what is on the way when the worker ends.
function direct(stream, descriptor) {
  stream._writev = (chunks, callback) => {
    try {
      for (const { chunk, encoding } of chunks) {
        writeAll(descriptor, typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
      }
    } finally {
      callback();
    }
  };
}

function writeAll(descriptor, data) {
  let written = 0;
  while (written < data.length) {
    try {
      written += fs.writeSync(descriptor, data, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

module.exports = { serve };
