import type { EncodedBlob } from './blob.ts';
import { encodeAgainst, encodeBlob, encodePack, sha256Of } from './blob.ts';
import { Base } from './delta.ts';

/** Evidence that is nearly the same on every node of a cluster. */
const ALIKE = /^(fw|k8s)\./;
/** Smaller files cost little as they are. */
const LARGE = 64 * 1024;
/** Files below this are packed together. */
const SMALL = 24 * 1024;
/** A pack is read whole for any file of it. */
const PACK = 1024 * 1024;
const BASES_OF_A_KIND = 3;
const BASES_BYTES = 32 * 1024 * 1024;

export interface FileOfBundle {
  readonly bytes: Uint8Array;
  readonly sha256: string;
  /** Evidence id. */
  readonly kind: string;
}

interface Known {
  readonly kind: string;
  readonly sha256: string;
  readonly base: Base;
}

/**
 * Encodes the files of bundle after bundle on one thread. A large file that resembles an earlier one of its kind becomes a delta of
 * it. `settle` when a bundle's blobs are on their way to the case, `discard` when the bundle failed: only what is or will be stored
 * before may be a base. Bundles have to be stored in the order in which they were encoded.
 */
export class BlobEncoder {
  /** Newest first. */
  #known: Known[] = [];
  #pending: Known[] = [];

  /** The files of one bundle, equal ones once, in the order in which they must be stored; and the packs among them. */
  encodeAll(files: Iterable<FileOfBundle>): { readonly blobs: EncodedBlob[]; readonly packs: string[] } {
    const blobs: EncodedBlob[] = [];
    const packs: string[] = [];
    const seen = new Set<string>();
    let small: FileOfBundle[] = [];
    let room = PACK;
    const flush = () => {
      if (small.length > 1) {
        const encoded = encodePack(small);
        packs.push(encoded[0]?.sha256 ?? '');
        blobs.push(...encoded);
      } else for (const { bytes, sha256 } of small) blobs.push(encodeBlob(bytes, sha256));
      small = [];
      room = PACK;
    };
    for (const file of files) {
      if (seen.has(file.sha256)) continue;
      seen.add(file.sha256);
      if (file.bytes.length >= SMALL) {
        blobs.push(this.encode(file.bytes, file.sha256, file.kind));
        continue;
      }
      if (file.bytes.length > room) flush();
      small.push(file);
      room -= file.bytes.length;
    }
    flush();
    return { blobs, packs };
  }

  encode(bytes: Uint8Array, sha256 = sha256Of(bytes), kind = ''): EncodedBlob {
    if (bytes.length < LARGE || !ALIKE.test(kind)) return encodeBlob(bytes, sha256);
    for (const known of this.#known) {
      if (known.kind !== kind || known.sha256 === sha256 || !resembles(known.base.bytes, bytes)) continue;
      const delta = encodeAgainst(known.base, known.sha256, bytes, sha256);
      if (delta !== null) return delta;
    }
    if (![...this.#known, ...this.#pending].some((k) => k.sha256 === sha256))
      this.#pending.unshift({ kind, sha256, base: new Base(bytes) });
    return encodeBlob(bytes, sha256);
  }

  settle(): void {
    if (this.#pending.length === 0) return;
    let room = BASES_BYTES;
    const ofKind = new Map<string, number>();
    this.#known = [...this.#pending, ...this.#known].filter(({ kind, base }) => {
      const nth = (ofKind.get(kind) ?? 0) + 1;
      if (nth > BASES_OF_A_KIND || base.bytes.length > room) return false;
      ofKind.set(kind, nth);
      room -= base.bytes.length;
      return true;
    });
    this.#pending = [];
  }

  discard(): void {
    this.#pending = [];
  }
}

const NEAR = 64 * 1024;

/** Looks for three lines of a text in another, first about where they stand: an unrelated text must cost little. */
function resembles(base: Buffer, bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let found = 0;
  for (const part of [0.3, 0.55, 0.8]) {
    const start = text.indexOf(10, Math.floor(text.length * part)) + 1;
    const end = text.indexOf(10, start);
    if (end < 0) continue;
    // behind `[packets:bytes] `
    const counters = text[start] === 0x5b ? text.indexOf(0x20, start) + 1 : start;
    const line = text.subarray(Math.min(counters, end), Math.min(end, counters + 120));
    const near = Math.max(0, Math.floor(base.length * part) - NEAR);
    if (base.subarray(near, near + 3 * NEAR).includes(line) || base.includes(line)) found += 1;
    if (found === 2) return true;
  }
  return false;
}
