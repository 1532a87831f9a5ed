'use strict';

// The stream that a streaming handler writes its response to, and the global `awslambda`. Source: AWS page "Response
// streaming for Lambda functions"; the wire is that of AWS's clients: chunks, and trailers that tell of an error.

const { Writable } = require('stream');
const errors = require('./errors.cjs');
const { HIGH_WATER_MARK, STREAMING } = require('./handler.cjs');

const DEFAULT_TYPE = 'application/octet-stream';
const HTTP_TYPE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = Buffer.alloc(8);
const LAST_CHUNK = '0\r\n\r\n';

class ResponseStream extends Writable {
  constructor(api, requestId, highWaterMark) {
    super(highWaterMark === undefined ? {} : { highWaterMark });
    this._api = api;
    this._requestId = requestId;
    this._contentType = DEFAULT_TYPE;
    this._prelude = undefined;
    this._opened = false;
    this._closed = false;
    this._refused = undefined;
    this._then = undefined;
  }

  setContentType(contentType) {
    if (this._opened) throw new Error('the content type is set too late: the response has begun');
    this._contentType = checkedHeader(contentType);
  }

  // Anything but text and bytes is written as JSON, as AWS's stream does.
  write(chunk, encoding, callback) {
    return super.write(writable(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    if (chunk === undefined || chunk === null || typeof chunk === 'function') return super.end(chunk, encoding, callback);
    return super.end(writable(chunk), encoding, callback);
  }

  _write(chunk, _encoding, callback) {
    this._writev([{ chunk }], callback);
  }

  _writev(chunks, callback) {
    this._open();
    if (this._refused) {
      callback(this._refused);
      return;
    }
    const parts = chunks.flatMap(({ chunk }) => framed(chunk));
    if (parts.length) this._api.streamWrite(parts, callback);
    else callback();
  }

  _final(callback) {
    this._open();
    callback();
  }

  get begun() {
    return this._opened && !this._closed;
  }

  // The end of the response on the wire, with the request for what comes next. `error` is told in trailers.
  close(error, callbacks) {
    if (this._closed) return;
    this._open();
    this._closed = true;
    this._api.closeStream(error === undefined ? LAST_CHUNK : failedEnd(error, callbacks));
  }

  // The end of a response that had begun, and of this process: `then` is called once that is heard.
  breakOff(error, callbacks, then) {
    this._closed = true;
    this._then = then;
    this._api.breakOffStream(failedEnd(error, callbacks));
  }

  _open() {
    if (this._opened) return;
    this._opened = true;
    this._api.openStream(this._requestId, this._contentType, (status) => this._answered(status));
    if (this._prelude !== undefined) this._api.streamWrite([...framed(this._prelude), ...framed(PRELUDE_END)], () => {});
  }

  _answered(status) {
    if (this._then) this._then();
    // Before the end it is a refusal: the caller is gone, or the response too large.
    if (!this._closed) this._refused = new Error(`the Runtime API ended the response early (${status || 'no connection'})`);
  }
}

function failedEnd(error, callbacks) {
  const body = Buffer.from(errors.errorBody(error, callbacks)).toString('base64');
  return (
    `0\r\nLambda-Runtime-Function-Error-Type: ${errors.errorType(error)}\r\n` +
    `Lambda-Runtime-Function-Error-Body: ${body}\r\n\r\n`
  );
}

function framed(chunk) {
  return chunk.length ? [`${chunk.length.toString(16)}\r\n`, chunk, '\r\n'] : [];
}

function writable(chunk) {
  return typeof chunk === 'string' || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk);
}

function checkedHeader(value) {
  const text = String(value);
  if (/[^\t\x20-\x7e\x80-\xff]/.test(text)) throw new TypeError(`not a content type: ${JSON.stringify(text)}`);
  return text;
}

class HttpResponseStream {
  // `prelude`: { statusCode, headers, cookies }, which front ends make an HTTP response of. Throws a TypeError for none.
  static from(stream, prelude) {
    if (prelude === undefined) {
      throw new TypeError('HttpResponseStream.from needs a second argument, for example { statusCode: 200 }');
    }
    stream.setContentType(HTTP_TYPE);
    stream._prelude = Buffer.from(JSON.stringify(prelude));
    return stream;
  }
}

function streamifyResponse(handler, options) {
  handler[STREAMING] = 'response';
  if (options?.highWaterMark !== undefined) handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark, 10);
  return handler;
}

module.exports = { ResponseStream, awslambda: { streamifyResponse, HttpResponseStream } };
