'use strict';

// Several invocations at once (AWS page "Node.js runtime for Lambda Managed Instances"): the main thread looks after worker
// threads, each of which loads the function for itself and serves any number of its events; see concurrent_worker.cjs.
// Beyond AWS: the callers of a worker that ends are told at once, and another worker takes its place.

const fs = require('fs');
const os = require('os');
const { Worker, isMainThread, workerData } = require('worker_threads');
const { Channel, postOf } = require('./concurrent_api.cjs');
const { serve } = require('./concurrent_worker.cjs');
const { InFlight, PHASES } = require('./in_flight.cjs');
const { FunctionLog } = require('./log.cjs');
const { concurrentRulesOf } = require('./rules.cjs');

const CONCURRENCY_VARIABLE = 'AWS_LAMBDA_MAX_CONCURRENCY';
const WORKERS_VARIABLE = 'AWS_LAMBDA_NODEJS_WORKER_COUNT';
const CPU_LIMIT_FILE = '/sys/fs/cgroup/cpu.max';
const MOST = 1600;
const WORKERS_PER_CPU = 8;
// So many workers in a row may end in one place without ever having had an invocation.
const MOST_STRIKES = 3;
const REPORT_LIMIT_MS = 5000;
const EXIT_ERROR = 'Runtime.ExitError';

// `load(environ, log, rules)` loads the function. Called in the main thread and in every worker.
function start(environ, load) {
  if (isMainThread) new WorkerPool(environ).fill();
  else serve(environ, new InFlight(workerData.inFlight), load);
}

class WorkerPool {
  constructor(environ) {
    this._environ = environ;
    this._concurrency = concurrencyOf(environ[CONCURRENCY_VARIABLE]);
    const rules = concurrentRulesOf(environ.AWS_EXECUTION_ENV);
    this._log = new FunctionLog({ json: true, level: environ.AWS_LAMBDA_LOG_LEVEL, rules });
    this._count = Math.min(workerCount(environ[WORKERS_VARIABLE], readCpuLimit()), this._concurrency);
    this._living = 0;
    this._reports = 0;
    this._apiGone = false;
  }

  fill() {
    for (let number = 0; number < this._count; number++) this._start({ strikes: 0, proven: false });
  }

  _start(place) {
    this._living++;
    const inFlight = InFlight.of(this._concurrency);
    // The main file again: it comes back to `start`. Its environment is a copy of this one.
    const worker = new Worker(require.resolve('./main.cjs'), { workerData: { inFlight: inFlight.memory } });
    worker.on('error', (error) => this._log.error('Uncaught Exception', error));
    worker.on('exit', (status) => this._ended(place, inFlight, status));
  }

  _ended(place, inFlight, status) {
    this._living--;
    this._apiGone = inFlight.phase === PHASES.apiGone;
    const requestIds = inFlight.requestIds();
    for (const requestId of requestIds) this._report(requestId, status);
    if (!requestIds.length && inFlight.phase < PHASES.refused) {
      this._log.warn(`A worker without an invocation has ended: ${exitText(status)}`);
    }
    place.strikes = strikesAfter(place, inFlight);
    place.proven ||= inFlight.phase === PHASES.ready;
    if (place.strikes < MOST_STRIKES) this._start(place);
    this._leaveIfEmpty();
  }

  // Tell the caller of an invocation whose worker has ended.
  _report(requestId, status) {
    const errorMessage = `RequestId: ${requestId} Error: ${exitText(status)}`;
    const channel = new Channel(this._environ.AWS_LAMBDA_RUNTIME_API);
    const timer = setTimeout(() => channel.close(), REPORT_LIMIT_MS);
    this._reports++;
    const body = JSON.stringify({ errorType: EXIT_ERROR, errorMessage });
    channel.request(postOf(channel, `invocation/${encodeURIComponent(requestId)}/error`, EXIT_ERROR, body), (answer) => {
      clearTimeout(timer);
      channel.close();
      // 4xx: the worker had answered before it ended.
      if (!answer) this._log.warn(`The end of a worker could not be told: ${errorMessage}`);
      this._reports--;
      this._leaveIfEmpty();
    });
  }

  _leaveIfEmpty() {
    if (!this._living && !this._reports) process.exit(this._apiGone ? 0 : 1);
  }
}

function exitText(status) {
  return status ? `Runtime exited with error: exit status ${status}` : 'Runtime exited without providing a reason';
}

// How many workers in a row were of no use in one place, after one more ended there. From MOST_STRIKES on nobody follows:
// at once so for one that found no Runtime API, and for one that said itself why the function cannot be initialised where
// none ever was, for the next would find the same.
function strikesAfter({ strikes, proven }, { phase, hasServed }) {
  if (phase === PHASES.apiGone || (phase === PHASES.refused && !proven)) return MOST_STRIKES;
  return hasServed ? 0 : strikes + 1;
}

function concurrencyOf(text) {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= MOST) return number;
  process.stderr.write(`${CONCURRENCY_VARIABLE} is ${JSON.stringify(text)}; it must be a number from 1 to ${MOST}\n`);
  return process.exit(1);
}

// As AWS's client counts them: what the variable says, or so many for each CPU of the control group.
function workerCount(text, cpuLimit) {
  const given = parseInt(text, 10);
  return given >= 1 ? given : WORKERS_PER_CPU * cpuCount(cpuLimit);
}

function cpuCount(cpuLimit) {
  if (cpuLimit === undefined) return 1;
  const [quota, period] = cpuLimit.trim().split(/\s+/);
  if (quota === 'max') return Math.max(1, os.cpus().length);
  const count = Math.ceil(parseInt(quota, 10) / parseInt(period, 10));
  return count >= 1 && Number.isFinite(count) ? count : 1;
}

function readCpuLimit() {
  try {
    return fs.readFileSync(CPU_LIMIT_FILE, 'utf8');
  } catch {
    return undefined;
  }
}

module.exports = { start, strikesAfter, workerCount };
