import type { Database, Statement } from 'better-sqlite3';
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
}

/** Prepared statements by their text. */
export function statements(db: Database): (text: string) => Statement<unknown[]> {
  const known = new Map<string, Statement<unknown[]>>();
  return (text) => {
    let statement = known.get(text);
    if (statement === undefined) {
      statement = db.prepare<unknown[]>(text);
      known.set(text, statement);
    }
    return statement;
  };
}

type Json = Record<string, unknown>;
const isObject = (v: unknown): v is Json => typeof v === 'object' && v !== null && !Array.isArray(v);

/** Members of a blob that anybody may have written: what is not of its type is not there. */
export const objects = (v: unknown): Json[] => (Array.isArray(v) ? v.filter(isObject) : []);
export const object = (v: unknown): Json => (isObject(v) ? v : {});
export const textOr = <T>(v: unknown, otherwise: T): string | T => (typeof v === 'string' ? v : otherwise);
export const numberOr = <T>(v: unknown, otherwise: T): number | T =>
  Number.isSafeInteger(v) ? (v as number) : otherwise;
