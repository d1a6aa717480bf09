import type { Database } from 'better-sqlite3';
import type { Blobs } from './blobs.ts';
import type { CaseEvent } from './event-types.ts';
import type { Log } from './log.ts';
import type { Projection, Target } from './projection.ts';
import { statements, Words } from './projection.ts';
import { actProjection, analysisProjection } from './projection-analyses.ts';
import { bundleProjection } from './projection-bundles.ts';

export const PROJECTIONS: readonly Projection[] = [bundleProjection, analysisProjection, actProjection];

/** Keeps the projected tables in step with the log, inside the append's transaction. */
export class Projections {
  readonly #target: Target;
  readonly #list: readonly Projection[];
  readonly #words: Words;

  constructor(db: Database, blobs: Blobs, list = PROJECTIONS) {
    const sql = statements(db);
    this.#words = new Words(sql);
    this.#target = { sql, json: (sha256) => blobs.json(sha256), word: (text) => this.#words.id(text) };
    this.#list = list;
  }

  apply(event: CaseEvent): void {
    this.#words.refresh();
    for (const p of this.#list) p.apply(event, this.#target);
    this.#target.sql('UPDATE projection SET position = ?').run(event.seq);
  }

  /** False when the tables were made by another version, or from another stretch of the log. */
  areCurrent(position: number): boolean {
    const rows = this.#target.sql('SELECT name, version, position FROM projection').all() as {
      name: string;
      version: number;
      position: number;
    }[];
    const current = (p: Projection) =>
      rows.some((r) => r.name === p.name && r.version === p.version && r.position === position);
    return rows.length === this.#list.length && this.#list.every(current);
  }

  /** The tables know of events that the log does not have: its end was cut off. */
  areAhead(position: number): boolean {
    return this.#target.sql('SELECT 1 FROM projection WHERE position > ?').get(position) !== undefined;
  }

  /** Empties every projected table and fills it from the log. */
  rebuild(log: Log): void {
    this.reset();
    for (const event of log.events()) this.apply(event);
  }

  /** A transaction was rolled back. */
  forget(): void {
    this.#words.forget();
  }

  reset(): void {
    this.#words.forget();
    const { sql } = this.#target;
    sql('DELETE FROM projection').run();
    for (const p of this.#list) {
      for (const table of p.tables) sql(`DELETE FROM ${table}`).run();
      sql('INSERT INTO projection VALUES (?, ?, 0)').run(p.name, p.version);
    }
  }
}
