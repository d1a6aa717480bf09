import type { Database, Statement } from 'better-sqlite3';
import { kept } from '../core/kept.ts';
import type { CaseEvent } from './event-types.ts';

/** Tables computed from events. Another `version` than the file's means: reset and replay. */
export interface Projection {
  readonly name: string;
  readonly version: number;
  readonly tables: readonly string[];
  apply(event: CaseEvent, to: Target): void;
}

/** What a projection writes to and reads from. */
export interface Target {
  /** Prepared once a connection. */
  sql(text: string): Statement<unknown[]>;
  /** A blob as parsed JSON; null when it was purged. */
  json(sha256: string): unknown;
  /** Id of a text in table `word`, put there when it is new. */
  word(text: string): number;
}

/** Texts of table `word` that were asked for: the same few hundred come with every bundle. */
export class Words {
  readonly #sql: ReturnType<typeof statements>;
  readonly #ids = new Map<string, number>();
  #dataVersion = 0;

  constructor(sql: ReturnType<typeof statements>) {
    this.#sql = sql;
  }

  id(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    if (this.#ids.size >= MOST_WORDS) this.#ids.clear();
    const stored = this.#sql('SELECT id FROM word WHERE text = ?').pluck().get(text) as number | undefined;
    const id = stored ?? Number(this.#sql('INSERT INTO word(text) VALUES (?)').run(text).lastInsertRowid);
    this.#ids.set(text, id);
    return id;
  }

  /** Ids are dropped when another connection has written: it may have replayed. */
  refresh(): void {
    const now = this.#sql('PRAGMA data_version').pluck().get() as number;
    if (now !== this.#dataVersion) this.forget();
    this.#dataVersion = now;
  }

  /** After a rollback, and when the table was emptied. */
  forget(): void {
    this.#ids.clear();
  }
}

/** A hostile bundle can bring a new path with every record. */
const MOST_WORDS = 50_000;

/** Prepared statements by their text. */
export const statements = (db: Database): ((text: string) => Statement<unknown[]>) =>
  kept((text) => db.prepare<unknown[]>(text));

type Json = Record<string, unknown>;
const isObject = (v: unknown): v is Json => typeof v === 'object' && v !== null && !Array.isArray(v);

/** Members of a blob that anybody may have written: what is not of its type is not there. */
export const objects = (v: unknown): Json[] => (Array.isArray(v) ? v.filter(isObject) : []);
export const object = (v: unknown): Json => (isObject(v) ? v : {});
export const textOr = <T>(v: unknown, otherwise: T): string | T => (typeof v === 'string' ? v : otherwise);
export const numberOr = <T>(v: unknown, otherwise: T): number | T =>
  Number.isSafeInteger(v) ? (v as number) : otherwise;
