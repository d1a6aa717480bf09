import type { EncodedBlob } from './blob.ts';
import { encodeAgainst, encodeBlob, encodeMember, encodePack, sha256Of } from './blob.ts';
import { Base } from './delta.ts';

/** Evidence that is nearly the same on every node of a cluster. */
const ALIKE = /^(fw|k8s)\./;
/** What a packet's path is read from: the whole archive is not to be expanded for it. */
const OPENED = /^(fw|k8s|ip|bridge)\./;
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

/** The .gz that a bundle came as, and what it expands to. */
export interface Archive {
  readonly sha256: string;
  readonly gz: Uint8Array;
  readonly plain: Uint8Array;
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

  /**
   * The files of one bundle, equal ones once, in the order in which they must be stored; and the blobs among them that hold several
   * files. Logs are most of a bundle and alike on no two nodes: they stay in the archive that they came in.
   */
  encodeAll(
    files: readonly FileOfBundle[],
    archive: Archive | null = null,
  ): { readonly blobs: EncodedBlob[]; readonly packs: string[] } {
    const blobs: EncodedBlob[] = [];
    const packs: string[] = [];
    const inArchive = archive === null ? new Map<string, number>() : placesIn(archive, files);
    if (archive !== null && inArchive.size > 0) {
      // a copy of its own: it goes to another thread
      blobs.push({ sha256: archive.sha256, codec: 'raw', size: archive.gz.length, bytes: new Uint8Array(archive.gz) });
      packs.push(archive.sha256);
    }
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
      const at = inArchive.get(file.sha256);
      if (at !== undefined) {
        blobs.push(encodeMember(file.sha256, file.bytes.length, at, packs[0] ?? ''));
        continue;
      }
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

/** Files that had to be compressed again are worth keeping the archive for when they are this many times its size. */
const WORTH_THE_ARCHIVE = 2;

/** Where large files without a likeness stand in the expanded archive; none when they are too little of it. */
function placesIn({ gz, plain }: Archive, files: readonly FileOfBundle[]): Map<string, number> {
  const places = new Map<string, number>();
  let length = 0;
  for (const { bytes, sha256, kind } of files) {
    const at = bytes.byteOffset - plain.byteOffset;
    if (bytes.length < LARGE || OPENED.test(kind) || bytes.buffer !== plain.buffer || at < 0) continue;
    places.set(sha256, at);
    length += bytes.length;
  }
  return length >= WORTH_THE_ARCHIVE * gz.length ? places : new Map();
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
