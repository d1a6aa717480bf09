import type { NodeTopology } from '../derive/topology.ts';
import type {
  AnyRule,
  CaseNodes,
  ClusterDigests,
  ClusterRule,
  ClusterVerdict,
  Confidence,
  NodeInfo,
  PathRule,
} from '../rule/index.ts';
import { compareSeverity } from '../rule/index.ts';
import { rankCauses, withBrokenPaths } from './causes.ts';
import type { ResolvedCite } from './excerpt.ts';
import { resolveCite } from './excerpt.ts';
import type { NodeAnswer, NodeResult, ResolvedFinding } from './node.ts';
import { tracedTexts } from './traced.ts';

/** A finding of an analysis; `id` is `<rule>/<key>` and `key` starts with the nodes, so it survives the next collection. */
export interface AnalysisFinding extends ResolvedFinding {
  readonly id: string;
  /** Findings of one rule that are the same fault on several nodes share it. */
  readonly group: string;
}

export interface Cause {
  readonly finding: string;
  readonly rank: number;
  readonly confidence: Confidence;
  /** Symptoms: findings that this one accounts for. */
  readonly explains: readonly string[];
  /** The same fault on further nodes. */
  readonly alsoOn: readonly string[];
}

export interface UnknownAnswer {
  readonly rule: string;
  readonly nodes: readonly string[];
  readonly because: string;
  readonly evidence: readonly string[];
  /** unknown: the facts did not settle it; missing: a needed fact was not collected; error: the rule failed. */
  readonly kind: 'unknown' | 'missing' | 'error';
}

export interface VerdictCounts {
  findings: number;
  pass: number;
  notApplicable: number;
  unknown: number;
  missing: number;
  error: number;
}

export interface MissingNode {
  readonly node: string;
  readonly because: string;
  readonly cites: readonly ResolvedCite[];
}

/** What the rules make of a set of bundles; nodes counted, not rules fired. */
export interface Judgement {
  readonly findings: readonly AnalysisFinding[];
  readonly causes: readonly Cause[];
  readonly unknown: readonly UnknownAnswer[];
  readonly missingNodes: readonly MissingNode[];
  /** Rule -> how many nodes got which answer. */
  readonly verdicts: Readonly<Record<string, VerdictCounts>>;
  /** Rule -> node -> answer kind; what the coverage tables and the node groups are made of. */
  readonly matrix: Readonly<Record<string, Readonly<Record<string, NodeAnswer['kind']>>>>;
  readonly topology: Readonly<Record<string, NodeTopology>>;
}

export type { NodeTopology };

/** What the cluster step needs to know of a node. */
export type NodeIdentity = Pick<NodeInfo, 'id' | 'collectedAt' | 'machineIdSha256' | 'bootId'>;

/** Node results and digests, handed one at a time so that a large fleet need not be in memory at once. */
export interface ResultSource {
  readonly nodes: readonly NodeIdentity[];
  read(node: string): Omit<NodeResult, 'digests' | 'notes'>;
  /** One rule's digest of one node; undefined when it has none. */
  digest(node: string, rule: string): unknown;
  /** For cites of cluster rules. */
  textOf(node: string, path: string): string | null;
  /** The evidence itself, for path rules. */
  readonly open: CaseNodes;
}

/** A cluster rule that looks for peers without a bundle hands them over under this pseudo rule id. */
export const MISSING_NODES_RULE = 'peer-not-collected';

export function judgeCluster(source: ResultSource, rules: readonly AnyRule[]): Judgement {
  const ids = source.nodes.map((node) => node.id);
  const matrix: Record<string, Record<string, NodeAnswer['kind']>> = {};
  const undecided: UnknownAnswer[] = [];
  const found: ResolvedFinding[] = [];
  const having = new Map<string, string[]>();
  const topology: Record<string, NodeTopology> = {};
  for (const rule of rules) {
    matrix[rule.id] = {};
    if (isJoint(rule)) having.set(rule.id, []);
  }
  for (const id of ids) {
    const result = source.read(id);
    found.push(...result.findings);
    topology[id] = result.topology;
    for (const rule of rules) {
      const answer = result.answers[rule.id];
      if (answer !== undefined) {
        (matrix[rule.id] as Record<string, NodeAnswer['kind']>)[id] = answer.kind;
        collectUndecided(rule.id, id, answer, undecided);
      } else if (isJoint(rule)) having.get(rule.id)?.push(id);
    }
  }
  const missingNodes: MissingNode[] = [];
  // packets last: a path rule opens nodes again
  for (const rule of [...rules.filter((r) => r.scope === 'cluster'), ...rules.filter((r) => r.scope === 'path')]) {
    const nodes = having.get(rule.id) ?? [];
    if (nodes.length === 0) continue;
    const row = matrix[rule.id] as Record<string, NodeAnswer['kind']>;
    try {
      const digests = digestsOf(rule.id, nodes, source);
      const verdict =
        rule.scope === 'path'
          ? (rule as PathRule).evaluate(digests, source.open)
          : (rule as ClusterRule).evaluate(digests);
      applyCluster(rule.id, nodes, verdict, row, undecided);
      for (const f of verdict.findings) {
        const cites = f.cites.map((c) => resolveCite(c, source.textOf));
        if (rule.id === MISSING_NODES_RULE) missingNodes.push({ node: f.key, because: f.message, cites });
        else found.push({ ...f, rule: rule.id, cites, ...tracedTexts(f.trace, source.textOf) });
      }
    } catch (error) {
      const because = error instanceof Error ? error.message : String(error);
      for (const node of nodes) row[node] = 'error';
      undecided.push({ rule: rule.id, nodes, because, evidence: [], kind: 'error' });
    }
  }
  const identified = identify(found);
  const causes = rankCauses(identified, rules);
  const findings = withBrokenPaths(identified, causes);
  const verdicts: Record<string, VerdictCounts> = {};
  for (const rule of rules) {
    if (rule.id === MISSING_NODES_RULE) continue;
    verdicts[rule.id] = countVerdicts(Object.values(matrix[rule.id] ?? {}));
  }
  delete matrix[MISSING_NODES_RULE];
  return {
    findings,
    causes,
    unknown: mergeUndecided(undecided.filter((u) => u.rule !== MISSING_NODES_RULE)),
    missingNodes: missingNodes.sort((a, b) => (a.node < b.node ? -1 : 1)),
    verdicts,
    matrix,
    topology,
  };
}

