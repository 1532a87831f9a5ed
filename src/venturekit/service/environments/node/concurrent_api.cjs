'use strict';

// The Runtime API for a worker thread that has many invocations at once: a request for the next event waits on a connection
// of its own, outcomes go over another one, streamed responses over one each.

const net = require('net');
const { ApiGoneError } = require('./api.cjs');
const { ResponseReader } = require('./http1.cjs');

const PREFIX = '/2018-06-01/runtime/';
const TOO_LATE_STATUS = 410;
const NEXT_TRIES = 20;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 90_000;
const LAST_DELAY_STEP = 10;
// Functions may replace those that they see.
const { queueMicrotask, setTimeout } = globalThis;

// One connection, made on first use and again after it was lost. Requests are answered in order.
class Channel {
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this._host = address.slice(0, colon).replace(/^\[|\]$/g, '');
    this._port = Number(address.slice(colon + 1));
    this.common = ` HTTP/1.1\r\nHost: ${address}\r\nUser-Agent: venturekit-node/${process.versions.node}\r\n`;
    this._socket = undefined;
    this._awaited = [];
  }

  // `onAnswer({ status, headers, body })` is called once, with undefined when the connection was lost before.
  request(text, onAnswer) {
    const socket = this._socket ?? this._connect();
    this._awaited.push(onAnswer);
    socket.write(text);
  }

  // Part of a request's body. An error is given to `callback`.
  write(parts, callback) {
    const socket = this._socket;
    if (!socket) {
      callback(new ApiGoneError('the connection to the Runtime API is gone'));
      return;
    }
    socket.cork();
    parts.slice(0, -1).forEach((part) => socket.write(part, 'latin1'));
    socket.write(parts.at(-1), 'latin1', callback);
    socket.uncork();
  }

  close() {
    this._socket?.destroy();
  }

  _connect() {
    const socket = net.connect({ host: this._host, port: this._port, noDelay: true });
    const reader = new ResponseReader((status, headers, body) => {
      const onAnswer = this._awaited.shift();
      // Later: what it throws is no fault of this connection.
      if (onAnswer) queueMicrotask(() => onAnswer({ status, headers, body }));
      else socket.destroy();
    });
    socket.on('data', (data) => {
      try {
        reader.feed(data);
      } catch (error) {
        socket.destroy(error);
      }
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      if (socket === this._socket) this._socket = undefined;
      this._awaited.splice(0).forEach((onAnswer) => onAnswer(undefined));
    });
    this._socket = socket;
    return socket;
  }
}

class ConcurrentApi {
  // `onInvocation(headers, body)` gets each event, `onGone(reason, unreachable)` hears that no more can be had, `warn(text)`
  // what went wrong.
  constructor(address, { onInvocation, onGone, warn }) {
    this._address = address;
    this._events = new Channel(address);
    this._outcomes = new Channel(address);
    this._onInvocation = onInvocation;
    this._onGone = onGone;
    this._warn = warn;
  }

  // Have a request for an event waiting from now on.
  next(tries = 1) {
    this._events.request(`GET ${PREFIX}invocation/next${this._events.common}\r\n`, (answer) => {
      if (answer?.status === 200 && answer.headers['lambda-runtime-aws-request-id']) {
        this._onInvocation(answer.headers, answer.body);
        this.next();
        return;
      }
      const reason = answer ? `${answer.status} ${answer.body.subarray(0, 200)}` : 'no connection';
      if (tries === NEXT_TRIES) {
        this._onGone(`no event can be had: ${reason}`, !answer);
        return;
      }
      this._warn(`The Runtime API has failed, try ${tries + 1} of ${NEXT_TRIES} follows: ${reason}`);
      setTimeout(() => this.next(tries + 1), delayMs(tries));
    });
  }

  // Post an outcome, a second time where the connection was lost meanwhile; `then(answer)` as with a channel.
  post(target, errorType, body, then) {
    const text = postOf(this._outcomes, target, errorType, body);
    this._outcomes.request(text, (answer) => {
      if (answer) then(answer);
      else this._outcomes.request(text, then);
    });
  }

  initError(errorType, body, then) {
    this.post('init/error', errorType, body, then);
  }

  // What one invocation posts its outcome with. `then(answer)` hears what became of it.
  portOf(then) {
    return new OutcomePort(this, this._address, then);
  }
}

// The Runtime API as an invocation sees it: the part of api.cjs's interface that is for outcomes.
class OutcomePort {
  constructor(api, address, then) {
    this._api = api;
    this._address = address;
    this._then = then;
    this._channel = undefined;
    this._settled = undefined; // of a stream: [answer], or [] when it has ended before
  }

  respond(requestId, body) {
    this._api.post(`invocation/${encodeURIComponent(requestId)}/response`, undefined, body, this._then);
  }

  fail(requestId, body, errorType) {
    this._api.post(`invocation/${encodeURIComponent(requestId)}/error`, errorType, body, this._then);
  }

  // `onEarly(status)` hears of an answer, 0 for a lost connection.
  openStream(requestId, contentType, onEarly) {
    this._channel = new Channel(this._address);
    const head =
      `POST ${PREFIX}invocation/${encodeURIComponent(requestId)}/response${this._channel.common}` +
      'Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n' +
      `Trailer: Lambda-Runtime-Function-Error-Body\r\nContent-Type: ${contentType}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    this._channel.request(head, (answer) => {
      onEarly(answer?.status ?? 0);
      this._channel.close();
      if (this._settled) this._then(answer);
      else this._settled = [answer];
    });
  }

  streamWrite(parts, callback) {
    this._channel.write(parts, callback);
  }

  closeStream(end) {
    if (this._settled) {
      // Answered before its end: nobody takes the rest.
      this._then(this._settled[0]);
      return;
    }
    this._settled = [];
    this._channel.write([end], () => {});
  }

  hold() {}
}

function postOf(channel, target, errorType, body) {
  const kind = errorType === undefined ? '' : `Lambda-Runtime-Function-Error-Type: ${errorType}\r\n`;
  const head = `POST ${PREFIX}${target}${channel.common}Content-Type: application/json\r\n${kind}`;
  return `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function delayMs(tries) {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(tries - 1, LAST_DELAY_STEP));
}

// What is to be said of an answer to an outcome; undefined for an ordinary one.
function complaintOf(answer) {
  if (!answer) return 'The result of this invocation could not be posted: the connection to the Runtime API was lost.';
  if (answer.status < 300) return undefined;
  if (answer.status === TOO_LATE_STATUS) return 'The result of this invocation came too late: its time was over.';
  return `The Runtime API refused the result of this invocation with HTTP status ${answer.status}.`;
}

module.exports = { Channel, ConcurrentApi, complaintOf, delayMs, postOf };
