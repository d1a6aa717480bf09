import type { EvidenceRecord } from '../core/evidence.ts';
import type { NonEmpty, Span } from '../core/span.ts';
import type { TraceAbsence, TraceLines } from '../core/trace.ts';
import type { Fact, FactKind, FactsOf, ManyKind, MaybeFactsOf, MissingFact } from '../facts/index.ts';
import type { AbsenceCite, Cite, ClusterVerdict, LineCite, NodeVerdict, Remediation, Severity } from './verdict.ts';

export * from './verdict.ts';

/** What is known of a node besides its facts. */
export interface NodeInfo {
  readonly id: string;
  readonly hostname: string | null;
  readonly bootId: string | null;
  readonly machineIdSha256: string | null;
  /** The node's own clock, ISO UTC; null when the bundle does not say. Not comparable across nodes to the second. */
  readonly collectedAt: string | null;
  readonly format: string;
  /** False: cut upload or interrupted collector; no absence in it is a fact. */
  readonly complete: boolean;
  readonly context: {
    readonly uid: number | null;
    readonly netns: string | null;
    readonly pid1netns: string | null;
    readonly mode: string | null;
  };
  /** Every record of the bundle, in its order. */
  readonly evidence: readonly EvidenceRecord[];
}

/** One node as a rule sees it. `facts` holds what the rule needs, `wants` what may be missing; nothing else is reachable. */
export interface NodeView<N extends FactKind, W extends FactKind> {
  readonly node: NodeInfo;
  readonly facts: { readonly [K in N]: FactsOf<K> };
  readonly wants: { readonly [K in W]: MaybeFactsOf<K> };
  /** The same facts by name, for src/net and src/derive, which take many kinds. */
  readonly source: FactSource<N | W>;
}

/** Reads facts by kind; limited at compile time to the kinds that the rule declared. */
export interface FactSource<K extends FactKind = FactKind> {
  readonly node: string;
  get<F extends K>(kind: F): Fact<F> | MissingFact<F>;
  all<F extends K & ManyKind>(kind: F): readonly Fact<F>[];
  /** One of `all`, without reading the others. */
  at?<F extends K & ManyKind>(kind: F, instance: string): Fact<F> | undefined;
  /** Instances of `all`, and those of files that turn out to be unreadable. */
  instances?(kind: K & ManyKind): readonly string[];
}

/**
 * Facts without which the engine answers *missing* and never calls the rule. `needsAny`: at least one of these wants must be there;
 * when the collector looked for all of them and none exists, the rule is called to say why it does not apply.
 */
type Needs<N extends FactKind, W extends FactKind> =
  | { readonly needs: NonEmpty<N>; readonly needsAny?: NonEmpty<W> }
  | { readonly needs: readonly []; readonly needsAny: NonEmpty<W> };

interface RuleText<W extends FactKind> {
  /** kebab-case, the file's name, names the failing state, never reused. */
  readonly id: string;
  readonly title: { readonly bad: string; readonly good: string };
  /** The highest severity that it may give. */
  readonly severity: Severity;
  /** Why traffic breaks and what one sees; no fix. */
  readonly explanation: string;
  readonly remediation: NonEmpty<Remediation>;
  /** Primary documents. */
  readonly references: NonEmpty<string>;
  /** Facts that may be missing; each must be asked `.missing` before use. */
  readonly wants: readonly W[];
  /** Rules whose findings on the same nodes are symptoms of this one. */
  readonly explains?: readonly string[];
}

type RuleData<N extends FactKind, W extends FactKind> = RuleText<W> & Needs<N, W>;

export type NodeRule<N extends FactKind = FactKind, W extends FactKind = FactKind> = RuleData<N, W> & {
  readonly scope: 'node';
  evaluate(view: NodeView<N, W>): NodeVerdict;
};

/** One node's part of a cluster question, as `extract` reduced it. */
export interface NodeDigest<D> {
  readonly node: string;
  readonly collectedAt: string | null;
  readonly machineIdSha256: string | null;
  readonly bootId: string | null;
  readonly digest: D;
}

/** The digests of the nodes that have all needs, read one at a time: memory must not grow with the square of the fleet. */
export interface ClusterDigests<D> extends Iterable<NodeDigest<D>> {
  readonly ids: readonly string[];
  get(node: string): NodeDigest<D> | undefined;
}

/**
 * Map, then reduce. `extract` runs beside the node's evidence and reduces it to plain JSON (with cites where they will be needed);
 * `evaluate` compares the nodes' digests.
 */
export type ClusterRule<N extends FactKind = FactKind, W extends FactKind = FactKind, D = unknown> = RuleData<N, W> & {
  readonly scope: 'cluster';
  extract(view: NodeView<N, W>): D;
  evaluate(digests: ClusterDigests<D>): ClusterVerdict;
};

