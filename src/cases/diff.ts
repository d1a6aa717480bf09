import { basename } from 'node:path';
import { diffJudgements } from '../engine/diff.ts';
import type { AnalysisFinding, Corner } from '../engine/index.ts';
import type { DiffFinding, DiffJson, DiffSide } from '../report/diff.ts';
import type { Analysis } from '../report/index.ts';
import { type JsonCite, jsonCite } from '../report/json.ts';
import { byNumber, names } from '../report/names.ts';
import type { AnyRule } from '../rule/index.ts';
import type { BundleRow, CaseFile } from '../store/index.ts';
import { isDate } from './dates.ts';
import { Failure } from './failure.ts';
import { evaluate, type JudgedCase } from './judge.ts';
import { openForReading } from './open.ts';
import { getResult } from './results.ts';
import { tool } from './tool.ts';

/** Compares a case with itself at two moments: positions of the log, or dates (see `positionOf`). Nothing is written. */
export function diffWithin(path: string, from: string, to: string | undefined, rules: readonly AnyRule[]): DiffJson {
  const store = openForReading(path);
  try {
    const head = store.head().position;
    const start = positionOf(store, from);
    const end = to === undefined ? head : positionOf(store, to);
    if (start > end) throw new Failure('usage', `--from (position ${start}) is after --to (position ${end})`);
    const gone = withdrawnBetween(store, start, end);
    return compare(sideOf(path, store, start, rules), sideOf(path, store, end, rules), gone);
  } finally {
    store.close();
  }
}

/** Compares two cases as they stand. Nothing is written. */
export function diffCases(before: string, after: string, rules: readonly AnyRule[]): DiffJson {
  const stores: CaseFile[] = [];
  try {
    const [a, b] = [before, after].map((path) => {
      const store = openForReading(path);
      stores.push(store);
      return sideOf(path, store, store.head().position, rules);
    }) as [Side, Side];
    return compare(a, b, strangers(a, b));
  } finally {
    for (const store of stores) store.close();
  }
}