/** Rules that compare nodes: both kinds reduce each of them first. */
const isJoint = (rule: AnyRule): boolean => rule.scope === 'cluster' || rule.scope === 'path';

function digestsOf(rule: string, nodes: readonly string[], source: ResultSource): ClusterDigests<unknown> {
  const infos = new Map(source.nodes.map((info) => [info.id, info]));
  const get = (node: string) => {
    const info = infos.get(node);
    if (info === undefined || !nodes.includes(node)) return undefined;
    const { collectedAt, machineIdSha256, bootId } = info;
    return { node, collectedAt, machineIdSha256, bootId, digest: source.digest(node, rule) };
  };
  return {
    ids: nodes,
    get,
    *[Symbol.iterator]() {
      for (const node of nodes) {
        const digest = get(node);
        if (digest !== undefined) yield digest;
      }
    },
  };
}

/** A node can be named by findings, passes and unknowns at once; the gravest answer is its answer. */
function applyCluster(
  rule: string,
  nodes: readonly string[],
  verdict: ClusterVerdict,
  row: Record<string, NodeAnswer['kind']>,
  undecided: UnknownAnswer[],
): void {
  for (const { nodes: names } of verdict.notApplicable) for (const n of names) row[n] = 'not-applicable';
  for (const { node } of verdict.passes) row[node] = 'pass';
  for (const u of verdict.unknown) {
    for (const n of u.nodes) row[n] = 'unknown';
    undecided.push({ rule, nodes: u.nodes, because: u.because, evidence: u.evidence, kind: 'unknown' });
  }
  for (const f of verdict.findings) for (const n of f.nodes) row[n] = 'findings';
  const silent = nodes.filter((n) => row[n] === undefined);
  if (silent.length === 0) return;
  // a node that a rule forgot is not a pass
  for (const n of silent) row[n] = 'error';
  undecided.push({
    rule,
    nodes: silent,
    because: 'the rule gave no answer for these nodes',
    evidence: [],
    kind: 'error',
  });
}

function collectUndecided(rule: string, node: string, answer: NodeAnswer, into: UnknownAnswer[]): void {
  if (answer.kind === 'missing' || answer.kind === 'error') {
    into.push({
      rule,
      nodes: [node],
      because: answer.because ?? '',
      evidence: answer.evidence ?? [],
      kind: answer.kind,
    });
  }
  for (const u of answer.unknown ?? []) {
    into.push({ rule, nodes: u.nodes, because: u.because, evidence: u.evidence, kind: 'unknown' });
  }
}

/** The same question open for the same reason on many nodes is one entry. */
function mergeUndecided(list: readonly UnknownAnswer[]): UnknownAnswer[] {
  const merged = new Map<string, UnknownAnswer & { nodes: string[] }>();
  for (const u of list) {
    const key = JSON.stringify([u.rule, u.kind, u.because, u.evidence]);
    const known = merged.get(key);
    if (known === undefined) merged.set(key, { ...u, nodes: [...u.nodes] });
    else for (const node of u.nodes) if (!known.nodes.includes(node)) known.nodes.push(node);
  }
  // not in the order in which bundles came
  for (const { nodes } of merged.values()) nodes.sort();
  return [...merged.values()];
}

function identify(found: readonly ResolvedFinding[]): AnalysisFinding[] {
  const seen = new Map<string, number>();
  const list = found.map((f) => {
    const key = `${f.nodes.join('+')}:${f.key}`;
    const id = `${f.rule}/${key}`;
    const times = (seen.get(id) ?? 0) + 1;
    seen.set(id, times);
    // a rule that gives one key twice would make two faults indistinguishable: number them
    return times === 1
      ? { ...f, key, id, group: f.key }
      : { ...f, key: `${key}#${times}`, id: `${id}#${times}`, group: f.key };
  });
  return list.sort(bySeverity);
}

function bySeverity(a: AnalysisFinding, b: AnalysisFinding): number {
  return compareSeverity(a.severity, b.severity) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** How many nodes got which answer. */
export function countVerdicts(kinds: readonly NodeAnswer['kind'][]): VerdictCounts {
  const counts: VerdictCounts = { findings: 0, pass: 0, notApplicable: 0, unknown: 0, missing: 0, error: 0 };
  for (const kind of kinds) counts[kind === 'not-applicable' ? 'notApplicable' : kind] += 1;
  return counts;
}
