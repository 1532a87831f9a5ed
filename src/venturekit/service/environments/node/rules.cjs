'use strict';

// What differs between the Node.js runtimes of AWS Lambda, by the runtime's name ("AWS_Lambda_nodejs22.x") and never by
// the node that happens to run it. Source: AWS page "Node.js 24 runtime" and recordings of AWS's runtime interface
// clients 3.3 (to nodejs22.x) and 4.0 (from nodejs24.x).

const FIRST_WITHOUT_CALLBACKS = 24;
const SIGNATURES =
  'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';
const WITHOUT_CALLBACKS =
  'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to ' +
  `modify this function to use a supported handler signature to use Node.js 24 or later. ${SIGNATURES}`;
const CONCURRENT_WITHOUT_CALLBACKS =
  'ERROR: AWS Lambda does not support callback-based function handlers when using Node.js 22 with Managed Instances. To ' +
  `use Managed Instances, modify this function to use a supported handler signature. ${SIGNATURES}`;

function rulesOf(executionEnvironment) {
  const major = Number(/nodejs(\d+)/.exec(executionEnvironment || '')?.[1] ?? FIRST_WITHOUT_CALLBACKS - 1);
  const modern = major >= FIRST_WITHOUT_CALLBACKS;
  return {
    callbacks: !modern,
    // Since nodejs24.x an exception that nobody caught ends the process in node's own way: nothing is posted.
    postsUncaught: !modern,
    failedInitStatus: modern ? 1 : 129,
    failedInitLabel: modern ? 'Init Error' : 'Uncaught Exception',
    // Of a process whose handler never gets loaded, with nothing left to do.
    unsettledStatus: modern ? 0 : 13,
    idOutsideInvocations: modern ? '-' : undefined,
    // Since nodejs24.x a log record belongs to the invocation whose code wrote it, not to the one that runs now.
    tracksInvocations: modern,
    hasInvokeStore: modern,
    // How the log names what the runtime itself has found.
    repeatsNames: modern,
    classSuffix: modern ? 'Error' : '',
    callbackRefusal: WITHOUT_CALLBACKS,
    unserializableType: modern ? 'Runtime.JSONStringifyError' : 'Error',
  };
}

// Where several invocations run at once, all have the rules of nodejs24.x: AWS runs its newest client there.
function concurrentRulesOf(executionEnvironment) {
  const modern = rulesOf(`AWS_Lambda_nodejs${FIRST_WITHOUT_CALLBACKS}.x`);
  return rulesOf(executionEnvironment).callbacks ? { ...modern, callbackRefusal: CONCURRENT_WITHOUT_CALLBACKS } : modern;
}

module.exports = { concurrentRulesOf, rulesOf };
