import type { Database } from 'better-sqlite3';
import type { BlobCodec, EncodedBlob } from './blob.ts';
import { decodeBlob, encodeBlob, expand } from './blob.ts';
import { CaseError } from './error.ts';
import { statements } from './projection.ts';

interface BlobRow {
  readonly codec: BlobCodec;
  readonly size: number;
  readonly base: Uint8Array | null;
  readonly bytes: Uint8Array;
}

/** A delta of a delta comes about when a base was stored before; a chain longer than this is somebody's joke. */
const DEEPEST = 32;

/** Bytes of bases that are kept. */
const BASES_LENGTH = 32 * 1024 * 1024;

const key = (sha256: string) => Buffer.from(sha256, 'hex');
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Bytes by their sha256, beside the log; stored once, deletable. */
export class Blobs {
  readonly #sql: ReturnType<typeof statements>;
  /** Bases that were read last, the newest at the end: the files of a few nodes are read by turns. */
  readonly #bases = new Map<string, Uint8Array>();
  #basesLength = 0;
  /** JSON that was put last, until it is read. */
  #text: { readonly sha256: string; readonly text: string } | null = null;

  constructor(db: Database) {
    this.#sql = statements(db);
  }

  put(blobs: readonly EncodedBlob[]): void {
    const insert = this.#sql('INSERT OR IGNORE INTO blob VALUES (?, ?, ?, ?, ?)');
    let based = '';
    let basedKey: Buffer | null = null;
    for (const { sha256, codec, size, bytes, base, text } of blobs) {
      if (text !== undefined) this.#text = { sha256, text };
      const of = base == null ? null : base;
      // slices of one pack follow each other
      if (of !== null && of !== based && !this.has(of) && !this.has(sha256))
        throw new Error(
          `the base of blob ${sha256} is not in the case: store bundles in the order in which they were encoded`,
        );
      if (of !== null && of !== based) [based, basedKey] = [of, key(of)];
      insert.run(key(sha256), codec, size, of === null ? null : basedKey, bytes);
    }
  }

  has(sha256: string): boolean {
    return this.#sql('SELECT 1 FROM blob WHERE sha256 = ?').get(key(sha256)) !== undefined;
  }

  /** The plain bytes, checked against their sha256; null when they are not (or no longer) here. */
  read(sha256: string): Uint8Array | null {
    return this.#read(sha256, 0);
  }

  #read(sha256: string, depth: number): Uint8Array | null {
    const row = this.#sql('SELECT codec, size, base, bytes FROM blob WHERE sha256 = ?').get(key(sha256)) as
      | BlobRow
      | undefined;
    if (row === undefined) return null;
    try {
      const base = row.base === null ? null : hex(row.base);
      return decodeBlob({ ...row, sha256, base }, (of, expanded) => this.#readBase(of, expanded, depth + 1));
    } catch (error) {
      throw new CaseError('damaged', `blob ${sha256.slice(0, 12)} is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #readBase(sha256: string, expanded: boolean, depth: number): Uint8Array {
    const name = expanded ? `${sha256} expanded` : sha256;
    const known = this.#bases.get(name);
    if (known !== undefined) {
      this.#bases.delete(name);
      this.#bases.set(name, known);
      return known;
    }
    if (depth > DEEPEST) throw new Error('its base is a delta of a delta without end');
    const stored = this.#read(sha256, depth);
    if (stored === null) throw new Error('its base is not here');
    const bytes = expanded ? expand(stored) : stored;
    this.#bases.set(name, bytes);
    this.#basesLength += bytes.length;
    for (const [oldest, { length }] of this.#bases) {
      if (this.#basesLength <= BASES_LENGTH || oldest === name) break;
      this.#bases.delete(oldest);
      this.#basesLength -= length;
    }
    return bytes;
  }

  /** After a rollback, and when blobs were deleted. */
  forget(): void {
    this.#text = null;
    this.#bases.clear();
    this.#basesLength = 0;
  }

  json(sha256: string): unknown {
    const put = this.#text;
    this.#text = null;
    if (put?.sha256 === sha256) return JSON.parse(put.text);
    const bytes = this.read(sha256);
    if (bytes === null) return null;
    try {
      return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
    } catch (error) {
      throw new CaseError('damaged', `blob ${sha256.slice(0, 12)} is not JSON`, { cause: error });
    }
  }

  /** Deletes all blobs but these. What was a delta or slice of one that goes is stored whole first. */
  keepOnly(kept: ReadonlySet<string>): void {
    const deltas = this.#sql('SELECT sha256, base FROM blob WHERE base IS NOT NULL ORDER BY base').all() as Record<
      string,
      Uint8Array
    >[];
    for (const row of deltas) {
      const [sha256, base] = [hex(row['sha256'] as Uint8Array), hex(row['base'] as Uint8Array)];
      if (!kept.has(sha256) || kept.has(base)) continue;
      const whole = encodeBlob(this.read(sha256) as Uint8Array, sha256);
      this.#sql('UPDATE blob SET codec = ?, base = NULL, bytes = ? WHERE sha256 = ?').run(
        whole.codec,
        whole.bytes,
        key(sha256),
      );
    }
    this.forget();
    for (const sha256 of this.all())
      if (!kept.has(sha256)) this.#sql('DELETE FROM blob WHERE sha256 = ?').run(key(sha256));
  }

  /** Those of one base together, so that it is read once. */
  all(): string[] {
    return this.#sql('SELECT lower(hex(sha256)) FROM blob ORDER BY base, sha256').pluck().all() as string[];
  }
}
