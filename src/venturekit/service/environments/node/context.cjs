'use strict';

// The object that a handler gets as its second argument. Source: AWS page "Using the Lambda context object to retrieve
// Node.js function information"; the order of its members is that of AWS's.

function identityOf(environ) {
  return {
    functionVersion: environ.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: environ.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: environ.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: environ.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: environ.AWS_LAMBDA_LOG_STREAM_NAME,
  };
}

// `headers` are those of the invocation, `methods` succeed, fail and done where a handler has them. Throws an Error for a client context or identity that is no JSON.
function makeContext(headers, identity, rules, methods) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const invocation = {
    clientContext: parsed(headers['lambda-runtime-client-context'], 'ClientContext'),
    identity: parsed(headers['lambda-runtime-cognito-identity'], 'CognitoIdentity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
  };
  const getRemainingTimeInMillis = () => deadline - Date.now();
  if (rules.callbacks) {
    const waits = { callbackWaitsForEmptyEventLoop: true };
    return { ...waits, ...methods, ...identity, ...invocation, getRemainingTimeInMillis };
  }
  return { ...invocation, xRayTraceId: headers['lambda-runtime-trace-id'], getRemainingTimeInMillis, ...identity };
}

function parsed(text, name) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

module.exports = { identityOf, makeContext };
