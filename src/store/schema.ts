/** `PRAGMA application_id` of a case file: "NCAS". */
export const APPLICATION_ID = 0x4e434153;
/** `PRAGMA user_version`: changes with any DDL below. */
export const FORMAT = 1;

/** The log and what it refers to: never dropped. */
const LOG = [
  `CREATE TABLE event(
  seq INTEGER PRIMARY KEY, type TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL UNIQUE, recorded_at TEXT NOT NULL,
  payload TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL) STRICT`,
  `CREATE TRIGGER event_unchanged BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are never changed'); END`,
  `CREATE TRIGGER event_kept BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END`,
  `CREATE TRIGGER event_gapless BEFORE INSERT ON event
  WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM event) OR EXISTS (SELECT 1 FROM event WHERE key = NEW.key)
  BEGIN SELECT RAISE(ABORT, 'events are added at the end, once'); END`,
  `CREATE TABLE blob(sha256 BLOB PRIMARY KEY, codec TEXT NOT NULL, size INTEGER NOT NULL, base BLOB, bytes BLOB NOT NULL) STRICT`,
];

/** Computed from the log by replay; documented in docs/tables.md. */
const PROJECTIONS = [
  `CREATE TABLE projection(name TEXT PRIMARY KEY, version INTEGER NOT NULL, position INTEGER NOT NULL) STRICT`,
  `CREATE TABLE bundle(
  seq INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, node TEXT NOT NULL, hostname TEXT, machine_id TEXT, boot_id TEXT,
  collected_at TEXT, recorded_at TEXT NOT NULL, source TEXT NOT NULL, format TEXT NOT NULL, size INTEGER NOT NULL,
  complete INTEGER NOT NULL, current INTEGER NOT NULL, collector TEXT, context TEXT NOT NULL, evidence_blob TEXT NOT NULL) STRICT`,
  `CREATE INDEX bundle_node ON bundle(node)`,
  `CREATE TABLE node(id TEXT PRIMARY KEY, bundles INTEGER NOT NULL, collected_at TEXT) STRICT`,
  `CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT`,
  `CREATE TABLE evidence_row(
  bundle INTEGER NOT NULL, n INTEGER NOT NULL, id INTEGER NOT NULL, path INTEGER NOT NULL, instance INTEGER, status INTEGER NOT NULL,
  rc INTEGER, reason INTEGER, blob BLOB, bytes INTEGER, PRIMARY KEY(bundle, n)) STRICT, WITHOUT ROWID`,
  `CREATE VIEW evidence AS
  SELECT b.sha256 AS bundle, b.node AS node, i.text AS id, p.text AS path, x.text AS instance, s.text AS status, e.rc AS rc,
    r.text AS reason, lower(hex(e.blob)) AS blob, e.bytes AS bytes
  FROM evidence_row e JOIN bundle b ON b.seq = e.bundle JOIN word i ON i.id = e.id JOIN word p ON p.id = e.path
    JOIN word s ON s.id = e.status LEFT JOIN word x ON x.id = e.instance LEFT JOIN word r ON r.id = e.reason`,
  `CREATE TABLE problem(
  bundle TEXT NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL, message TEXT NOT NULL, path TEXT) STRICT`,
  `CREATE INDEX problem_bundle ON problem(bundle)`,
  `CREATE TABLE rejected(seq INTEGER PRIMARY KEY, source TEXT NOT NULL, sha256 TEXT, code TEXT NOT NULL, message TEXT NOT NULL) STRICT`,
  `CREATE TABLE withdrawn(seq INTEGER PRIMARY KEY, bundle TEXT NOT NULL, because TEXT NOT NULL) STRICT`,
  `CREATE TABLE analysis(
  seq INTEGER PRIMARY KEY, recorded_at TEXT NOT NULL, ruleset TEXT NOT NULL, tool TEXT NOT NULL, position INTEGER NOT NULL,
  severity TEXT NOT NULL, sentence TEXT NOT NULL, blob TEXT NOT NULL) STRICT`,
  `CREATE TABLE finding(
  analysis_seq INTEGER NOT NULL, n INTEGER NOT NULL, id TEXT NOT NULL, rule TEXT NOT NULL, key TEXT NOT NULL, severity TEXT NOT NULL,
  confidence TEXT NOT NULL, nodes TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY(analysis_seq, n)) STRICT, WITHOUT ROWID`,
  `CREATE TABLE cite(
  analysis_seq INTEGER NOT NULL, n INTEGER NOT NULL, finding TEXT NOT NULL, node TEXT NOT NULL, evidence TEXT NOT NULL, path TEXT NOT NULL,
  line INTEGER, end_line INTEGER, absent TEXT, text TEXT, PRIMARY KEY(analysis_seq, n)) STRICT, WITHOUT ROWID`,
  `CREATE TABLE verdict(
  analysis_seq INTEGER NOT NULL, rule TEXT NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL,
  PRIMARY KEY(analysis_seq, rule, node)) STRICT, WITHOUT ROWID`,
  `CREATE TABLE accepted(
  finding TEXT PRIMARY KEY, because TEXT NOT NULL, until TEXT, recorded_at TEXT NOT NULL, seq INTEGER NOT NULL) STRICT`,
  `CREATE TABLE report(seq INTEGER PRIMARY KEY, recorded_at TEXT NOT NULL, format TEXT NOT NULL, sha256 TEXT NOT NULL, position INTEGER NOT NULL) STRICT`,
  `CREATE TABLE note(seq INTEGER PRIMARY KEY, recorded_at TEXT NOT NULL, text TEXT NOT NULL) STRICT`,
];

/** Work saved, not knowledge: any row may vanish at any time. */
const CACHES = [
  `CREATE TABLE fact_cache(
  bundle TEXT NOT NULL, kind TEXT NOT NULL, instance TEXT NOT NULL, evidence TEXT NOT NULL, parser_version TEXT NOT NULL,
  ruleset TEXT NOT NULL, json BLOB NOT NULL, PRIMARY KEY(bundle, kind, instance, evidence, parser_version, ruleset)) STRICT`,
  `CREATE TABLE node_result_cache(
  bundle TEXT NOT NULL, ruleset TEXT NOT NULL, node TEXT NOT NULL, json BLOB NOT NULL, PRIMARY KEY(bundle, ruleset, node)) STRICT`,
];

export const DDL: readonly string[] = [...LOG, ...PROJECTIONS, ...CACHES];

const names = (kind: RegExp) => DDL.flatMap((sql) => kind.exec(sql)?.[1] ?? []);

/** Every name that `netcase query` may read. */
export const TABLES: readonly string[] = names(/^CREATE (?:TABLE|VIEW) (\w+)/);

/** What `sqlite_schema` of a case holds, sorted; anything more or else is not ours. */
export const EXPECTED_SCHEMA: readonly string[] = DDL.map((sql) => {
  const [, type = '', name = ''] = /^CREATE (\w+) (\w+)/.exec(sql) ?? [];
  return `${type.toLowerCase()} ${name} ${sql}`;
}).sort();