/** The last event of a position, of a day (UTC, its end) or of a moment (ISO). */
function positionOf(store: CaseFile, text: string): number {
  const { position: head } = store.head();
  if (/^\d{1,9}$/.test(text)) {
    const position = Number(text);
    if (position >= 1 && position <= head) return position;
    throw new Failure('usage', `there is no position ${text}: the log has ${head} events; netcase history lists them`);
  }
  const until = endOf(text);
  let found = 0;
  let first = '';
  for (const event of store.events()) {
    if (first === '') first = event.recordedAt;
    if (Date.parse(event.recordedAt) <= until) found = event.seq;
  }
  if (found === 0) throw new Failure('usage', `nothing was recorded until ${text}: the case begins at ${first}`);
  return found;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Milliseconds; a date without a time is meant to its end. */
function endOf(text: string): number {
  if (!isDate(text))
    throw new Failure(
      'usage',
      `${text} is neither a position of the log nor a date like 2026-11-27 or 2026-11-27T09:30Z`,
    );
  return text.includes('T') ? Date.parse(text) : Date.parse(text) + DAY_MS - 1;
}

interface Side {
  readonly summary: DiffSide;
  readonly analysis: Analysis;
  readonly corner: Corner;
  readonly recorded: Analysis | null;
  readonly current: ReadonlyMap<string, BundleRow>;
  /** What a rule cites for its answer for one node. */
  proof(node: string, rule: string): readonly JsonCite[];
}

function sideOf(path: string, store: CaseFile, position: number, rules: readonly AnyRule[]): Side {
  const bundles = store.bundlesAt(position);
  const { ruleset } = tool();
  const judged = unrecorded(store);
  const analysis = evaluate(judged, bundles, store.accepted(), rules, ruleset);
  const current = new Map(bundles.filter((b) => b.current).map((b) => [b.node, b]));
  const recorded = recordedFor(store, position, current);
  const [event] = store.events(position);
  return {
    summary: {
      case: { file: basename(path), position, head: event?.hash ?? '', at: event?.recordedAt ?? '' },
      nodes: current.size,
      verdict: analysis.verdict,
      recorded: recorded === null ? null : { tool: recorded.tool, verdict: recorded.verdict },
    },
    analysis,
    corner: {
      findings: analysis.findings,
      matrix: analysis.matrix,
      unknown: analysis.unknown,
      nodes: [...current.keys()],
    },
    recorded,
    current,
    proof(node, rule) {
      const bundle = current.get(node);
      const result = bundle === undefined ? null : getResult(judged, bundle.sha256, ruleset, node);
      return (result?.answers[rule]?.cites ?? []).map(jsonCite);
    },
  };
}

/** A case that is judged without being written to: what would be kept in it is kept here. */
function unrecorded(store: CaseFile): JudgedCase {
  const kept = new Map<string, Uint8Array>();
  const key = (...parts: string[]) => JSON.stringify(parts);
  return {
    caches: store.caches,
    evidenceOf: (bundle) => store.evidenceOf(bundle),
    rejected: () => store.rejected(),
    readBlob: (sha256) => store.readBlob(sha256),
    getNodeResult: (bundle, ruleset, node) =>
      kept.get(key(bundle, ruleset, node)) ?? store.getNodeResult(bundle, ruleset, node),
    putNodeResult: (bundle, ruleset, node, json) => void kept.set(key(bundle, ruleset, node), json),
  };
}

/** The last analysis of exactly these bundles; null when there is none, or when its text is no longer here. */
function recordedFor(store: CaseFile, position: number, current: ReadonlyMap<string, BundleRow>): Analysis | null {
  const judged = new Set([...current.values()].map((b) => b.sha256));
  let blob: string | null = null;
  for (const event of store.events()) {
    if (event.seq > position) break;
    if (event.type === 'analysis.completed') blob = event.payload.analysisBlob;
  }
  const bytes = blob === null ? null : store.readBlob(blob);
  if (bytes === null) return null;
  const analysis = JSON.parse(Buffer.from(bytes).toString()) as Analysis;
  const then = analysis.bundles.filter((b) => b.current).map((b) => b.sha256);
  return then.length === judged.size && then.every((sha256) => judged.has(sha256)) ? analysis : null;
}

function withdrawnBetween(store: CaseFile, start: number, end: number): string[] {
  const nodes = new Map<string, string>();
  const notes: string[] = [];
  for (const event of store.events()) {
    if (event.type === 'bundle.ingested' && event.seq <= start) nodes.set(event.payload.sha256, event.payload.node);
    if (event.type !== 'bundle.withdrawn' || event.seq <= start) continue;
    const node = nodes.get(event.payload.sha256);
    if (node === undefined) continue;
    const when = event.seq <= end ? 'in between' : 'since';
    notes.push(`A bundle of ${node} was withdrawn ${when} (${event.payload.because}): what it showed is not compared.`);
  }
  return notes;
}

/** Two cases of two customers have a node-1 each. */
function strangers(a: Side, b: Side): string[] {
  const other = [...a.current.values()].filter(({ node, machineId }) => {
    const now = b.current.get(node)?.machineId;
    return machineId !== null && typeof now === 'string' && now !== machineId;
  });
  if (other.length === 0) return [];
  const list = names(other.map((o) => o.node));
  return [`${list}: not the same machine in both cases (other machine id), so what differs may be no change at all.`];
}

function compare(from: Side, to: Side, withdrawn: readonly string[]): DiffJson {
  const diff = diffJudgements({ recorded: from.recorded, replayed: from.corner, now: to.corner });
  const notes = [...withdrawn];
  if (from.recorded === null && from.current.size > 0)
    notes.push('No analysis of the bundles of then is recorded: what another analyzer said of them is not compared.');
  const { accepted } = to.analysis;
  const shown = (f: AnalysisFinding): DiffFinding => {
    const { id, rule, severity, confidence, nodes, message, cites } = f;
    return {
      id,
      rule,
      severity,
      confidence,
      nodes,
      message,
      cites: cites.map(jsonCite),
      accepted: accepted[id] ?? null,
    };
  };
  return {
    schemaVersion: 1,
    tool: tool(),
    from: from.summary,
    to: to.summary,
    nodes: nodesOf(from, to),
    appeared: diff.appeared.map((d) => ({ ...d, finding: shown(d.finding) })),
    gone: diff.gone.map((d) => ({
      ...d,
      finding: shown(d.finding),
      proof: d.by === 'analyzer' ? [] : d.finding.nodes.flatMap((n) => to.proof(n, d.finding.rule)),
    })),
    changed: diff.changed.map((d) => ({ ...d, finding: shown(d.finding) })),
    unproven: diff.unproven.map((d) => ({ ...d, finding: shown(d.finding) })),
    undecided: diff.undecided,
    same: diff.same,
    notes,
  };
}

function nodesOf(from: Side, to: Side): DiffJson['nodes'] {
  const [before, after] = [from, to].map((s) => [...s.current.keys()].sort(byNumber)) as [string[], string[]];
  return {
    appeared: after.filter((n) => !from.current.has(n)),
    gone: before.filter((n) => !to.current.has(n)),
    recollected: after.filter((n) => from.current.has(n) && from.current.get(n)?.sha256 !== to.current.get(n)?.sha256),
  };
}
