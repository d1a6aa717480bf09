import type { Database } from 'better-sqlite3';
import type { BlobCodec, EncodedBlob } from './blob.ts';
import { decodeBlob } from './blob.ts';
import { CaseError } from './error.ts';
import { statements } from './projection.ts';

/** Bytes by their sha256, beside the log; stored once, deletable. */
export class Blobs {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: Database) {
    this.#sql = statements(db);
  }

  put(blobs: readonly EncodedBlob[]): void {
    const insert = this.#sql('INSERT OR IGNORE INTO blob VALUES (?, ?, ?, ?)');
    for (const b of blobs) insert.run(Buffer.from(b.sha256, 'hex'), b.codec, b.size, b.bytes);
  }

  has(sha256: string): boolean {
    return this.#sql('SELECT 1 FROM blob WHERE sha256 = ?').get(Buffer.from(sha256, 'hex')) !== undefined;
  }

  /** The plain bytes, checked against their sha256; null when they are not (or no longer) here. */
  read(sha256: string): Uint8Array | null {
    const row = this.#sql('SELECT codec, size, bytes FROM blob WHERE sha256 = ?').get(Buffer.from(sha256, 'hex')) as
      | { codec: BlobCodec; size: number; bytes: Uint8Array }
      | undefined;
    if (row === undefined) return null;
    try {
      return decodeBlob({ sha256, ...row });
    } catch (error) {
      throw new CaseError('damaged', `blob ${sha256.slice(0, 12)} is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
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

  remove(sha256: string): void {
    this.#sql('DELETE FROM blob WHERE sha256 = ?').run(Buffer.from(sha256, 'hex'));
  }

  all(): string[] {
    return this.#sql('SELECT lower(hex(sha256)) FROM blob ORDER BY sha256').pluck().all() as string[];
  }
}
