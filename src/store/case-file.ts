import type { Database } from 'better-sqlite3';
import type { EncodedBlob } from './blob.ts';
import { Blobs } from './blobs.ts';
import { Caches } from './caches.ts';
import { guarded } from './error.ts';
import type { CaseEvent, EventOf, NewEvent, Payload } from './event-types.ts';
import { finishWriting } from './file.ts';
import type { Head } from './log.ts';
import { Log } from './log.ts';
import { Projections } from './projections.ts';
import type { QueryLimits, Row } from './query.ts';
import { queryCase } from './query.ts';
import type { BundleRow } from './rows.ts';
import { Rows } from './rows.ts';
import { verifyCase } from './verify.ts';
import { purgeBundle } from './withdraw.ts';

/** One open case. Not shared between threads; every method is synchronous, and throws CaseError for what is wrong with the file. */
export class CaseFile {
  readonly #db: Database;
  readonly #path: string | null;
  readonly #clock: () => string;
  readonly #log: Log;
  readonly #blobs: Blobs;
  readonly #projections: Projections;
  readonly #rows: Rows;
  readonly #caches: Caches;
  readonly #write: <T>(work: () => T) => T;

  /** Use `openCase`. `path` is null for a copy in memory. */
  constructor(db: Database, path: string | null, clock: () => string) {
    this.#db = db;
    this.#path = path;
    this.#clock = clock;
    this.#log = new Log(db);
    this.#blobs = new Blobs(db);
    this.#projections = new Projections(db, this.#blobs);
    this.#rows = new Rows(db);
    this.#caches = new Caches(db);
    this.#write = db.transaction((work: () => unknown) => work()).immediate as <T>(work: () => T) => T;
  }

  /** One commit for all that `work` does, or nothing of it. May be nested. */
  transaction<T>(work: () => T): T {
    return guarded(() => {
      try {
        return this.#write(work);
      } catch (error) {
        this.#rows.forget();
        this.#projections.forget();
        this.#blobs.forget();
        throw error;
      }
    });
  }

  /** Records an act and brings the projections up to it. A key that is in the log already gives that event. */
  append<T extends NewEvent>(event: T): EventOf<T['type']> {
    return this.transaction(() => {
      const key = event.key.toWellFormed();
      const known = this.#log.byKey(key);
      if (known !== null) return known as EventOf<T['type']>;
      const added = this.#log.add({ ...event, key } as NewEvent, this.#clock());
      if (added.type === 'bundle.withdrawn') purgeBundle(this.#db, added.payload.sha256, this.#blobs, this.#caches);
      this.#projections.apply(added);
      this.#rows.noteEvent(added);
      return added as EventOf<T['type']>;
    });
  }

  appendAll(events: readonly NewEvent[]): CaseEvent[] {
    return this.transaction(() => events.map((event) => this.append(event) as CaseEvent));
  }

  head(): Head {
    return guarded(() => this.#log.head());
  }

  /** Every event from a position on, lifted to the current version of its type. */
  events(from = 1): Generator<CaseEvent> {
    return this.#log.events(from);
  }

  eventByKey(key: string): CaseEvent | null {
    return guarded(() => this.#log.byKey(key.toWellFormed()));
  }

  putBlobs(blobs: readonly EncodedBlob[]): void {
    this.transaction(() => this.#blobs.put(blobs));
  }

  /** Bytes checked against their sha256; null when they are not here. */
  readBlob(sha256: string): Uint8Array | null {
    return guarded(() => this.#blobs.read(sha256));
  }

  hasBlob(sha256: string): boolean {
    return guarded(() => this.#blobs.has(sha256));
  }

  /** Bundles in the order in which they were recorded, without the withdrawn. */
  bundles(): readonly BundleRow[] {
    return guarded(() => this.#rows.bundles());
  }

  /** The bundles as they stood after the first `position` events; those that were withdrawn since are not among them. */
  bundlesAt(position: number): readonly BundleRow[] {
    return guarded(() => this.#rows.bundlesAt(position));
  }

  /** What the bundle's evidence blob holds: `{ records, problems }`. */
  evidenceOf(bundle: string): unknown {
    return guarded(() => {
      const row = this.bundles().find((b) => b.sha256 === bundle);
      return row === undefined ? null : this.#blobs.json(row.evidenceBlob);
    });
  }

  rejected(): Payload<'bundle.rejected'>[] {
    return guarded(() => this.#rows.rejected());
  }

  isWithdrawn(bundle: string): boolean {
    return guarded(() => this.#rows.isWithdrawn(bundle));
  }

  /** Accepted findings by id; what has expired by the clock is not among them. */
  accepted(): Readonly<Record<string, { readonly because: string; readonly until: string | null }>> {
    return guarded(() => this.#rows.accepted(this.#clock()));
  }

  /** The newest analysis whose text is still here; those with a withdrawn bundle's evidence are not. */
  latestAnalysis(): EventOf<'analysis.completed'> | null {
    return guarded(() => {
      const seq = this.#rows.latestAnalysis();
      return seq === null ? null : (this.#log.at(seq) as EventOf<'analysis.completed'>);
    });
  }

  get caches(): Caches {
    return this.#caches;
  }

  putNodeResult(bundle: string, ruleset: string, node: string, json: Uint8Array): void {
    // one statement: a savepoint for it would cost more than the row, and a bundle has one for each rule
    guarded(() => this.#caches.putNodeResult(bundle, ruleset, node, json));
  }

  getNodeResult(bundle: string, ruleset: string, node: string): Uint8Array | null {
    return guarded(() => this.#caches.getNodeResult(bundle, ruleset, node));
  }

  /** Empties the projections and fills them from the log. */
  replay(): void {
    this.transaction(() => this.#projections.rebuild(this.#log));
    this.#rows.forget();
  }

  /** What is wrong with the case, a sentence each: chain, gaps, blobs, projections. Empty when it is whole. */
  verify(): string[] {
    return guarded(() => verifyCase(this.#db));
  }

  /** A compiled query of src/store/listings.ts. */
  run(sql: string, parameters: readonly unknown[]): unknown[] {
    return guarded(() => this.#db.prepare<unknown[]>(sql).all(...parameters));
  }

  /** One read-only SELECT over the documented tables; throws QueryError for anything else, too many rows or too slow. */
  query(sql: string, limits?: QueryLimits): Row[] {
    return guarded(() => queryCase(this.#path ?? this.#db, sql, limits));
  }

  /** Leaves one file behind; it may be called twice. */
  close(): void {
    if (!this.#db.open) return;
    if (this.#path !== null && !this.#db.readonly) finishWriting(this.#db);
    this.#db.close();
  }
}
