// The example of k6's page on LambdaClient.invoke, by several users at a time.

import { check } from 'k6';
import { LambdaClient } from './k6_lambda.js';

export const options = {
  vus: Number(__ENV.USERS),
  iterations: Number(__ENV.ITERATIONS),
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'] },
};

const lambdaClient = new LambdaClient(JSON.parse(__ENV.CONFIG));

export default async function () {
  const response = await lambdaClient.invoke('add-numbers', JSON.stringify({ x: __VU, y: __ITER }));
  check(response, {
    'status is 200': (r) => r.statusCode === 200,
    'payload is the sum': (r) => JSON.parse(r.payload) === __VU + __ITER,
  });
}

export function handleSummary(data) {
  const values = (name) => data.metrics[name].values;
  return {
    stdout: JSON.stringify({ iterations: values('iterations').count, checks: values('checks') }),
  };
}