/** Every node of the case, opened one at a time: opening one costs some milliseconds and its parsed facts. */
export interface CaseNodes {
  readonly ids: readonly string[];
  /** Facts of a node; undefined for one that is not in the case. */
  source(node: string): FactSource | undefined;
  /** Who owns which address on it, as src/net reduced it when the bundle came in; undefined when that was not kept. */
  owners(node: string): unknown;
}

/**
 * A rule that follows packets across nodes: digests cannot say what another node's rules do to a packet. `extract` still reduces each node,
 * so that only nodes that a packet passes are opened.
 */
export type PathRule<N extends FactKind = FactKind, W extends FactKind = FactKind, D = unknown> = RuleData<N, W> & {
  readonly scope: 'path';
  extract(view: NodeView<N, W>): D;
  evaluate(digests: ClusterDigests<D>, nodes: CaseNodes): ClusterVerdict;
};

/** A rule about the collection itself: it reads records, not facts, so it can never be *missing*. */
export interface CollectionRule extends Omit<RuleText<never>, 'wants'> {
  readonly scope: 'collection';
  evaluate(
    node: NodeInfo,
    undecided: readonly {
      readonly rule: string;
      readonly severity: Severity;
      readonly because: string;
      readonly evidence: readonly string[];
    }[],
  ): NodeVerdict;
}

// biome-ignore lint/suspicious/noExplicitAny: a list of rules forgets their fact kinds; the engine hands each rule what it declared
export type AnyRule = NodeRule<any, any> | ClusterRule<any, any, any> | PathRule<any, any, any> | CollectionRule;

export function defineNodeRule<const N extends FactKind, const W extends FactKind = never>(
  rule: RuleData<N, W> & { evaluate(view: NodeView<N, W>): NodeVerdict },
): NodeRule<N, W> {
  return { scope: 'node', ...rule };
}

export function defineClusterRule<const N extends FactKind, const W extends FactKind, D>(
  rule: RuleData<N, W> & { extract(view: NodeView<N, W>): D; evaluate(digests: ClusterDigests<D>): ClusterVerdict },
): ClusterRule<N, W, D> {
  return { scope: 'cluster', ...rule };
}

export function definePathRule<const N extends FactKind, const W extends FactKind, D>(
  rule: RuleData<N, W> & {
    extract(view: NodeView<N, W>): D;
    evaluate(digests: ClusterDigests<D>, nodes: CaseNodes): ClusterVerdict;
  },
): PathRule<N, W, D> {
  return { scope: 'path', ...rule };
}

export function defineCollectionRule(rule: Omit<CollectionRule, 'scope'>): CollectionRule {
  return { scope: 'collection', ...rule };
}

/** Cites lines of the file that a fact was read from. */
export function cite<K extends FactKind>(fact: Fact<K>, span: Span): LineCite {
  return {
    kind: 'lines',
    node: fact.node,
    evidence: fact.evidence,
    path: fact.path,
    line: span.line,
    endLine: span.endLine ?? span.line,
    col: span.col,
    length: span.length,
  };
}

/** The same of a digest, which keeps no facts. */
export function lineCite(file: Pick<LineCite, 'node' | 'evidence' | 'path'>, line: number): LineCite {
  return { kind: 'lines', ...file, line, endLine: line };
}

/** Proves an absence; a fact that is not closed-world cannot, so the caller must have looked: `if (!fact.closed) return unknown(...)`. */
export function absent<K extends FactKind>(fact: Fact<K> & { readonly closed: true }, what: string): AbsenceCite {
  return { kind: 'absent', node: fact.node, evidence: fact.evidence, path: fact.path, absent: what };
}

/** True when the absence of a line in the fact's file is itself a fact. */
export function isClosed<K extends FactKind>(fact: Fact<K>): fact is Fact<K> & { readonly closed: true } {
  return fact.closed;
}

/** A cite of a traced packet, as rules give them. */
export function citeTraced(at: TraceLines | TraceAbsence): Cite {
  const { node, evidence, path } = at;
  return 'absent' in at
    ? { kind: 'absent', node, evidence, path, absent: at.absent }
    : { kind: 'lines', node, evidence, path, line: at.line, endLine: at.endLine };
}

/** Cites the manifest's line about an item; where no manifest came (loose files), that the file itself is not there. */
export function citeRecord(node: string, record: EvidenceRecord): LineCite | AbsenceCite {
  if (record.manifestLine !== undefined) {
    const line = record.manifestLine;
    return { kind: 'lines', node, evidence: 'bundle.manifest', path: 'manifest.json', line, endLine: line };
  }
  const why = record.reason === undefined ? record.status : `${record.status}: ${record.reason}`;
  return { kind: 'absent', node, evidence: record.id, path: record.path, absent: `the file itself (${why})` };
}
