import type { Compilable, Kysely } from 'kysely';
import type { CaseFile } from './case-file.ts';

/** The documented tables as the listings read them (docs/tables.md). */
export interface Tables {
  event: {
    seq: number;
    type: string;
    version: number;
    key: string;
    recorded_at: string;
    payload: string;
    hash: string;
  };
  bundle: {
    seq: number;
    sha256: string;
    node: string;
    collected_at: string | null;
    source: string;
    format: string;
    complete: number;
    current: number;
  };
  node: { id: string; bundles: number; collected_at: string | null };
  evidence: {
    bundle: string;
    node: string;
    id: string;
    path: string;
    instance: string | null;
    status: string;
    rc: number | null;
    reason: string | null;
    blob: string;
    bytes: number | null;
  };
  finding: {
    analysis_seq: number;
    n: number;
    id: string;
    rule: string;
    key: string;
    severity: string;
    confidence: string;
    nodes: string;
    message: string;
  };
  cite: { analysis_seq: number; n: number; finding: string; node: string; path: string; line: number | null };
  verdict: { analysis_seq: number; rule: string; node: string; kind: string };
}

export interface FindingFilter {
  readonly severity?: string | undefined;
  readonly rule?: string | undefined;
  readonly node?: string | undefined;
}

/** Filtered reads of the projections for tables that people look at. Kysely is loaded here and on no other path: its import is slow. */
export async function openListings(store: Pick<CaseFile, 'run' | 'latestAnalysis'>) {
  const { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, sql } = await import('kysely');
  // kysely only compiles; the case file executes, synchronously
  const db: Kysely<Tables> = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (k) => new SqliteIntrospector(k),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  const all = <R>(query: Compilable<R>): R[] => {
    const { sql: text, parameters } = query.compile();
    return store.run(text, parameters) as R[];
  };
  // of a withdrawn bundle's analyses only the row is left: the newest whole one counts
  const newest = store.latestAnalysis()?.seq ?? 0;
  return {
    /** Findings of the newest analysis, the gravest first. */
    findings({ severity, rule, node }: FindingFilter = {}) {
      let query = db
        .selectFrom('finding')
        .select(['id', 'rule', 'key', 'severity', 'confidence', 'nodes', 'message'])
        .where('analysis_seq', '=', newest)
        .orderBy('n');
      if (severity !== undefined) query = query.where('severity', '=', severity);
      if (rule !== undefined) query = query.where('rule', '=', rule);
      // `nodes` holds ids between spaces
      if (node !== undefined)
        query = query.where(sql<number>`instr(' ' || nodes || ' ', ' ' || ${node} || ' ')`, '>', 0);
      return all(query);
    },
    /** Where each finding of the newest analysis is to be seen first. */
    firstCites() {
      return all(
        db
          .selectFrom('cite')
          .where('analysis_seq', '=', newest)
          .where('n', 'in', (e) =>
            e
              .selectFrom('cite')
              .where('analysis_seq', '=', newest)
              .select((x) => x.fn.min('n').as('n'))
              .groupBy('finding'),
          )
          .select(['finding', 'node', 'path', 'line'])
          .orderBy('n'),
      );
    },
    /** Nodes with their current bundle. */
    nodes() {
      return all(
        db
          .selectFrom('node')
          .innerJoin('bundle', 'bundle.node', 'node.id')
          .where('bundle.current', '=', 1)
          .select(['node.id', 'node.bundles', 'node.collected_at', 'bundle.sha256', 'bundle.source', 'bundle.complete'])
          .orderBy('node.id'),
      );
    },
    /** Bundles in the order in which they came, superseded ones too. */
    bundles() {
      return all(
        db
          .selectFrom('bundle')
          .select(['sha256', 'node', 'collected_at', 'source', 'format', 'complete', 'current'])
          .orderBy('seq'),
      );
    },
    /** How many items of each bundle have which status. */
    evidenceCounts() {
      return all(
        db
          .selectFrom('evidence')
          .select((e) => ['bundle', 'status', e.fn.countAll<number>().as('items')])
          .groupBy(['bundle', 'status']),
      );
    },
    /** Evidence items, of current bundles and superseded ones. */
    evidence(filter: { readonly node?: string; readonly id?: string; readonly status?: string } = {}) {
      let query = db.selectFrom('evidence').selectAll().orderBy('node').orderBy('path');
      if (filter.node !== undefined) query = query.where('node', '=', filter.node);
      if (filter.id !== undefined) query = query.where('id', '=', filter.id);
      if (filter.status !== undefined) query = query.where('status', '=', filter.status);
      return all(query);
    },
    /** How many nodes got which answer of which rule, in the newest analysis. */
    coverage() {
      return all(
        db
          .selectFrom('verdict')
          .where('analysis_seq', '=', newest)
          .select((e) => ['rule', 'kind', e.fn.countAll<number>().as('nodes')])
          .groupBy(['rule', 'kind'])
          .orderBy('rule')
          .orderBy('kind'),
      );
    },
    /** The log; payloads as stored. */
    history(filter: { readonly type?: string } = {}) {
      let query = db
        .selectFrom('event')
        .select(['seq', 'type', 'version', 'key', 'recorded_at', 'payload', 'hash'])
        .orderBy('seq');
      if (filter.type !== undefined) query = query.where('type', '=', filter.type);
      return all(query);
    },
  };
}
