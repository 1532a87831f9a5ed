'use strict';

// `awslambda.InvokeStore`, from nodejs24.x on: tells code that is far from the handler which invocation it works for, and
// keeps values for as long as that one lasts. Source: the interface of AWS's package @aws/lambda-invoke-store, which takes
// the one of the runtime where there is one, and a recording of AWS's runtime interface client 4.0.

const REQUEST_ID = Symbol.for('_AWS_LAMBDA_REQUEST_ID');
const TRACE_ID = Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID');
const TENANT_ID = Symbol.for('_AWS_LAMBDA_TENANT_ID');
const PROTECTED = new Set([REQUEST_ID, TRACE_ID, TENANT_ID]);

class InvokeStore {
  #context;

  // Call `work` with `context`, an object, as what is kept; it stays when `work` is over.
  run(context, work) {
    this.#context = context;
    return work();
  }

  getContext() {
    return this.#context;
  }

  hasContext() {
    return this.#context !== undefined;
  }

  get(key) {
    return this.#context?.[key];
  }

  // Throws an Error for the three that are the runtime's.
  set(key, value) {
    if (this.isProtectedKey(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    this.#context ??= {};
    this.#context[key] = value;
  }

  isProtectedKey(key) {
    return PROTECTED.has(key);
  }

  getRequestId() {
    return this.get(REQUEST_ID) ?? '-';
  }

  getXRayTraceId() {
    return this.get(TRACE_ID);
  }

  getTenantId() {
    return this.get(TENANT_ID);
  }
}

// What is kept at the beginning of an invocation.
function contextOf(requestId, traceId, tenantId) {
  return { [REQUEST_ID]: requestId, [TRACE_ID]: traceId, [TENANT_ID]: tenantId };
}

module.exports = { InvokeStore, contextOf };
