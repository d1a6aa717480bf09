import { sameLength } from '../core/same-length.ts';

/**
 * Text as copies out of a text that is nearly the same (the rules of two nodes of one cluster) and what is new. Runs are compared by
 * native memcmp in growing steps; where they end, the same line is looked for behind its packet counters.
 */

/** A text that others can be told by; its lines are indexed when first needed. */
export class Base {
  readonly bytes: Buffer;
  #lines: Map<string, number> | null = null;

  constructor(bytes: Uint8Array) {
    // a copy: a view would keep the whole bundle in memory
    this.bytes = Buffer.from(bytes);
  }

  /** Where the line that starts like `key` stands. */
  find(key: string): number | undefined {
    this.#lines ??= indexLines(this.bytes);
    return this.#lines.get(key);
  }
}

const NEWLINE = 10;
const KEY = 72;
/** A copy shorter than this costs more to tell than its bytes. */
const WORTH = 12;

function indexLines(bytes: Buffer): Map<string, number> {
  const lines = new Map<string, number>();
  for (let at = 0; at < bytes.length; ) {
    const start = afterCounters(bytes, at);
    const key = keyAt(bytes, start);
    if (!lines.has(key)) lines.set(key, start);
    const end = bytes.indexOf(NEWLINE, start);
    at = end < 0 ? bytes.length : end + 1;
  }
  return lines;
}

function keyAt(bytes: Buffer, start: number): string {
  const end = bytes.indexOf(NEWLINE, start);
  return bytes.toString('latin1', start, Math.min(start + KEY, end < 0 ? bytes.length : end));
}

/** `[12:3456] -A ...` counts differ on every node; what follows does not. */
function afterCounters(bytes: Buffer, at: number): number {
  if (bytes[at] !== 0x5b) return at;
  let i = at + 1;
  for (const stop = Math.min(at + 44, bytes.length); i < stop; i += 1) {
    const c = bytes[i] as number;
    if (!(c >= 0x30 && c <= 0x3a)) break;
  }
  return bytes[i] === 0x5d && bytes[i + 1] === 0x20 ? i + 2 : at;
}

const isCount = (c: number | undefined) => c !== undefined && c >= 0x30 && c <= 0x3a;

/** The delta, or null when it would not be worth it. */
export function encodeDelta(base: Base, text: Uint8Array): Uint8Array | null {
  const a = base.bytes;
  const b = Buffer.from(text.buffer, text.byteOffset, text.length);
  const most = b.length >> 3;
  const ops = new Writer(4096);
  const literals = new Writer(4096);
  let s = 0;
  let t = 0;
  let from = 0;
  let last = 0;
  while (t < b.length) {
    const same = sameLength(a, s, b, t);
    if (same >= WORTH || t + same === b.length) {
      if (same > 0) {
        ops.varint(t - from);
        ops.varint(same);
        ops.varint(s >= last ? (s - last) * 2 : (last - s) * 2 - 1);
        literals.bytes(b, from, t);
        s += same;
        t += same;
        from = t;
        last = s;
      }
      if (t === b.length) break;
    }
    if (ops.length + literals.length + (t - from) > most) return null;
    [s, t] = resume(base, s, b, t);
  }
  literals.bytes(b, from, b.length);
  if (ops.length + literals.length > most) return null;
  const head = new Writer(8);
  head.varint(ops.length);
  return Buffer.concat([head.view(), ops.view(), literals.view()]);
}

/** The next two places that may be the same, after the places where the texts differ. */
function resume(base: Base, s: number, b: Buffer, t: number): [number, number] {
  const a = base.bytes;
  // a number that differs: go on behind both
  let [i, j] = [s, t];
  while (isCount(a[i])) i += 1;
  while (isCount(b[j])) j += 1;
  if ((i > s || j > t) && a[i] === b[j] && a[i + 1] === b[j + 1] && i < a.length) return [i, j];
  const end = b.indexOf(NEWLINE, t);
  if (end < 0) return [a.length, b.length];
  const next = afterCounters(b, end + 1);
  const other = a.indexOf(NEWLINE, s);
  const beside = other < 0 ? a.length : afterCounters(a, other + 1);
  const probe = Math.min(KEY, b.length - next);
  if (beside + probe <= a.length && a.compare(b, next, next + probe, beside, beside + probe) === 0)
    return [beside, next];
  return [base.find(keyAt(b, next)) ?? beside, next];
}

/** The text that a delta tells; throws when it is not a delta of this base. */
export function applyDelta(base: Uint8Array, delta: Uint8Array, size: number): Buffer {
  const out = Buffer.allocUnsafe(size);
  const read = { at: 0 };
  const end = varint(delta, read);
  let literal = read.at + end;
  const ops = literal;
  let at = 0;
  let last = 0;
  const put = (from: Uint8Array, start: number, length: number) => {
    if (start < 0 || start + length > from.length || at + length > size) throw new Error('its delta is impossible');
    out.set(from.subarray(start, start + length), at);
    at += length;
  };
  while (read.at < ops) {
    const fresh = varint(delta, read);
    const copy = varint(delta, read);
    const move = varint(delta, read);
    put(delta, literal, fresh);
    literal += fresh;
    const start = last + (move % 2 === 0 ? move / 2 : -(move + 1) / 2);
    put(base, start, copy);
    last = start + copy;
  }
  put(delta, literal, delta.length - literal);
  if (at !== size) throw new Error('its delta is impossible');
  return out;
}

function varint(bytes: Uint8Array, read: { at: number }): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = bytes[read.at];
    if (byte === undefined || scale > 2 ** 42) throw new Error('its delta is impossible');
    read.at += 1;
    value += (byte & 127) * scale;
    if (byte < 128) return value;
    scale *= 128;
  }
}

class Writer {
  length = 0;
  #bytes: Buffer;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.length + more));
    this.#bytes.copy(grown, 0, 0, this.length);
    this.#bytes = grown;
  }

  varint(value: number): void {
    this.#room(8);
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.length] = (rest % 128) | 128;
      this.length += 1;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length] = rest;
    this.length += 1;
  }

  bytes(from: Buffer, start: number, end: number): void {
    this.#room(end - start);
    if (end - start > 24) from.copy(this.#bytes, this.length, start, end);
    else for (let i = start; i < end; i += 1) this.#bytes[this.length + i - start] = from[i] as number;
    this.length += end - start;
  }

  view(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }
}
