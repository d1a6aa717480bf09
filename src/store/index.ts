import Database from 'better-sqlite3';
import { Blobs } from './blobs.ts';
import { CaseFile } from './case-file.ts';
import { CaseError, guarded } from './error.ts';
import type { Mode } from './file.ts';
import { createSchema, openFile } from './file.ts';
import { Log } from './log.ts';
import { Projections } from './projections.ts';

export type { EncodedBlob } from './blob.ts';
export { decodeBlob, encodeBlob } from './blob.ts';
export type { CaseFile } from './case-file.ts';
export { BlobEncoder } from './encoder.ts';
export { CaseError } from './error.ts';
export { EVENT_TYPES, type NewEvent } from './event-types.ts';
export { QueryError } from './query.ts';
export type { BundleRow } from './rows.ts';

export interface OpenOptions {
  /** `create` makes the file when it is not there, and opens it to write when it is. */
  readonly mode: Mode;
  /** ISO time of now, for `recordedAt` and for what expires. */
  readonly clock: () => string;
  /** Another thread of this process has just checked its pages: a large case takes as long for that as for a trace. */
  readonly checked?: boolean;
}

/** Opens a case file; see CaseError for what can be wrong with it. */
export function openCase(path: string, { mode, clock, checked = false }: OpenOptions): CaseFile {
  return guarded(() => {
    const db = openFile(path, { mode, checked }, (fresh) => start(fresh, path, clock));
    try {
      const log = new Log(db);
      log.refuseNewer();
      const projections = new Projections(db, new Blobs(db));
      // of one moment: another process may append between two reads
      const { position, ahead, current } = db.transaction(() => {
        const { position } = log.head();
        return { position, ahead: projections.areAhead(position), current: projections.areCurrent(position) };
      })();
      if (ahead)
        throw new CaseError(
          'damaged',
          `the log ends at event ${position}, but the case knew later ones: its end was cut off`,
        );
      if (!current) {
        if (mode === 'read') return rebuiltInMemory(db, clock);
        db.transaction(() => projections.rebuild(log)).immediate();
      }
      return new CaseFile(db, path, clock);
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** The schema and the first event are one commit: a file is a case from the moment it holds anything. */
function start(db: Database.Database, path: string, clock: () => string): void {
  db.transaction(() => {
    if (!createSchema(db)) return;
    new Projections(db, new Blobs(db)).rebuild(new Log(db));
    new CaseFile(db, path, clock).append({ type: 'case.opened', key: 'case', payload: { format: 1 } });
  }).immediate();
}

/** Projections of another netcase cannot be rebuilt in a file that is only read: do it in a copy. */
function rebuiltInMemory(db: Database.Database, clock: () => string): CaseFile {
  const copy = new Database(db.serialize());
  db.close();
  const log = new Log(copy);
  copy.transaction(() => new Projections(copy, new Blobs(copy)).rebuild(log))();
  return new CaseFile(copy, null, clock);
}
