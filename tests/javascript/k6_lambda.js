// LambdaClient.invoke(name, payload, options) for k6, made of k6's own modules, in the request shapes of its AWS library.

import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
import http from 'k6/http';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const hmac = (key, data) => crypto.hmac('sha256', key, data, 'binary');

// Encoded once, the slashes kept; empty segments and dots are left out.
function canonicalPath(path) {
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.');
  return `/${segments.map(encodeURIComponent).join('/')}`;
}

function sign(config, { method, hostname, path, query, headers, body }) {
  const date = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const day = date.slice(0, 8);
  const all = Object.assign({}, headers, { Host: hostname, 'X-Amz-Date': date });
  if (config.sessionToken) all['X-Amz-Security-Token'] = config.sessionToken;
  const lower = {};
  for (const [name, value] of Object.entries(all)) lower[name.toLowerCase()] = String(value).trim().replace(/\s+/g, ' ');
  const names = Object.keys(lower).sort();
  const canonical = [
    method,
    canonicalPath(path),
    query,
    ...names.map((name) => `${name}:${lower[name]}`),
    '',
    names.join(';'),
    crypto.sha256(body, 'hex'),
  ].join('\n');
  const scope = `${day}/${config.region}/lambda/aws4_request`;
  const toSign = [ALGORITHM, date, scope, crypto.sha256(canonical, 'hex')].join('\n');
  const key = [config.region, 'lambda', 'aws4_request'].reduce(hmac, hmac(`AWS4${config.secretAccessKey}`, day));
  const credential = `Credential=${config.accessKeyId}/${scope}`;
  const signature = crypto.hmac('sha256', key, toSign, 'hex');
  all.Authorization = `${ALGORITHM} ${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return all;
}

export class LambdaInvocationError extends Error {
  constructor(message, response) {
    super(message);
    this.name = 'LambdaInvocationError';
    this.response = response;
  }
}

export class AWSError extends Error {
  constructor(message, code) {
    super(message);
    this.name = code === 'InvalidSignatureException' ? 'InvalidSignatureError' : 'AWSError';
    this.code = code;
  }
}

function serviceError(response) {
  if (response.error_code && !response.status) return new AWSError(response.error, 'transport');
  const isJson = response.headers['Content-Type'] === 'application/json';
  const body = isJson ? JSON.parse(response.body) : {};
  const code = response.headers['X-Amzn-Errortype'] || body.__type;
  return new AWSError(body.Message || body.message || body.__type, code);
}

export class LambdaClient {
  constructor(config) {
    this.config = config;
  }

  async invoke(name, payload, options = {}) {
    const type = options.invocationType || 'RequestResponse';
    const query = options.qualifier ? `Qualifier=${encodeURIComponent(options.qualifier)}` : '';
    const path = `/2015-03-31/functions/${name}/invocations`;
    const headers = {
      'Content-Type': 'application/x-amz-json-1.1',
      'X-Amz-Target': `AWSLambda.${type}`,
      'X-Amz-Invocation-Type': type,
      'X-Amz-Log-Type': options.logType || 'None',
    };
    if (options.clientContext) headers['X-Amz-Client-Context'] = options.clientContext;
    const [, hostname] = this.config.endpoint.match(/^https?:\/\/([^:/]+)/);
    const signed = sign(this.config, { method: 'POST', hostname, path, query, headers, body: payload || '' });
    const response = await http.asyncRequest('POST', `${this.config.endpoint}${path}?${query}`, payload || '', {
      headers: signed,
    });
    if (response.status < 200 || response.status > 299) throw serviceError(response);
    const log = response.headers['X-Amz-Log-Result'];
    const result = {
      statusCode: response.status,
      executedVersion: response.headers['X-Amz-Executed-Version'],
      logResult: log && encoding.b64decode(log, 'std', 's'),
      payload: response.body,
    };
    const failure = response.headers['X-Amz-Function-Error'];
    if (failure) throw new LambdaInvocationError(`${failure}: ${result.payload}`, result);
    return result;
  }
}
