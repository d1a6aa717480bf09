import Database from 'better-sqlite3';
import { Blobs } from './blobs.ts';
import { canonicalJson } from './canonical.ts';
import { eventHash, GENESIS } from './chain.ts';
import type { CaseEvent } from './event-types.ts';
import { liftPayload } from './event-types.ts';
import { Log } from './log.ts';
import { Projections } from './projections.ts';
import { DDL } from './schema.ts';

/** The projected tables as everybody may read them, in an order of their own; `word` and `evidence_row` are how `evidence` is kept. */
const COMPARED: Readonly<Record<string, string>> = {
  projection: 'SELECT * FROM projection ORDER BY name',
  bundle: 'SELECT * FROM bundle ORDER BY seq',
  node: 'SELECT * FROM node ORDER BY id',
  evidence: `SELECT e.bundle AS seq, e.n AS n, i.text AS id, p.text AS path, x.text AS instance, s.text AS status, e.rc AS rc,
      r.text AS reason, lower(hex(e.blob)) AS blob, e.bytes AS bytes
    FROM evidence_row e LEFT JOIN word i ON i.id = e.id LEFT JOIN word p ON p.id = e.path LEFT JOIN word s ON s.id = e.status
      LEFT JOIN word x ON x.id = e.instance LEFT JOIN word r ON r.id = e.reason ORDER BY e.bundle, e.n`,
  problem: 'SELECT * FROM problem ORDER BY 1, 2, 3, 4, 5',
  rejected: 'SELECT * FROM rejected ORDER BY seq',
  withdrawn: 'SELECT * FROM withdrawn ORDER BY seq',
  analysis: 'SELECT * FROM analysis ORDER BY seq',
  finding: 'SELECT * FROM finding ORDER BY analysis_seq, n',
  cite: 'SELECT * FROM cite ORDER BY analysis_seq, n',
  verdict: 'SELECT * FROM verdict ORDER BY analysis_seq, rule, node',
  accepted: 'SELECT * FROM accepted ORDER BY finding',
  report: 'SELECT * FROM report ORDER BY seq',
  note: 'SELECT * FROM note ORDER BY seq',
};

/** Everything that can be checked without trusting anything but sha256; a sentence for each thing that is wrong. */
export function verifyCase(db: Database.Database): string[] {
  const problems: string[] = [];
  for (const check of [checkPages, checkChain, checkBlobs, checkProjections]) {
    try {
      for (const problem of check(db)) {
        problems.push(problem);
        if (problems.length >= 100) return [...problems, 'and more'];
      }
    } catch (error) {
      problems.push(`${(error as Error).message}`);
    }
  }
  return [...new Set(problems)];
}

function* checkPages(db: Database.Database): Generator<string> {
  for (const { integrity_check: line } of db.pragma('integrity_check(10)') as { integrity_check: string }[])
    if (line !== 'ok') yield `the file is damaged: ${line.replaceAll('\n', ' ')}`;
}

function* checkChain(db: Database.Database): Generator<string> {
  let prev = GENESIS;
  let expected = 1;
  for (const row of new Log(db).rows(Number.MIN_SAFE_INTEGER)) {
    const { seq, type, version, key, payload } = row;
    if (seq !== expected) yield `the log has a gap: event ${seq} follows event ${expected - 1}`;
    if (row.prev_hash !== prev) yield `event ${seq} does not follow the event before it`;
    if (eventHash(row.prev_hash, { seq, type, version, key, recordedAt: row.recorded_at, payload }) !== row.hash)
      yield `event ${seq} (${type}) is not what was recorded: its hash differs`;
    try {
      liftPayload(seq, type, version, payload);
      if (canonicalJson(JSON.parse(payload)) !== payload) yield `event ${seq} (${type}) is not canonical JSON`;
    } catch (error) {
      yield (error as Error).message;
    }
    prev = row.hash;
    expected = seq + 1;
  }
}

function* checkBlobs(db: Database.Database): Generator<string> {
  const blobs = new Blobs(db);
  for (const sha256 of blobs.all()) {
    try {
      blobs.read(sha256);
    } catch (error) {
      yield (error as Error).message;
    }
  }
  const gone = (sha256: string) => !/^[0-9a-f]{64}$/.test(sha256) || !blobs.has(sha256);
  for (const row of db.prepare('SELECT sha256, node, evidence_blob FROM bundle ORDER BY seq').all() as {
    sha256: string;
    node: string;
    evidence_blob: string;
  }[])
    if (gone(row.evidence_blob)) yield `the evidence list of bundle ${row.sha256.slice(0, 12)} (${row.node}) is gone`;
  const lost = db
    .prepare(
      "SELECT bundle, path FROM evidence e WHERE status = 'ok' AND blob <> '' AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.sha256 = unhex(e.blob))",
    )
    .all() as { bundle: string; path: string }[];
  for (const { bundle, path } of lost) yield `evidence ${path} of bundle ${bundle.slice(0, 12)} is gone`;
  // an analysis goes with a bundle that is withdrawn later
  const lastPurge = Number(db.prepare('SELECT coalesce(max(seq), 0) FROM withdrawn').pluck().get());
  for (const { seq, blob } of db.prepare('SELECT seq, blob FROM analysis ORDER BY seq').all() as {
    seq: number;
    blob: string;
  }[])
    if (seq > lastPurge && gone(blob)) yield `the analysis of event ${seq} is gone`;
}

function* checkProjections(db: Database.Database): Generator<string> {
  const fresh = new Database(':memory:');
  try {
    for (const sql of DDL) fresh.exec(sql);
    const projections = new Projections(fresh, new Blobs(db));
    projections.reset();
    fresh.transaction(() => {
      for (const event of new Log(db).events()) projections.apply(event as CaseEvent);
    })();
    for (const [table, sql] of Object.entries(COMPARED))
      if (!sameRows(db.prepare(sql), fresh.prepare(sql)))
        yield `table ${table} is not what the log gives; netcase replay makes it again`;
  } finally {
    fresh.close();
  }
}

function sameRows(a: Database.Statement, b: Database.Statement): boolean {
  const left = a.raw().iterate();
  const right = b.raw().iterate();
  try {
    for (;;) {
      const [x, y] = [left.next(), right.next()];
      if (x.done === true || y.done === true) return x.done === y.done;
      if (JSON.stringify(x.value) !== JSON.stringify(y.value)) return false;
    }
  } finally {
    left.return?.();
    right.return?.();
  }
}
