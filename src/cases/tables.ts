import { commandFor } from '../core/evidence.ts';
import type { Analysis } from '../report/index.ts';
import { type CaseFile, EVENT_TYPES } from '../store/index.ts';
import { openListings } from '../store/listings.ts';
import { Failure } from './failure.ts';
import { latestAnalysis } from './place.ts';
import { getResult } from './results.ts';

/** A table for a person, and the same as data for a program. */
export interface Listing {
  readonly head: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  readonly data: unknown;
}

/** Which rows of a table are asked for; a filter that a table does not have is not in its command. */
export interface Filter {
  readonly severity?: string | undefined;
  readonly rule?: string | undefined;
  readonly node?: string | undefined;
  readonly type?: string | undefined;
}

/** Findings of the newest analysis, the gravest first. */
export async function listFindings(store: CaseFile, { severity, rule, node }: Filter): Promise<Listing> {
  analysed(store);
  if (rule !== undefined || node !== undefined) {
    // a table without rows would read as "nothing was found"
    const { analysis } = latestAnalysis(store);
    if (rule !== undefined) rowOf(analysis, rule);
    if (node !== undefined) mustHaveNode(analysis, node);
  }
  const listings = await openListings(store);
  const cites = new Map(listings.firstCites().map((c) => [c.finding, c]));
  const accepted = store.accepted();
  const data = listings.findings({ severity, rule, node }).map((f) => {
    const cite = cites.get(f.id);
    return {
      id: f.id,
      rule: f.rule,
      severity: f.severity,
      confidence: f.confidence,
      nodes: f.nodes.split(' '),
      message: f.message,
      cite: cite === undefined ? '' : `${cite.node}:${cite.path}${cite.line === null ? ' (absent)' : `:${cite.line}`}`,
      accepted: accepted[f.id] ?? null,
    };
  });
  return {
    head: ['SEVERITY', 'CONFIDENCE', 'FINDING', 'CITE', 'MESSAGE'],
    rows: data.map((f) => [
      f.accepted === null ? f.severity : `${f.severity} (accepted)`,
      f.confidence,
      f.id,
      f.cite,
      f.message,
    ]),
    data,
  };
}

/** Every bundle with its node, and peers that are named by others but have none. */
export async function listNodes(store: CaseFile): Promise<Listing> {
  const { analysis } = latestAnalysis(store);
  const listings = await openListings(store);
  const items = new Map<string, { all: number; ok: number }>();
  for (const { bundle, status, items: n } of listings.evidenceCounts()) {
    const count = items.get(bundle) ?? { all: 0, ok: 0 };
    items.set(bundle, { all: count.all + n, ok: count.ok + (status === 'ok' ? n : 0) });
  }
  const findings = new Map<string, number>();
  for (const f of listings.findings()) {
    if (f.severity === 'info') continue;
    for (const node of f.nodes.split(' ')) findings.set(node, (findings.get(node) ?? 0) + 1);
  }
  const data = listings.bundles().map((b) => ({
    node: b.node,
    sha256: b.sha256,
    source: b.source,
    format: b.format,
    collectedAt: b.collected_at,
    complete: b.complete === 1,
    current: b.current === 1,
    items: items.get(b.sha256)?.all ?? 0,
    itemsOk: items.get(b.sha256)?.ok ?? 0,
    findings: b.current === 1 ? (findings.get(b.node) ?? 0) : null,
  }));
  return {
    head: ['NODE', 'COLLECTED', 'BUNDLE', 'ITEMS OK', 'FINDINGS', 'STATE'],
    rows: [
      ...data.map((b) => [
        b.node,
        b.collectedAt ?? 'unknown',
        b.source,
        `${b.itemsOk}/${b.items}`,
        b.findings ?? '-',
        !b.complete ? 'incomplete' : b.current ? 'current' : 'superseded',
      ]),
      ...analysis.missingNodes.map((m) => [m.node, '-', '-', '-', '-', `no bundle: ${m.because}`]),
    ],
    data: { nodes: data, missing: analysis.missingNodes },
  };
}

const KINDS = ['findings', 'pass', 'not-applicable', 'unknown', 'missing', 'error'] as const;

