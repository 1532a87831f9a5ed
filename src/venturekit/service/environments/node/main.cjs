'use strict';

// The main process of a Node.js execution environment: loads the function, then serves its events until the Runtime API
// goes away. `node main.cjs` begins at once, `node main.cjs wait` when it is told whose process it is (see identity.cjs).

const errors = require('./errors.cjs');
const { RuntimeApi } = require('./api.cjs');
const { identityOf } = require('./context.cjs');
const { loadHandler } = require('./handler.cjs');
const { receiveIdentity } = require('./identity.cjs');
const { Invocations } = require('./invocations.cjs');
const { FunctionLog } = require('./log.cjs');
const { rulesOf } = require('./rules.cjs');
const { InvokeStore } = require('./store.cjs');
const { awslambda } = require('./stream.cjs');

const CONCURRENCY_VARIABLE = 'AWS_LAMBDA_MAX_CONCURRENCY';
const LOG_VARIABLE = '_LAMBDA_TELEMETRY_LOG_FD';
const UNHANDLED_STATUS = 128;
const UNCAUGHT_STATUS = 129;
const UNREACHABLE_STATUS = 1;
const UNSETTLED =
  'The module of the handler was not loaded: it awaits something at its top level that never comes, and there is ' +
  'nothing left to do.';
const WITHOUT_GLOBAL = 'AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA';
// Functions may replace those that they see.
const { Promise, setImmediate } = globalThis;

async function main() {
  if (process.argv[2] === 'wait') await receiveIdentity();
  process.argv.length = 2;
  // On AWS no function is a part of the program that runs it.
  process.mainModule = undefined;
  const environ = process.env;
  if (environ[CONCURRENCY_VARIABLE] !== undefined) {
    require('./concurrent.cjs').start(environ, load);
    return;
  }
  const rules = rulesOf(environ.AWS_EXECUTION_ENV);
  const log = openLog(environ, rules);
  const store = rules.hasInvokeStore ? new InvokeStore() : undefined;
  if (!rules.hasInvokeStore || !['1', 'true'].includes(environ[WITHOUT_GLOBAL])) {
    globalThis.awslambda = store ? { ...awslambda, InvokeStore: store } : awslambda;
  }
  const api = new RuntimeApi(
    environ.AWS_LAMBDA_RUNTIME_API,
    (headers, body) => invocations.take(headers, body),
    () => process.exit(invocations?.current ? UNREACHABLE_STATUS : 0),
  );
  let invocations;
  if (rules.postsUncaught) watchForUncaught(api, log, rules, () => invocations);
  let loaded;
  try {
    loaded = await load(environ, log, rules);
  } catch (error) {
    log.error(rules.failedInitLabel, error);
    end(api, undefined, error, rules, rules.failedInitStatus);
    return;
  }
  invocations = new Invocations({ api, log, rules, identity: identityOf(environ), loaded, store });
  if (rules.callbacks) process.on('beforeExit', () => invocations.atRest());
  api.next();
}

async function load(environ, log, rules) {
  const unsettled = () => {
    log.warn(UNSETTLED);
    process.exit(rules.unsettledStatus);
  };
  process.on('beforeExit', unsettled);
  try {
    return await loadHandler(environ.LAMBDA_TASK_ROOT || process.cwd(), environ._HANDLER || '', rules);
  } finally {
    process.removeListener('beforeExit', unsettled);
    // Rejections that the module left unhandled are told by then, as failures of the init phase.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function openLog(environ, rules) {
  const descriptor = environ[LOG_VARIABLE];
  // It is no business of the function's, nor of the processes that it starts.
  delete environ[LOG_VARIABLE];
  const log = new FunctionLog({
    descriptor: descriptor === undefined ? undefined : Number(descriptor),
    json: (environ.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON',
    level: environ.AWS_LAMBDA_LOG_LEVEL,
    rules,
  });
  log.patch(console);
  return log;
}

// Up to nodejs22.x what nobody caught is the outcome of the invocation, and the end of the process.
function watchForUncaught(api, log, rules, invocationsNow) {
  const give = (label, error, status) => {
    log.error(label, error);
    const invocations = invocationsNow();
    end(api, invocations, error, rules, status);
  };
  process.on('uncaughtException', (error) => give('Uncaught Exception', error, UNCAUGHT_STATUS));
  process.on('unhandledRejection', (reason, promise) => {
    const error = new errors.RuntimeError('Runtime.UnhandledPromiseRejection', String(reason), rules);
    Object.assign(error, { reason, promise });
    give('Unhandled Promise Rejection', error, UNHANDLED_STATUS);
  });
}

// Say why, and leave. Between two invocations there is nobody to tell.
function end(api, invocations, error, rules, status) {
  const current = invocations?.current;
  if (invocations && !current) process.exit(status);
  if (current) invocations.current = undefined;
  if (current?.stream?.begun) {
    current.stream.breakOff(error, rules.callbacks, () => process.exit(status));
    return;
  }
  const body = errors.errorBody(error, rules.callbacks);
  api.lastWords(current?.requestId, body, errors.errorType(error), () => process.exit(status));
}

main();
