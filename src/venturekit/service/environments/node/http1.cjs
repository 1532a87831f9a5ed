'use strict';

// Reads HTTP/1.1 responses from a byte stream, one after the other.

const MOST_HEAD_BYTES = 1024 * 1024;

class ResponseReader {
  constructor(onResponse) {
    this._onResponse = onResponse;
    this._kept = []; // what has come of the response that is being read
    this._size = 0;
    this._head = undefined;
    this._needed = 0; // bytes of head and body together, once the head is known
  }

  // Calls `onResponse(status, headers, body)` for every response that is complete. Throws an Error for what is no HTTP.
  // `data` and `body` are the caller's to write to again once the call is over.
  feed(data) {
    this._kept.push(data);
    this._size += data.length;
    while (this._size > 0 && this._take());
    const last = this._kept.length - 1;
    if (last >= 0 && this._kept[last].buffer === data.buffer) this._kept[last] = Buffer.from(this._kept[last]);
  }

  _take() {
    if (this._head === undefined && !this._readHead()) return false;
    const { status, headers, bodyStart, chunked } = this._head;
    let body;
    if (chunked) {
      const found = readChunks(this._joined(), bodyStart);
      if (found === undefined) return false;
      body = found.body;
      this._needed = found.end;
    } else {
      if (this._size < this._needed) return false;
      body = this._joined().subarray(bodyStart, this._needed);
    }
    const rest = this._joined().subarray(this._needed);
    this._kept = rest.length ? [rest] : [];
    this._size = rest.length;
    this._head = undefined;
    if (status >= 200) this._onResponse(status, headers, body);
    return true;
  }

  _readHead() {
    const data = this._joined();
    const end = data.indexOf('\r\n\r\n');
    if (end < 0) {
      if (data.length > MOST_HEAD_BYTES) throw new Error(`a response head of more than ${MOST_HEAD_BYTES} bytes`);
      return false;
    }
    const lines = data.utf8Slice(0, end).split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(lines[0])?.[1]);
    if (!status) throw new Error(`not an HTTP response: ${JSON.stringify(lines[0].slice(0, 80))}`);
    const headers = Object.create(null);
    for (let index = 1; index < lines.length; index++) {
      const line = lines[index];
      const colon = line.indexOf(':');
      if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const chunked = (headers['transfer-encoding'] || '').toLowerCase().includes('chunked');
    const length = chunked || status < 200 || status === 204 || status === 304 ? 0 : Number(headers['content-length'] || 0);
    if (!Number.isSafeInteger(length) || length < 0) throw new Error('a response without a sound Content-Length');
    this._head = { status, headers, bodyStart: end + 4, chunked };
    this._needed = end + 4 + length;
    return true;
  }

  // Everything that was kept as one buffer. Parts are put together only when that is of use: large bodies come in many.
  _joined() {
    if (this._kept.length > 1) this._kept = [Buffer.concat(this._kept, this._size)];
    return this._kept[0];
  }
}

// A whole chunked body from `position` on and where it ends; undefined when more has to come.
function readChunks(data, position) {
  const parts = [];
  for (;;) {
    const lineEnd = data.indexOf('\r\n', position);
    if (lineEnd < 0) return undefined;
    const digits = /^[0-9a-fA-F]{1,8}/.exec(data.latin1Slice(position, lineEnd));
    if (!digits) throw new Error('a chunk without a size');
    const size = parseInt(digits[0], 16);
    if (size === 0) {
      const end = data.indexOf('\r\n\r\n', lineEnd);
      return end < 0 ? undefined : { body: Buffer.concat(parts), end: end + 4 };
    }
    position = lineEnd + 2 + size + 2;
    if (data.length < position) return undefined;
    parts.push(data.subarray(lineEnd + 2, lineEnd + 2 + size));
  }
}

module.exports = { ResponseReader };
