import { createHash } from 'node:crypto';

/** What the first event's `prev_hash` holds. */
export const GENESIS = '0'.repeat(64);

export interface ChainedFields {
  readonly seq: number;
  readonly type: string;
  readonly version: number;
  readonly key: string;
  readonly recordedAt: string;
  /** Canonical JSON as stored. */
  readonly payload: string;
}

/** sha256 over length-prefixed fields, so that no two different events have the same input bytes. */
export function eventHash(prev: string, event: ChainedFields): string {
  const hash = createHash('sha256');
  const { seq, type, version, key, recordedAt, payload } = event;
  for (const field of ['netcase-event', prev, String(seq), type, String(version), key, recordedAt, payload])
    hash.update(`${Buffer.byteLength(field)}:${field}`);
  return hash.digest('hex');
}
