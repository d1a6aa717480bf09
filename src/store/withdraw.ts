import type { Database } from 'better-sqlite3';
export function purgeBundle(_db: Database, _sha: string, _c: unknown): void {}
