'use strict';

// Tries parts of our Node.js runtime by themselves: `node node_parts.cjs FOLDER PART`. Ends with a failure of an assertion.

const assert = require('assert');
const path = require('path');

const [folder, part] = process.argv.slice(2);
const load = (name) => require(path.join(folder, name));

const ANSWERS =
  'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\nab\n' +
  'HTTP/1.1 100 Continue\r\n\r\n' +
  'HTTP/1.1 200 OK\r\nA: one: two \r\nb:\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=y\r\n\r\n123\r\n0\r\nT: 1\r\n\r\n' +
  'HTTP/1.1 204 No Content\r\n\r\n' +
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' +
  'HTTP/1.1 200 OK\r\nLambda-Name: \u00fc\r\nContent-Length: 4\r\n\r\n\u00fc\u00e4';
const EXPECTED = [
  [202, 'ab\n'],
  [200, 'abc\r\n123'],
  [204, ''],
  [200, ''],
  [200, '\u00fc\u00e4'],
];

function readAll(pieces) {
  const { ResponseReader } = load('http1.cjs');
  const found = [];
  const heads = [];
  const reader = new ResponseReader((status, headers, body) => {
    found.push([status, body.toString()]);
    heads.push(headers);
  });
  // As the runtime's connection does it: one buffer for all reads.
  const shared = Buffer.allocUnsafeSlow(65536);
  for (const piece of pieces) {
    piece.copy(shared);
    reader.feed(shared.subarray(0, piece.length));
    shared.fill(0x2e);
  }
  return { found, heads };
}

