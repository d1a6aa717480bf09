import type { Database } from 'better-sqlite3';
import type { Blobs } from './blobs.ts';
import type { Caches } from './caches.ts';
import { object } from './projection.ts';
import { usesBundle } from './projection-analyses.ts';

/**
 * Takes a withdrawn bundle's bytes out of the file: its blobs that no other bundle has, the analyses that quote it, and what was
 * cached of it. Runs before the projections forget the bundle, in the append's transaction. Events stay.
 */
export function purgeBundle(db: Database, bundle: string, blobs: Blobs, caches: Caches): void {
  // freed pages are overwritten, not only unlinked
  db.pragma('secure_delete = ON');
  caches.forget(bundle);
  const kept = new Set<string>();
  const collect = (sql: string, ...values: unknown[]) => {
    for (const sha256 of db
      .prepare(sql)
      .pluck()
      .all(...values) as string[])
      kept.add(sha256);
  };
  collect('SELECT evidence_blob FROM bundle WHERE sha256 <> ?', bundle);
  for (const list of [...kept]) {
    const { packs } = object(blobs.json(list));
    if (Array.isArray(packs)) for (const pack of packs) if (typeof pack === 'string') kept.add(pack);
  }
  collect(
    `SELECT DISTINCT lower(hex(blob)) FROM evidence_row
     WHERE blob IS NOT NULL AND bundle IS NOT (SELECT seq FROM bundle WHERE sha256 = ?)`,
    bundle,
  );
  for (const sha256 of db.prepare('SELECT blob FROM analysis').pluck().all() as string[])
    if (!usesBundle(blobs.json(sha256), bundle)) kept.add(sha256);
  // whatever is left is of this bundle, or of no record that could ever be read
  blobs.keepOnly(kept);
}
