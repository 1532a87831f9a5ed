'use strict';

// The Runtime API from the runtime's side (AWS page "Using the Lambda runtime API for custom runtimes"), over a socket of
// its own: an outcome and the request for the next invocation travel in one write, which the service answers in order.

const net = require('net');
const { ResponseReader } = require('./http1.cjs');

const PREFIX = '/2018-06-01/runtime/';
const READ_BYTES = 64 * 1024;

class ApiGoneError extends Error {}

class RuntimeApi {
  // `onInvocation(headers, body)` gets each event, `onLost(error)` hears that there is no Runtime API any more.
  constructor(address, onInvocation, onLost) {
    const colon = address.lastIndexOf(':');
    this._host = address.slice(0, colon).replace(/^\[|\]$/g, '');
    this._port = Number(address.slice(colon + 1));
    this._common = ` HTTP/1.1\r\nHost: ${address}\r\nUser-Agent: venturekit-node/${process.versions.node}\r\n`;
    this._next = `GET ${PREFIX}invocation/next${this._common}\r\n`;
    this._onInvocation = onInvocation;
    this._onLost = onLost;
    this._socket = undefined;
    this._awaited = []; // what each answer that is to come is for: a function of (status, headers, body)
    this._unanswered = ''; // an outcome that can be sent again
    this._retries = 0;
  }

  // --- what the runtime asks for --------------------------------------------------------------------------------

  next() {
    this._retries = 0;
    this._unanswered = '';
    this._send(this._next, [this._invocation]);
  }

  respond(requestId, body) {
    this._finish('response', requestId, 'Content-Type: application/json\r\n', body);
  }

  fail(requestId, body, errorType) {
    this._finish('error', requestId, errorHeaders(errorType), body);
  }

  // Post something final; `then` is called when it has been answered, or cannot be any more.
  lastWords(requestId, body, errorType, then) {
    const target = requestId === undefined ? 'init/error' : `invocation/${encodeURIComponent(requestId)}/error`;
    this._onLost = then;
    this._retries = 1;
    this._send(this._post(target, errorHeaders(errorType), body), [then]);
  }

  // Begin a streamed response; see stream.cjs for the rest of it. `onEarly` hears of an answer before its end.
  openStream(requestId, contentType, onEarly) {
    const headers =
      'Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n' +
      `Trailer: Lambda-Runtime-Function-Error-Body\r\nContent-Type: ${contentType}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    this._unanswered = '';
    this._retries = 1;
    const target = `invocation/${encodeURIComponent(requestId)}/response`;
    this._send(`POST ${PREFIX}${target}${this._common}${headers}`, [onEarly]);
  }

  streamWrite(parts, callback) {
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

  // The end of a streamed response and the request for the next invocation, whether or not it was answered by now.
  closeStream(end) {
    if (!this._socket) {
      this.next();
      return;
    }
    this._retries = 0;
    this._send(end + this._next, [this._invocation]);
  }

  // The end of a streamed response that is the end of the process, too.
  breakOffStream(end) {
    this._send(end, []);
  }

  // Keep the process alive although the function may have nothing to do.
  hold() {
    this._socket?.ref();
  }

  // --- the connection -------------------------------------------------------------------------------------------

  _finish(action, requestId, headers, body) {
    const request = this._post(`invocation/${encodeURIComponent(requestId)}/${action}`, headers, body);
    this._retries = 0;
    this._unanswered = request;
    this._send(request + this._next, [this._acknowledged, this._invocation]);
  }

  _post(target, headers, body) {
    return `POST ${PREFIX}${target}${this._common}${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  }

  _send(text, awaited) {
    this._awaited.push(...awaited);
    const socket = this._socket ?? this._connect();
    socket.ref();
    socket.write(text);
  }

  _connect() {
    const reader = new ResponseReader((status, headers, body) => this._answered(status, headers, body));
    const callback = (size, buffer) => {
      try {
        reader.feed(buffer.subarray(0, size));
      } catch (error) {
        socket.destroy(error);
      }
      return true;
    };
    // One buffer for all that comes: a stream of buffers costs as much as the rest of an invocation.
    const onread = { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback };
    const socket = net.connect({ host: this._host, port: this._port, noDelay: true, onread });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => this._closed(socket));
    this._socket = socket;
    return socket;
  }

  _answered(status, headers, body) {
    const awaited = this._awaited.shift();
    if (awaited) awaited.call(this, status, headers, body);
    else this._socket?.destroy();
  }

  _acknowledged(status) {
    this._unanswered = '';
    // 4xx: it came too late or was too large, which the caller knows. 5xx is the sign of a fatal error.
    if (status >= 500) this._lost(`the Runtime API answered a result with ${status}`);
  }

  _invocation(status, headers, body) {
    if (status !== 200) {
      this._lost(`the Runtime API answered invocation/next with ${status}: ${body.subarray(0, 200)}`);
      return;
    }
    // While the function runs only its own doings keep the process alive.
    this._socket?.unref();
    this._onInvocation(headers, body);
  }

  _closed(socket) {
    if (socket !== this._socket) return;
    this._socket = undefined;
    const awaited = this._awaited;
    this._awaited = [];
    if (!awaited.includes(this._invocation)) {
      // The function runs (its outcome will go over another connection), or its last words could not be heard.
      awaited.forEach((callback) => callback.call(this, 0, {}, Buffer.alloc(0)));
      return;
    }
    if (this._retries++) {
      this._lost('the Runtime API cannot be reached any more');
      return;
    }
    const again = this._unanswered ? [this._acknowledged, this._invocation] : [this._invocation];
    this._send(this._unanswered + this._next, again);
  }

  _lost(reason) {
    this._onLost(new ApiGoneError(reason));
  }
}

function errorHeaders(errorType) {
  return `Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: ${errorType}\r\n`;
}

module.exports = { ApiGoneError, RuntimeApi };
