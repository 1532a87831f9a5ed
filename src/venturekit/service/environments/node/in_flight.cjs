'use strict';

// What a worker thread tells the main thread without a word: its phase and the invocations it has, in memory that both
// see. The worker alone writes while it lives; the main thread reads once it has ended.

const PHASES = { starting: 0, ready: 1, refused: 2, apiGone: 3 };
const [PHASE, SERVED] = [0, 1];
const HEAD_BYTES = 64;
const SLOT_BYTES = 256;

class InFlight {
  static of(concurrency) {
    return new InFlight(new SharedArrayBuffer(HEAD_BYTES + concurrency * SLOT_BYTES));
  }

  constructor(memory) {
    this.memory = memory;
    this._bytes = Buffer.from(memory);
    this._free = undefined;
  }

  enter(phase) {
    this._bytes[PHASE] = phase;
  }

  get phase() {
    return this._bytes[PHASE];
  }

  get hasServed() {
    return this._bytes[SERVED] !== 0;
  }

  // Note an invocation; the result is what `drop` takes. One with an id longer than the Runtime API's is not noted.
  take(requestId) {
    this._bytes[SERVED] = 1;
    this._free ??= Array.from({ length: (this.memory.byteLength - HEAD_BYTES) / SLOT_BYTES }, (_, index) => index);
    const length = Buffer.byteLength(requestId);
    if (length >= SLOT_BYTES || !this._free.length) return undefined;
    const slot = this._free.pop();
    const begin = HEAD_BYTES + slot * SLOT_BYTES;
    this._bytes.write(requestId, begin + 1);
    // Last: a slot with a length holds all of its text.
    this._bytes[begin] = length;
    return slot;
  }

  drop(slot) {
    if (slot === undefined) return;
    this._bytes[HEAD_BYTES + slot * SLOT_BYTES] = 0;
    this._free.push(slot);
  }

  requestIds() {
    const found = [];
    for (let begin = HEAD_BYTES; begin < this._bytes.length; begin += SLOT_BYTES) {
      const length = this._bytes[begin];
      if (length) found.push(this._bytes.utf8Slice(begin + 1, begin + 1 + length));
    }
    return found;
  }
}

module.exports = { InFlight, PHASES };
