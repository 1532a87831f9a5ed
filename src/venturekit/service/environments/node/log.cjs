'use strict';

// The function's log: `console` writes records, each with time, request id and level. Source: AWS pages "Using Lambda
// function logs with Node.js" and "Configuring advanced logging controls"; frames as AWS's clients write them.

const fs = require('fs');
const { AsyncLocalStorage } = require('async_hooks');
const { format } = require('util');
const errors = require('./errors.cjs');

const LEVELS = { trace: 4, debug: 8, info: 12, warn: 16, error: 20, fatal: 24 };
const METHODS = { trace: 'TRACE', debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };
const TEXT_FRAME = 0xa55a0003;
const JSON_FRAME = 0xa55a0002;
const HEAD_BYTES = 16;
// What the service takes in one frame.
const MOST_FRAME_BYTES = 1024 * 1024;
const WAIT_MS = 1;

class FunctionLog {
  // `descriptor` takes frames; undefined: records are lines of `output`.
  constructor({ descriptor, output = 1, json, level, rules }) {
    this._descriptor = descriptor;
    this._output = output;
    this._json = json;
    this._least = LEVELS[(level || '').toLowerCase()] ?? 0;
    this._rules = rules;
    this._current = { requestId: rules.idOutsideInvocations, tenantId: undefined };
    this._scope = rules.tracksInvocations ? new AsyncLocalStorage() : undefined;
    this._pause = undefined;
  }

  patch(target) {
    for (const [method, level] of Object.entries(METHODS)) {
      target[method] = this._shows(level) ? (message, ...rest) => this._write(level, message, rest) : () => {};
    }
  }

  // From here on records carry the ids of `invocation`; what it has left running keeps its own where rules say so.
  enter(invocation) {
    this._current = invocation;
    this._scope?.enterWith(invocation);
  }

  // What ended an invocation, or the process. Never throws, whatever the error is like.
  error(label, error) {
    if (!this._shows('ERROR')) return;
    let text;
    try {
      text = this._json ? this._jsonRecord('ERROR', errors.asError(error), []) : undefined;
    } catch {
      text = this._jsonRecord('ERROR', JSON.parse(errors.errorBody(error, this._rules.callbacks)), []);
    }
    this._emit('ERROR', text ?? `${label} \t${errors.logText(error, this._rules.callbacks)}`);
  }

  warn(text) {
    if (this._shows('WARN')) this._write('WARN', text, []);
  }

  _shows(level) {
    return LEVELS[level.toLowerCase()] >= this._least;
  }

  _write(level, message, rest) {
    this._emit(level, this._json ? this._jsonRecord(level, message, rest) : format(message, ...rest));
  }

  _invocation() {
    return this._scope?.getStore() ?? this._current;
  }

  _emit(level, text) {
    const step = LEVELS[level.toLowerCase()];
    if (this._json) {
      this._send(JSON_FRAME + step, this._descriptor === undefined ? `${text}\n` : text);
      return;
    }
    const line = `${new Date().toISOString()}\t${this._invocation().requestId}\t${level}\t${text}`;
    // Where a record is a line, its own line ends must not end it.
    this._send(TEXT_FRAME + step, `${this._descriptor === undefined ? line.replaceAll('\n', '\r') : line}\n`);
  }

  _jsonRecord(level, message, rest) {
    const { requestId, tenantId } = this._invocation();
    const record = { timestamp: new Date().toISOString(), level, requestId };
    if (tenantId !== undefined) record.tenantId = tenantId;
    if (!rest.length) {
      try {
        return toJson({ ...record, message });
      } catch {
        return toJson({ ...record, message: format(message) });
      }
    }
    record.message = format(message, ...rest);
    const error = [message, ...rest].find(errors.isError);
    if (error) {
      const { errorType, errorMessage, stackTrace } = errors.logFields(error);
      Object.assign(record, { errorType, errorMessage, stackTrace });
    }
    return toJson(record);
  }

  _send(kind, text) {
    if (this._descriptor === undefined) {
      this._writeAll(this._output, Buffer.from(text));
      return;
    }
    const length = Buffer.byteLength(text);
    const data = Buffer.allocUnsafe(HEAD_BYTES + length);
    data.write(text, HEAD_BYTES);
    let begin = 0;
    do {
      const size = Math.min(length - begin, MOST_FRAME_BYTES);
      // The head of a further frame lies over the end of the frame before, which has been written.
      writeHead(data, begin, kind, size);
      this._writeAll(this._descriptor, data.subarray(begin, begin + HEAD_BYTES + size));
      begin += size;
    } while (begin < length);
  }

  _writeAll(descriptor, data) {
    let written = 0;
    while (written < data.length) {
      try {
        written += fs.writeSync(descriptor, data, written);
      } catch (error) {
        if (error.code !== 'EAGAIN') return;
        // Node makes its pipes non-blocking, and the log shares one with standard output.
        this._pause ??= new Int32Array(new SharedArrayBuffer(4));
        Atomics.wait(this._pause, 0, 0, WAIT_MS);
      }
    }
  }
}

function writeHead(data, position, kind, size) {
  const microseconds = Date.now() * 1000;
  data.writeUInt32BE(kind, position);
  data.writeUInt32BE(size, position + 4);
  data.writeUInt32BE(Math.floor(microseconds / 2 ** 32), position + 8);
  data.writeUInt32BE(microseconds % 2 ** 32, position + 12);
}

function toJson(record) {
  return JSON.stringify(record, (_, value) => (errors.isError(value) ? errors.logFields(value) : value));
}

module.exports = { FunctionLog };
