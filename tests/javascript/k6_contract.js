// Invokes as CALLS says, one after the other, and logs what each call gave: a line of JSON.

import { LambdaClient } from './k6_lambda.js';

const config = JSON.parse(__ENV.CONFIG);
const calls = JSON.parse(__ENV.CALLS);

export default async function () {
  for (const call of calls) {
    const client = new LambdaClient(Object.assign({}, config, call.config));
    const payload = typeof call.payload === 'object' ? JSON.stringify(call.payload) : call.payload;
    let found;
    try {
      found = { result: await client.invoke(call.name, payload, call.options) };
    } catch (error) {
      found = { name: error.name, message: error.message, code: error.code, response: error.response };
    }
    console.log(JSON.stringify(Object.assign({ case: call.case }, found)));
  }
}