/** On how many nodes each rule gave which answer, what is undecided and what would settle it, and every evidence item that did not come. */
export async function listCoverage(store: CaseFile): Promise<Listing> {
  const { analysis } = latestAnalysis(store);
  const listings = await openListings(store);
  const counts = new Map<string, Map<string, number>>(Object.keys(analysis.verdicts).map((rule) => [rule, new Map()]));
  for (const { rule, kind, nodes } of listings.coverage()) counts.get(rule)?.set(kind, nodes);
  const unknown = analysis.unknown.map((u) => ({
    ...u,
    collect: [...new Set(u.evidence.flatMap((id) => commandFor(id) ?? []))],
  }));
  return {
    head: ['RULE', 'FINDINGS', 'PASS', 'N/A', 'UNKNOWN', 'MISSING', 'ERROR'],
    rows: [...counts].map(([rule, kinds]) => [rule, ...KINDS.map((kind) => kinds.get(kind) ?? 0)]),
    data: { verdicts: analysis.verdicts, unknown, evidence: analysis.gaps },
  };
}

/** The log, an act a row. */
export async function listHistory(store: CaseFile, { type }: Filter): Promise<Listing> {
  if (type !== undefined && !EVENT_TYPES.some((t) => t === type))
    throw new Failure('usage', `there is no event type ${type}; the types are ${EVENT_TYPES.join(', ')}`);
  const listings = await openListings(store);
  const data = listings.history(type === undefined ? {} : { type }).map((e) => ({
    position: e.seq,
    at: e.recorded_at,
    type: e.type,
    what: summary(e.type, JSON.parse(e.payload) as Record<string, unknown>),
    hash: e.hash,
  }));
  return {
    head: ['POSITION', 'RECORDED', 'EVENT', 'WHAT', 'HASH'],
    rows: data.map((e) => [e.position, e.at, e.type, e.what, e.hash.slice(0, 12)]),
    data,
  };
}

function analysed(store: CaseFile): void {
  if (store.latestAnalysis() === null)
    throw new Failure('usage', 'this case has not been analysed yet; run netcase analyze --case FILE');
}

function summary(type: string, payload: Record<string, unknown>): string {
  switch (type) {
    case 'bundle.ingested':
      return `${payload['node']} ${payload['source']} collected ${payload['collectedAt'] ?? 'unknown'}`;
    case 'bundle.rejected':
      return `${payload['source']}: ${payload['message']}`;
    case 'analysis.completed':
      return (payload['verdict'] as Analysis['verdict']).sentence;
    case 'report.rendered':
      return `${payload['format']} ${String(payload['sha256']).slice(0, 12)}`;
    case 'finding.accepted':
      return `${payload['finding']}: ${payload['because']}`;
    default:
      return '';
  }
}

function rowOf(analysis: Analysis, rule: string): Analysis['matrix'][string] {
  const row = analysis.matrix[rule];
  if (row === undefined) throw new Failure('usage', `there is no rule ${rule}; netcase rules lists them`);
  return row;
}

function mustHaveNode(analysis: Analysis, node: string): void {
  if (!analysis.bundles.some((b) => b.node === node)) throw noNode(node);
}

const noNode = (node: string) =>
  new Failure('usage', `there is no node ${node} in this case; netcase nodes lists them`);

/** Why a rule answered as it did for one node: its answer, proof or reason, and its findings there. */
export function explainAnswer(
  store: CaseFile,
  rule: string,
  node: string,
): { answer: string; because: string; cites: readonly unknown[]; findings: Analysis['findings'] } {
  const { analysis } = latestAnalysis(store);
  const answer = rowOf(analysis, rule)[node];
  if (answer === undefined) throw noNode(node);
  const bundle = analysis.bundles.find((b) => b.node === node && b.current);
  const result = bundle === undefined ? null : getResult(store, bundle.sha256, analysis.tool.ruleset, node);
  const detail = result?.answers[rule];
  const open = analysis.unknown.filter((u) => u.rule === rule && u.nodes.includes(node)).map((u) => u.because);
  return {
    answer,
    because: detail?.because ?? open.join('; '),
    cites: detail?.cites ?? [],
    findings: analysis.findings.filter((f) => f.rule === rule && f.nodes.includes(node)),
  };
}
