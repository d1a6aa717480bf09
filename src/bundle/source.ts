import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { sha256 } from './hash.ts';
import type { Limits } from './model.ts';
import { formatBytes, Refusal } from './model.ts';

/** The bytes of one input file, whole or chunk by chunk. */
export interface Source {
  readonly size: number;
  readonly head: Buffer;
  /** Null when the input is larger than the fast path takes. */
  readonly whole: Buffer | null;
  /** Every byte once, in order. */
  chunks(): Generator<Buffer>;
  /** Lower-case hex; for a file that is not held whole, valid after `chunks` was drained. */
  sha256(): string;
  close(): void;
}

/** Bundles up to this many compressed bytes are read at once. */
export const WHOLE = 64 * 1024 * 1024;

function checkSize(size: number, limits: Limits): void {
  if (size === 0) throw new Refusal('empty', 'The input is empty; the upload or copy failed. Send the bundle again.');
  if (size > limits.archive)
    throw new Refusal(
      'archive-too-large',
      `The input is ${formatBytes(size)} long, over the limit of ${formatBytes(limits.archive)}; collect without --full, or raise the limit.`,
    );
}

function pieceSize(size: number): number {
  // small pieces lose less of a damaged gzip, large ones are faster
  return size <= 4 * 1024 * 1024 ? 4096 : 256 * 1024;
}

function* slices(bytes: Buffer): Generator<Buffer> {
  const step = pieceSize(bytes.length);
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

export function bytesSource(bytes: Uint8Array, limits: Limits): Source {
  checkSize(bytes.length, limits);
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: whole.length,
    head: whole.subarray(0, 512),
    whole,
    chunks: () => slices(whole),
    sha256: () => sha256(whole),
    close: () => {},
  };
}

function readFully(fd: number, into: Buffer, position: number): number {
  let have = 0;
  while (have < into.length) {
    const n = readSync(fd, into, have, into.length - have, position + have);
    if (n === 0) break;
    have += n;
  }
  return have;
}

/** Opens a regular file (a FIFO, device or socket never blocks: it is refused after open). Throws Refusal. */
export function fileSource(path: string, limits: Limits): Source {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    throw new Refusal(
      'unreadable',
      `The input could not be opened (${errorCode(error)}); check the path and its permissions.`,
    );
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile())
      throw new Refusal(
        'not-a-file',
        'The input is no regular file (a pipe, device or socket); save the bundle to a file, or use "-" for standard input.',
      );
    checkSize(stat.size, limits);
    if (stat.size <= WHOLE) {
      const bytes = Buffer.allocUnsafeSlow(stat.size);
      const source = bytesSource(bytes.subarray(0, readFully(fd, bytes, 0)), limits);
      closeSync(fd);
      return source;
    }
    return largeFile(fd, stat.size);
  } catch (error) {
    try {
      closeSync(fd);
    } catch {
      // already closed
    }
    if (error instanceof Refusal) throw error;
    throw new Refusal(
      'unreadable',
      `The input could not be read (${errorCode(error)}); check the disk or copy the file again.`,
    );
  }
}

function largeFile(fd: number, size: number): Source {
  const head = Buffer.alloc(512);
  const hash = createHash('sha256');
  readFully(fd, head, 0);
  return {
    size,
    head,
    whole: null,
    *chunks() {
      for (let at = 0; at < size; ) {
        const piece = Buffer.allocUnsafeSlow(Math.min(pieceSize(size), size - at));
        const have = readFully(fd, piece, at);
        if (have === 0) return;
        hash.update(piece.subarray(0, have));
        at += have;
        yield piece.subarray(0, have);
      }
    },
    sha256: () => hash.digest('hex'),
    close: () => closeSync(fd),
  };
}

/** `ENOENT` and the like; never a message, because those name paths. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[A-Z0-9_]{2,40}$/.test(code) ? code : 'unknown error';
}
