'use strict';

// A process that was started before anybody needed it: it is warm, and becomes the environment of the first function
// that asks. What it is told comes through standard input: one JSON object {"environ", "cwd"}, then the end.

const fs = require('fs');
const Module = require('module');
const net = require('net');
const { RuntimeApi } = require('./api.cjs');

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';
const READ_BYTES = 65536;
const LOG_VARIABLE = '_LAMBDA_TELEMETRY_LOG_FD';

async function receiveIdentity() {
  await rehearse();
  const told = readToEnd(0);
  // Nobody asked, and the service is gone.
  if (!told) process.exit(0);
  const { environ, cwd } = JSON.parse(told);
  // Which descriptor takes the log is a matter between this process and who started it.
  const log = process.env[LOG_VARIABLE];
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, environ, log === undefined ? {} : { [LOG_VARIABLE]: log });
  process.chdir(cwd);
  // Standard input is what it is for every other function: nothing.
  fs.closeSync(0);
  fs.openSync('/dev/null');
  // Node reads NODE_PATH when it starts.
  Module._initPaths();
}

// Use what every function's start uses: the first use of the loader of modules, of sockets and of the parser of HTTP
// takes longer than all the rest.
async function rehearse() {
  await import('./ready.mjs');
  await new Promise((resolve) => {
    const server = net.createServer((socket) => socket.on('data', () => socket.end(ANSWER)));
    server.on('error', resolve);
    server.listen(0, '127.0.0.1', () => {
      const api = new RuntimeApi(
        `127.0.0.1:${server.address().port}`,
        () => server.close(resolve),
        () => server.close(resolve),
      );
      api.next();
    });
  });
}

function readToEnd(descriptor) {
  const parts = [];
  for (;;) {
    const part = Buffer.allocUnsafe(READ_BYTES);
    const size = fs.readSync(descriptor, part);
    if (!size) return Buffer.concat(parts).toString();
    parts.push(part.subarray(0, size));
  }
}

module.exports = { receiveIdentity };
