import * as zlib from 'node:zlib';
import { crc32, createInflateRaw, constants as z } from 'node:zlib';
import type { Limits, Problems } from './model.ts';
import { formatBytes, Refusal } from './model.ts';
import type { Source } from './source.ts';

export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

const JUDGE_AFTER = 1024 * 1024;
/** The fast path makes one buffer of this size at most; ISIZE is the sender's word. */
const FAST = 160 * 1024 * 1024;

/**
 * One gunzip into one buffer sized by the ISIZE trailer; null when that word does not hold (then the streaming path
 * tells why: truncation, damage, several members, a bomb).
 */
export function gunzipWhole(source: Source, limits: Limits): Buffer | null {
  const bytes = source.whole;
  if (bytes === null || bytes.length < 18) return null;
  const size = bytes.readUInt32LE(bytes.length - 4);
  if (size > FAST || size > limits.expanded || size > Math.max(JUDGE_AFTER, bytes.length * limits.ratio)) return null;
  try {
    // info: how many input bytes were used; less than all means something follows the gzip member
    const { buffer, engine } = zlib.gunzipSync(bytes, {
      chunkSize: Math.max(64, size + 64),
      maxOutputLength: size + 64,
      info: true,
    } as zlib.ZlibOptions) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    return buffer.length === size && engine.bytesWritten === bytes.length ? buffer : null;
  } catch {
    return null;
  }
}

/** gzip members of one file; block gzip tools write one for each 64 KiB. */
const MEMBERS = 10_000;

/** How the compressed stream ended. */
export interface GunzipEnd {
  /** 'whole': every member's CRC and length fit. */
  readonly end: 'whole' | 'truncated' | 'damaged';
}

/** Counts both sides of an expansion; throws Refusal over the limits. */
class Meter {
  read = 0;
  written = 0;
  readonly #limits: Limits;
  constructor(limits: Limits) {
    this.#limits = limits;
  }
  take(bytes: number): void {
    this.written += bytes;
    const { expanded, ratio } = this.#limits;
    // headers and fill come on top of the data that `expanded` limits
    if (this.written > expanded * 1.25 + JUDGE_AFTER)
      throw new Refusal(
        'too-large',
        `The archive expands to more than ${formatBytes(expanded)}; collect without --full, or raise the limit if you trust the sender.`,
      );
    if (this.written > JUDGE_AFTER && this.written > this.read * ratio)
      throw new Refusal(
        'bomb',
        `The archive expands more than ${ratio} times (${formatBytes(this.read)} to over ${formatBytes(this.written)}); this is a decompression bomb, no bundle is like that.`,
      );
  }
}

