'use strict';

// A process that was started before anybody needed it: it is warm, and becomes the environment of the first function
// that asks. What it is told comes through standard input: one JSON object {"environ", "cwd"}, then the end.

const fs = require('fs');
const Module = require('module');
const net = require('net');
const { RuntimeApi } = require('./api.cjs');

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';
const MOST_MS = 1000;
const READ_BYTES = 65536;
const LOG_VARIABLE = '_LAMBDA_TELEMETRY_LOG_FD';

async function receiveIdentity() {
  // Whoever is told at once was started a moment too late to be warm.
  const begun = readNow(0);
  if (!begun.length) await rehearse();
  const told = Buffer.concat([begun, readToEnd(0)]);
  // Nobody asked, and the service is gone.
  if (!told.length) process.exit(0);
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

// Use what every function's start uses: the first use of the loader of modules (the second one, too), of sockets and of
// the parser of HTTP takes longer than all the rest.
async function rehearse() {
  await import('./ready.mjs');
  await import('./ready.mjs?again');
  await new Promise((resolve) => {
    const server = net.createServer((socket) => socket.on('data', () => socket.end(ANSWER)).on('error', () => {}));
    // Whoever else on this machine has found the port must not hold this up.
    const timer = setTimeout(resolve, MOST_MS);
    const done = () => {
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
    };
    server.on('error', done);
    server.listen(0, '127.0.0.1', () => new RuntimeApi(`127.0.0.1:${server.address().port}`, done, done).next());
  });
}

// What can be read without waiting.
function readNow(descriptor) {
  const parts = [];
  // A description of its own: the flag would be that of the descriptor, too.
  const own = fs.openSync(`/proc/self/fd/${descriptor}`, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  try {
    readParts(own, parts);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
  } finally {
    fs.closeSync(own);
  }
  return Buffer.concat(parts);
}

function readToEnd(descriptor) {
  const parts = [];
  readParts(descriptor, parts);
  return Buffer.concat(parts);
}

function readParts(descriptor, parts) {
  for (;;) {
    const part = Buffer.allocUnsafe(READ_BYTES);
    const size = fs.readSync(descriptor, part);
    if (!size) return;
    parts.push(part.subarray(0, size));
  }
}

module.exports = { receiveIdentity };
