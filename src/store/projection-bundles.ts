import type { EventOf } from './event-types.ts';
import type { Projection, Target } from './projection.ts';
import { numberOr, object, objects, textOr } from './projection.ts';

/** Bundles, their nodes and what each collected. */
export const bundleProjection: Projection = {
  name: 'bundles',
  version: 2,
  tables: ['bundle', 'node', 'word', 'evidence_row', 'problem', 'rejected', 'withdrawn'],
  apply(event, to) {
    if (event.type === 'bundle.ingested') ingested(event, to);
    else if (event.type === 'bundle.withdrawn') withdrawn(event, to);
    else if (event.type === 'bundle.rejected') {
      const { source, sha256, code, message } = event.payload;
      to.sql('INSERT INTO rejected VALUES (?, ?, ?, ?, ?)').run(event.seq, source, sha256, code, message);
    }
  },
};

function ingested({ seq, recordedAt, payload: p }: EventOf<'bundle.ingested'>, to: Target): void {
  // two keys for one bundle: the first stands
  if (to.sql('SELECT 1 FROM bundle WHERE sha256 = ?').get(p.sha256) !== undefined) return;
  to.sql('INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)').run(
    seq,
    p.sha256,
    p.node,
    p.identity.hostname,
    p.identity.machineIdSha256,
    p.identity.bootId,
    p.collectedAt,
    recordedAt,
    p.source,
    p.format,
    p.size,
    p.complete ? 1 : 0,
    p.collector?.version ?? null,
    JSON.stringify(p.context),
    p.evidenceBlob,
  );
  summarise(p.node, to);
  const index = object(to.json(p.evidenceBlob));
  const insert = to.sql('INSERT INTO evidence_row VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  let n = 0;
  for (const r of objects(index['records'])) {
    const sha = textOr(r['sha256'], '');
    insert.run(
      seq,
      n,
      word(textOr(r['id'], ''), to),
      word(textOr(r['path'], ''), to),
      word(textOr(r['instance'], null), to),
      word(textOr(r['status'], 'unknown'), to),
      numberOr(r['rc'], null),
      word(textOr(r['reason'], null), to),
      /^[0-9a-f]{64}$/.test(sha) ? Buffer.from(sha, 'hex') : null,
      numberOr(r['bytes'], null),
    );
    n += 1;
  }
  for (const q of objects(index['problems'])) {
    to.sql('INSERT INTO problem VALUES (?, ?, ?, ?, ?)').run(
      p.sha256,
      textOr(q['code'], ''),
      textOr(q['severity'], ''),
      textOr(q['message'], ''),
      textOr(q['path'], null),
    );
  }
}

const word = (text: string | null, to: Target) => (text === null ? null : to.word(text));

function withdrawn({ seq, payload: p }: EventOf<'bundle.withdrawn'>, to: Target): void {
  to.sql('INSERT INTO withdrawn VALUES (?, ?, ?)').run(seq, p.sha256, p.because);
  const row = to.sql('SELECT seq, node FROM bundle WHERE sha256 = ?').get(p.sha256) as
    | { seq: number; node: string }
    | undefined;
  if (row === undefined) return;
  to.sql('DELETE FROM evidence_row WHERE bundle = ?').run(row.seq);
  to.sql('DELETE FROM problem WHERE bundle = ?').run(p.sha256);
  to.sql('DELETE FROM bundle WHERE seq = ?').run(row.seq);
  summarise(row.node, to);
}

/**
 * The newest snapshot by the node's clock stands for the node; without a clock or on a tie the order must still not depend on arrival.
 * Loose files have no clock, and come a second time under one name only when they grew or the analyst says so: the last one stands.
 */
export const NEWEST_FIRST = `collected_at IS NULL, collected_at DESC, CASE format WHEN 'loose-files' THEN seq END DESC, sha256 DESC`;

function summarise(node: string, to: Target): void {
  to.sql(
    `UPDATE bundle SET current = (seq = (SELECT seq FROM bundle WHERE node = ? ORDER BY ${NEWEST_FIRST} LIMIT 1)) WHERE node = ?`,
  ).run(node, node);
  to.sql('DELETE FROM node WHERE id = ?').run(node);
  to.sql('INSERT INTO node SELECT node, count(*), max(collected_at) FROM bundle WHERE node = ? GROUP BY node').run(
    node,
  );
}