const PARTS = {
  'responses at every split'() {
    const data = Buffer.from(ANSWERS);
    for (let at = 0; at <= data.length; at++) {
      const { found } = readAll([data.subarray(0, at), data.subarray(at)].filter((piece) => piece.length));
      assert.deepStrictEqual(found, EXPECTED, `split at ${at}`);
    }
  },
  'responses byte by byte'() {
    const { found, heads } = readAll(Array.from(Buffer.from(ANSWERS), (byte) => Buffer.from([byte])));
    assert.deepStrictEqual(found, EXPECTED);
    assert.deepStrictEqual({ ...heads[1] }, { a: 'one: two', b: '', 'transfer-encoding': 'chunked' });
    assert.strictEqual(heads[4]['lambda-name'], '\u00fc');
  },
  'responses at random splits'() {
    let seed = 7;
    const random = (most) => (seed = (seed * 48271) % 2147483647) % most;
    const data = Buffer.from(ANSWERS.repeat(3));
    for (let round = 0; round < 500; round++) {
      const pieces = [];
      for (let at = 0; at < data.length; ) {
        const size = 1 + random(90);
        pieces.push(data.subarray(at, at + size));
        at += size;
      }
      assert.deepStrictEqual(readAll(pieces).found, [...EXPECTED, ...EXPECTED, ...EXPECTED]);
    }
  },
  'what is no response'() {
    for (const bad of [
      'nonsense\r\n\r\n',
      'HTTP/2 200 OK\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    ]) {
      assert.throws(() => readAll([Buffer.from(bad)]), Error, bad);
    }
    const long = Buffer.alloc(60000, 0x61);
    assert.throws(() => readAll([Buffer.from('HTTP/1.1 200 OK\r\nX: '), ...Array(20).fill(long)]), /response head/);
  },
  'a large body'() {
    const body = Buffer.alloc(3_000_000, 0x62);
    const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
    const pieces = [head];
    for (let at = 0; at < body.length; at += 65536) pieces.push(body.subarray(at, at + 65536));
    const { found } = readAll(pieces);
    assert.strictEqual(found[0][1].length, body.length);
    assert.ok(/^b+$/.test(found[0][1]));
  },
  'rules by the name of the runtime'() {
    const { rulesOf } = load('rules.cjs');
    for (const name of ['AWS_Lambda_nodejs18.x', 'AWS_Lambda_nodejs20.x', 'AWS_Lambda_nodejs22.x', undefined, '']) {
      assert.strictEqual(rulesOf(name).callbacks, true, name);
    }
    for (const name of ['AWS_Lambda_nodejs24.x', 'AWS_Lambda_nodejs26.x']) {
      assert.strictEqual(rulesOf(name).callbacks, false, name);
    }
  },
  'the type of an error as a header'() {
    const { errorType } = load('errors.cjs');
    const named = (name) => Object.assign(new Error('m'), { name });
    assert.strictEqual(errorType(new RangeError('m')), 'RangeError');
    assert.strictEqual(errorType('text'), 'string');
    for (const name of ['', 'a b', 'x\r\nInjected: 1', '\u00fc', 5, undefined, 'x'.repeat(300)]) {
      assert.strictEqual(errorType(named(name)), 'Error', String(name));
    }
  },
  'the class of an error in the JSON log'() {
    const { RuntimeError } = load('errors.cjs');
    const { rulesOf } = load('rules.cjs');
    const named = (type, runtime) => new RuntimeError(type, 'm', rulesOf(runtime)).className;
    for (const [type, modern] of [
      ['Runtime.JSONStringifyError', 'JSONStringifyError'],
      ['Runtime.ImportModuleError', 'ImportModuleError'],
      ['Runtime.HandlerNotFound', 'HandlerNotFoundError'],
      ['Runtime.InvalidStreamingOperation', 'InvalidStreamingOperation'],
    ]) {
      assert.strictEqual(named(type, 'AWS_Lambda_nodejs24.x'), modern);
      assert.strictEqual(named(type, 'AWS_Lambda_nodejs22.x'), type.slice('Runtime.'.length));
    }
  },
  'how many workers there are'() {
    const { workerCount } = load('concurrent.cjs');
    const cpus = require('os').cpus().length;
    assert.strictEqual(workerCount('3', undefined), 3);
    for (const nothing of [undefined, '', '0', '-1', 'x']) assert.strictEqual(workerCount(nothing, undefined), 8);
    for (const [limit, count] of [
      ['max 100000\n', 8 * cpus],
      ['200000 100000\n', 16],
      ['150000 100000\n', 16],
      ['1 100000\n', 8],
      ['', 8],
      ['200000 0', 8],
      ['x y', 8],
    ]) {
      assert.strictEqual(workerCount(undefined, limit), count, limit);
    }
  },
  'who follows a worker'() {
    const { strikesAfter } = load('concurrent.cjs');
    const { PHASES } = load('in_flight.cjs');
    const after = (strikes, proven, phase, hasServed) => strikesAfter({ strikes, proven }, { phase, hasServed });
    assert.strictEqual(after(2, true, PHASES.ready, true), 0);
    assert.strictEqual(after(1, true, PHASES.ready, false), 2);
    assert.strictEqual(after(0, false, PHASES.starting, false), 1);
    assert.strictEqual(after(0, false, PHASES.refused, false), 3);
    assert.strictEqual(after(0, true, PHASES.refused, false), 1);
    assert.strictEqual(after(0, true, PHASES.apiGone, true), 3);
  },
  'when it is tried again'() {
    const { delayMs } = load('concurrent_api.cjs');
    const delays = Array.from({ length: 19 }, (_, index) => delayMs(index + 1));
    assert.deepStrictEqual(delays.slice(0, 11), [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 90000]);
    assert.ok(delays.slice(10).every((delay) => delay === 90000));
  },
  'what is in flight'() {
    const { InFlight } = load('in_flight.cjs');
    const mine = InFlight.of(3);
    const seen = new InFlight(mine.memory);
    assert.deepStrictEqual([seen.requestIds(), seen.hasServed, seen.phase], [[], false, 0]);
    const slots = ['a', '\u00fc'.repeat(100), 'c'].map((id) => mine.take(id));
    assert.deepStrictEqual(seen.requestIds().sort(), ['a', 'c', '\u00fc'.repeat(100)]);
    assert.strictEqual(mine.take('one more'), undefined);
    mine.drop(undefined);
    mine.drop(slots[1]);
    assert.strictEqual(mine.take('x'.repeat(256)), undefined);
    mine.take('x'.repeat(255));
    assert.deepStrictEqual(seen.requestIds().sort(), ['a', 'c', 'x'.repeat(255)]);
    slots.forEach((slot) => mine.drop(slot));
    assert.deepStrictEqual([seen.requestIds(), seen.hasServed], [[], true]);
  },
};

PARTS[part]();