/** Byte queue over the source's chunks: what inflate did not use is given back. */
class Input {
  readonly #chunks: Generator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  constructor(source: Source) {
    this.#chunks = source.chunks();
  }
  next(): Buffer | null {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = Buffer.alloc(0);
      return rest;
    }
    const step = this.#chunks.next();
    return step.done === true ? null : step.value;
  }
  giveBack(bytes: Buffer): void {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([bytes, this.#rest]);
  }
  /** Exactly `n` bytes, or null at the end of the input. */
  exactly(n: number): Buffer | null {
    const parts: Buffer[] = [];
    let have = 0;
    while (have < n) {
      const part = this.next();
      if (part === null) return null;
      parts.push(part);
      have += part.length;
    }
    const all = Buffer.concat(parts);
    this.giveBack(all.subarray(n));
    return all.subarray(0, n);
  }
  /** Reads on to the end (so that the hash covers it); how many bytes came, and whether they were all zero. */
  drain(): { bytes: number; zero: boolean } {
    let bytes = 0;
    let zero = true;
    for (let part = this.next(); part !== null; part = this.next()) {
      bytes += part.length;
      zero &&= part.every((b) => b === 0);
    }
    return { bytes, zero };
  }
}

/** Skips a gzip header; false when the input ends inside it, null when it is none. */
function skipHeader(input: Input): boolean | null {
  const fixed = input.exactly(10);
  if (fixed === null) return false;
  const flags = fixed[3] as number;
  if (!isGzip(fixed) || fixed[2] !== 8 || (flags & 0xe0) !== 0) return null;
  if ((flags & 4) !== 0) {
    const length = input.exactly(2);
    if (length === null || input.exactly(length.readUInt16LE(0)) === null) return false;
  }
  for (const text of [8, 16]) {
    if ((flags & text) === 0) continue;
    for (let n = 0; ; n++) {
      const byte = input.exactly(1);
      if (byte === null) return false;
      if (byte[0] === 0) break;
      if (n > 4096) return null;
    }
  }
  return (flags & 2) === 0 || input.exactly(2) !== null;
}

type MemberEnd = { readonly end: 'ok' | 'truncated' | 'damaged'; readonly crc: number; readonly size: number };

/** Inflates one raw deflate stream; what was decoded before an error has already gone to `sink`. */
async function inflate(input: Input, meter: Meter, sink: (chunk: Buffer) => void): Promise<MemberEnd> {
  const stream = createInflateRaw({ chunkSize: 256 * 1024, finishFlush: z.Z_SYNC_FLUSH });
  let crc = 0;
  let size = 0;
  let failed: unknown = null;
  let ended = false;
  let wake = () => {};
  stream.on('data', (chunk: Buffer) => {
    if (failed !== null) return;
    try {
      meter.take(chunk.length);
      crc = crc32(chunk, crc);
      size += chunk.length;
      sink(chunk);
    } catch (error) {
      failed = error;
      wake();
    }
  });
  stream.on('error', (error) => {
    failed ??= error;
    wake();
  });
  stream.on('end', () => {
    ended = true;
    wake();
  });
  let given = 0;
  let last: Buffer = Buffer.alloc(0);
  try {
    while (!ended && failed === null) {
      const piece = input.next();
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (piece === null) stream.end();
        else {
          given += piece.length;
          meter.read += piece.length;
          last = piece;
          stream.write(piece, () => resolve());
        }
      });
      if (piece === null) break;
      // inflate left input over: its stream is at its end, only the last output is still on its way
      if (!ended && failed === null && stream.bytesWritten < given)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    if (failed instanceof Refusal) throw failed;
    if (failed !== null) {
      if (
        typeof (failed as { code?: unknown }).code === 'string' &&
        String((failed as { code: string }).code).startsWith('Z_')
      )
        return { end: 'damaged', crc, size };
      throw failed;
    }
    const unused = given - stream.bytesWritten;
    if (!ended || unused <= 0) return { end: ended && given > 0 ? 'ok' : 'truncated', crc, size };
    meter.read -= unused;
    input.giveBack(last.subarray(last.length - unused));
    return { end: 'ok', crc, size };
  } finally {
    stream.destroy();
  }
}

/** Streams a gzip file of any number of members through `sink`, counting both sides. Throws Refusal. */
export async function gunzipStream(
  source: Source,
  limits: Limits,
  problems: Problems,
  sink: (chunk: Buffer) => void,
): Promise<GunzipEnd> {
  const input = new Input(source);
  const meter = new Meter(limits);
  for (let member = 1; ; member++) {
    const header = skipHeader(input);
    if (header === null && member === 1)
      throw new Refusal('bad-gzip', 'The gzip header is damaged; ask for the original file.');
    if (header !== true) {
      if (header === null) trailing(input, problems);
      return { end: header === null ? 'whole' : 'truncated' };
    }
    const part = await inflate(input, meter, sink);
    const trailer = part.end === 'ok' ? input.exactly(8) : null;
    if (part.end === 'damaged' || trailer === null) {
      input.drain();
      return { end: part.end === 'damaged' ? 'damaged' : 'truncated' };
    }
    if (trailer.readUInt32LE(0) !== part.crc || trailer.readUInt32LE(4) !== part.size % 2 ** 32) {
      input.drain();
      return { end: 'damaged' };
    }
    const next = input.next();
    if (next === null) return { end: 'whole' };
    input.giveBack(next);
    if (next[0] !== 0x1f) {
      trailing(input, problems);
      return { end: 'whole' };
    }
    if (member === 1)
      problems.add(
        'medium',
        'gzip-members',
        'The file was put together from several gzip members; what lies behind the first end-of-archive marker is not read.',
      );
    if (member >= MEMBERS)
      throw new Refusal('gzip-members', `The file has more than ${MEMBERS} gzip members; ask for the original bundle.`);
  }
}

function trailing(input: Input, problems: Problems): void {
  const { bytes, zero } = input.drain();
  if (bytes > 0)
    problems.add(
      zero ? 'info' : 'medium',
      'gzip-trailing',
      `${formatBytes(bytes)}${zero ? ' of zeros' : ''} follow the compressed data and were not read; ask for the original file.`,
    );
}
