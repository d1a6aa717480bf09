import type { Database } from 'better-sqlite3';
import type { BlobCodec, EncodedBlob } from './blob.ts';
import { decodeBlob, encodeBlob } from './blob.ts';
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

const key = (sha256: string) => Buffer.from(sha256, 'hex');
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Bytes by their sha256, beside the log; stored once, deletable. */
export class Blobs {
  readonly #sql: ReturnType<typeof statements>;
  /** The base that was read last: deltas of one base are read one after the other. */
  #base: { readonly sha256: string; readonly bytes: Uint8Array } | null = null;

  constructor(db: Database) {
    this.#sql = statements(db);
  }

  put(blobs: readonly EncodedBlob[]): void {
    const insert = this.#sql('INSERT OR IGNORE INTO blob VALUES (?, ?, ?, ?, ?)');
    let based = '';
    for (const { sha256, codec, size, bytes, base } of blobs) {
      const of = codec === 'delta' || codec === 'slice' ? (base ?? '') : null;
      // slices of one pack follow each other
      if (of !== null && of !== based && !this.has(of) && !this.has(sha256))
        throw new Error(
          `the base of blob ${sha256} is not in the case: store bundles in the order in which they were encoded`,
        );
      based = of ?? based;
      insert.run(key(sha256), codec, size, of === null ? null : key(of), bytes);
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
      return decodeBlob({ ...row, sha256, base }, (of) => this.#readBase(of, depth + 1));
    } catch (error) {
      throw new CaseError('damaged', `blob ${sha256.slice(0, 12)} is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #readBase(sha256: string, depth: number): Uint8Array {
    if (this.#base?.sha256 === sha256) return this.#base.bytes;
    if (depth > DEEPEST) throw new Error('its base is a delta of a delta without end');
    const bytes = this.#read(sha256, depth);
    if (bytes === null) throw new Error('its base is not here');
    this.#base = { sha256, bytes };
    return bytes;
  }

  json(sha256: string): unknown {
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
    this.#base = null;
    for (const sha256 of this.all())
      if (!kept.has(sha256)) this.#sql('DELETE FROM blob WHERE sha256 = ?').run(key(sha256));
  }

  /** Those of one base together, so that it is read once. */
  all(): string[] {
    return this.#sql('SELECT lower(hex(sha256)) FROM blob ORDER BY base, sha256').pluck().all() as string[];
  }
}
