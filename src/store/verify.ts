import type { Database } from 'better-sqlite3';
import type { Blobs } from './blobs.ts';
import type { Log } from './log.ts';
export function verifyCase(_db: Database, _log: Log, _blobs: Blobs): string[] {
  return [];
}
