import Database from 'better-sqlite3';
export type Row = Record<string, unknown>;
/** A query that cannot be answered; the message says why. */
export class QueryError extends Error {}
export function queryCase(target: string | Database.Database, sql: string, _limits?: unknown): Row[] {
  const db = typeof target === 'string' ? new Database(target, { readonly: true }) : target;
  const s = db.prepare(sql);
  if (!s.readonly || !s.reader) throw new QueryError('only one SELECT statement');
  return s.all() as Row[];
}
