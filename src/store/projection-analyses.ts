import type { EventOf } from './event-types.ts';
import type { Projection, Target } from './projection.ts';
import { numberOr, object, objects, textOr } from './projection.ts';

/** What each analysis found; the verdicts of every rule on every node only of the newest. */
export const analysisProjection: Projection = {
  name: 'analyses',
  version: 1,
  tables: ['analysis', 'finding', 'cite', 'verdict'],
  apply(event, to) {
    if (event.type === 'analysis.completed') completed(event, to);
    else if (event.type === 'bundle.withdrawn') withdrawn(event.payload.sha256, to);
  },
};

/** Acceptances, reports and notes. */
export const actProjection: Projection = {
  name: 'acts',
  version: 1,
  tables: ['accepted', 'report', 'note'],
  apply(event, to) {
    if (event.type === 'finding.accepted') {
      const { finding, because, until } = event.payload;
      to.sql('INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?, ?)').run(
        finding,
        because,
        until,
        event.recordedAt,
        event.seq,
      );
    } else if (event.type === 'report.rendered') {
      const { format, sha256, position } = event.payload;
      to.sql('INSERT INTO report VALUES (?, ?, ?, ?, ?)').run(event.seq, event.recordedAt, format, sha256, position);
    } else if (event.type === 'note.added') {
      to.sql('INSERT INTO note VALUES (?, ?, ?)').run(event.seq, event.recordedAt, event.payload.text);
    }
  },
};

function completed({ seq, recordedAt, payload: p }: EventOf<'analysis.completed'>, to: Target): void {
  const { severity, sentence } = p.verdict;
  to.sql('INSERT INTO analysis VALUES (?, ?, ?, ?, ?, ?, ?, ?)').run(
    seq,
    recordedAt,
    p.ruleset,
    p.tool,
    p.position,
    severity,
    sentence,
    p.analysisBlob,
  );
  to.sql('DELETE FROM verdict').run();
  const analysis = object(to.json(p.analysisBlob));
  let cites = 0;
  for (const [n, f] of objects(analysis['findings']).entries()) {
    const id = textOr(f['id'], '');
    const nodes = Array.isArray(f['nodes']) ? f['nodes'].filter((v) => typeof v === 'string') : [];
    to.sql('INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
      seq,
      n,
      id,
      textOr(f['rule'], ''),
      textOr(f['key'], ''),
      textOr(f['severity'], ''),
      textOr(f['confidence'], ''),
      nodes.join(' '),
      textOr(f['message'], ''),
    );
    for (const c of objects(f['cites'])) {
      to.sql('INSERT INTO cite VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
        seq,
        cites,
        id,
        textOr(c['node'], ''),
        textOr(c['evidence'], ''),
        textOr(c['path'], ''),
        numberOr(c['line'], null),
        numberOr(c['endLine'], null),
        textOr(c['absent'], null),
        textOr(object(c['excerpt'])['text'], textOr(c['text'], null)),
      );
      cites += 1;
    }
  }
  const insert = to.sql('INSERT OR IGNORE INTO verdict VALUES (?, ?, ?, ?)');
  for (const [rule, row] of Object.entries(object(analysis['matrix'])))
    for (const [node, kind] of Object.entries(object(row))) insert.run(seq, rule, node, textOr(kind, ''));
}

/** Excerpts in an analysis are evidence too: what a withdrawn bundle took part in goes with it. */
function withdrawn(bundle: string, to: Target): void {
  const seqs = to.sql('SELECT seq FROM analysis').pluck().all() as number[];
  for (const seq of seqs) {
    const blob = to.sql('SELECT blob FROM analysis WHERE seq = ?').pluck().get(seq) as string;
    const analysis = to.json(blob);
    if (analysis !== null && !usesBundle(analysis, bundle)) continue;
    for (const table of ['finding', 'cite', 'verdict']) to.sql(`DELETE FROM ${table} WHERE analysis_seq = ?`).run(seq);
  }
}

/** True when an analysis was made with a bundle. */
export function usesBundle(analysis: unknown, bundle: string): boolean {
  return objects(object(analysis)['bundles']).some((b) => b['sha256'] === bundle);
}
