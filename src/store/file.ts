import { closeSync, constants, existsSync, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import Database from 'better-sqlite3';
import { CaseError, damaged, guarded } from './error.ts';
import { APPLICATION_ID, DDL, EXPECTED_SCHEMA, FORMAT } from './schema.ts';

export type Mode = 'write' | 'read' | 'create';

/** SQLite before 3.51.3 could lose committed pages when a WAL is reset under two connections. */
const OLDEST_SQLITE = [3, 51, 3] as const;

/** Milliseconds to wait for another writer; its transactions are short. */
const PATIENCE = 5_000;

/**
 * Opens the file without trusting it: not a link, our header, exactly our schema, sound pages (unless those were `checked` just now).
 * `fill` makes a case out of an empty file, in one commit.
 */
export function openFile(
  path: string,
  { mode, checked }: { readonly mode: Mode; readonly checked: boolean },
  fill: (db: Database.Database) => void,
): Database.Database {
  return guarded(() => {
    const state = inspect(path, mode);
    const db = new Database(path, { readonly: mode === 'read', fileMustExist: true, timeout: PATIENCE });
    try {
      harden(db);
      if (state === 'empty' && isEmpty(db)) {
        if (mode !== 'create') throw notACase(path);
        // nothing is acknowledged yet; what follows puts it on the disk
        db.pragma('synchronous = OFF');
        fill(db);
      }
      if (mode !== 'read') startWriting(db);
      checkIdentity(db, path);
      if (!checked) checkPages(db, path);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }, basename(path));
}

/** Puts the schema into an empty file, in the caller's transaction; false when another process was first. */
export function createSchema(db: Database.Database): boolean {
  if (!isEmpty(db)) return false;
  for (const sql of DDL) db.exec(sql);
  db.pragma(`application_id = ${APPLICATION_ID}`);
  db.pragma(`user_version = ${FORMAT}`);
  return true;
}

/** A commit is on the disk before it is acknowledged. */
function startWriting(db: Database.Database): void {
  db.pragma('synchronous = FULL');
  db.pragma('journal_mode = WAL');
  // pages (64 MiB): a case that is being filled is copied out of the WAL at its end, not in the middle of each commit
  db.pragma('wal_autocheckpoint = 16384');
}

/** Leaves one file: nothing in -wal, and readable from a read-only folder. Another open connection keeps the WAL for itself. */
export function finishWriting(db: Database.Database): void {
  db.pragma('busy_timeout = 0');
  try {
    db.pragma('wal_checkpoint(TRUNCATE)');
    db.pragma('journal_mode = DELETE');
  } catch {
    // whoever closes last does it
  }
}

function inspect(path: string, mode: Mode): 'empty' | 'filled' {
  if (path === '' || path === ':memory:') throw new CaseError('not-a-case', 'a case is a file; give its path');
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSymbolicLink())
    throw new CaseError('not-a-case', `${basename(path)} is a symbolic link; give the path of the case file itself`);
  if (found !== undefined && !found.isFile()) throw notAFile(path);
  const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  const fd = openSync(path, (mode === 'create' ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw notAFile(path);
    if (stat.size === 0) return 'empty';
    // a writer that was killed while it made the file: SQLite rolls that back first
    if (existsSync(`${path}-journal`)) return 'empty';
    const head = Buffer.alloc(100);
    readSync(fd, head, 0, 100, 0);
    if (head.toString('latin1', 0, 16) !== 'SQLite format 3\0' || head.readUInt32BE(68) !== APPLICATION_ID)
      throw notACase(path);
    return 'filled';
  } finally {
    closeSync(fd);
  }
}

function harden(db: Database.Database): void {
  const version = String(db.prepare('SELECT sqlite_version()').pluck().get()).split('.').map(Number);
  for (const [i, least] of OLDEST_SQLITE.entries()) {
    const part = version[i] ?? 0;
    if (part > least) break;
    if (part < least) throw new Error(`SQLite ${version.join('.')} can lose data; 3.51.3 or newer is needed`);
  }
  db.pragma('trusted_schema = OFF');
  db.pragma('cell_size_check = ON');
  db.pragma('mmap_size = 0');
  db.pragma('temp_store = MEMORY');
}

function isEmpty(db: Database.Database): boolean {
  return db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() === 0;
}

function checkIdentity(db: Database.Database, path: string): void {
  if (db.pragma('application_id', { simple: true }) !== APPLICATION_ID) throw notACase(path);
  const format = Number(db.pragma('user_version', { simple: true }));
  if (format > FORMAT)
    throw new CaseError(
      'newer',
      `${basename(path)} has case format ${format} and this netcase knows ${FORMAT}: upgrade netcase`,
    );
  const rows = db
    .prepare("SELECT type, name, sql FROM sqlite_schema WHERE NOT (type = 'index' AND sql IS NULL)")
    .all() as {
    type: string;
    name: string;
    sql: string | null;
  }[];
  const found = rows.map((r) => `${r.type} ${r.name} ${r.sql}`).sort();
  if (found.length !== EXPECTED_SCHEMA.length || found.some((line, i) => line !== EXPECTED_SCHEMA[i])) {
    const odd = rows.find((r) => !EXPECTED_SCHEMA.includes(`${r.type} ${r.name} ${r.sql}`));
    throw new CaseError(
      'damaged',
      `${basename(path)} does not have the tables of a case${odd === undefined ? '' : ` (unexpected ${odd.type})`}; it was changed by another program`,
    );
  }
}

function checkPages(db: Database.Database, path: string): void {
  const [first] = db.pragma('quick_check(1)') as { quick_check: string }[];
  if (first?.quick_check !== 'ok')
    throw new CaseError('damaged', damaged(basename(path), first?.quick_check ?? 'no answer'));
}

function notAFile(path: string): CaseError {
  return new CaseError('not-a-case', `${basename(path)} is not a regular file; give the right --case`);
}

function notACase(path: string): CaseError {
  return new CaseError('not-a-case', `${basename(path)} is not a netcase case file; give the right --case`);
}
