'use strict';

// What differs between the Node.js runtimes of AWS Lambda, by the runtime's name ("AWS_Lambda_nodejs22.x") and never by
// the node that happens to run it. Source: AWS page "Node.js 24 runtime" and recordings of AWS's runtime interface
// clients 3.3 (to nodejs22.x) and 4.0 (from nodejs24.x).

const FIRST_WITHOUT_CALLBACKS = 24;

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
    unserializableType: modern ? 'Runtime.JSONStringifyError' : 'Error',
  };
}

module.exports = { rulesOf };
