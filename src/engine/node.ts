import type { NodeTopology } from '../derive/topology.ts';
import { nodeTopology } from '../derive/topology.ts';
import type { FactKind, MissingFact } from '../facts/index.ts';
import { isManyKind } from '../facts/index.ts';
import type {
  AnyRule,
  ClusterRule,
  Finding,
  NodeRule,
  NodeVerdict,
  NodeView,
  PathRule,
  Undecided,
} from '../rule/index.ts';
import type { ResolvedCite } from './excerpt.ts';
import { resolveCite } from './excerpt.ts';
import type { NodeEvidence, ParseNote } from './facts.ts';
import { NodeFacts } from './facts.ts';

export type ResolvedFinding = Omit<Finding, 'cites'> & {
  readonly rule: string;
  readonly cites: readonly ResolvedCite[];
};

/** One rule's answer for one node. `missing`: a needed fact is not there; `error`: the rule threw. */
export interface NodeAnswer {
  readonly kind: 'findings' | 'pass' | 'not-applicable' | 'unknown' | 'missing' | 'error';
  readonly because?: string;
  readonly evidence?: readonly string[];
  readonly unknown?: readonly Undecided[];
  /** Proof of a pass, or of why a rule does not apply. */
  readonly cites?: readonly ResolvedCite[];
}

/** All that one bundle says, judged alone: plain JSON, so that workers can send it and the case file can cache it. */
export interface NodeResult {
  readonly node: string;
  readonly answers: Readonly<Record<string, NodeAnswer>>;
  readonly findings: readonly ResolvedFinding[];
  /** Digests of cluster and path rules, by rule id; absent where a need is missing (then `answers` says so). */
  readonly digests: Readonly<Record<string, unknown>>;
  readonly notes: readonly ParseNote[];
  readonly topology: NodeTopology;
}

/**
 * Runs every rule's node half over one node. Never throws: a rule that throws is an answer of kind `error`. `facts`: those of the
 * evidence, when the caller reads them too.
 */
export function judgeNode(
  evidence: NodeEvidence,
  rules: readonly AnyRule[],
  facts: NodeFacts = new NodeFacts(evidence),
): NodeResult {
  const answers: Record<string, NodeAnswer> = {};
  const digests: Record<string, unknown> = {};
  const found: ResolvedFinding[] = [];
  const textOf = (_node: string, path: string) => evidence.textAt(path);
  const resolve = (cites: readonly Parameters<typeof resolveCite>[0][]) => cites.map((c) => resolveCite(c, textOf));
  const take = (rule: AnyRule, verdict: NodeVerdict) => {
    answers[rule.id] = answerOf(verdict, (cites) => cites.map((c) => resolveCite(c, textOf, 0)));
    if (verdict.kind === 'findings')
      for (const f of verdict.findings) found.push({ ...f, rule: rule.id, cites: resolve(f.cites) });
  };
  const attempt = (rule: AnyRule, work: () => void) => {
    try {
      work();
    } catch (error) {
      const because = error instanceof Error ? error.message : String(error);
      answers[rule.id] = { kind: 'error', because, evidence: [] };
    }
  };
  for (const rule of rules) {
    if (rule.scope === 'collection') continue;
    const lack = firstMissing(rule, facts);
    if (lack !== null) {
      answers[rule.id] = { kind: 'missing', because: lack.because, evidence: lack.evidence };
      continue;
    }
    attempt(rule, () => {
      const view = viewOf(rule, facts, evidence);
      if (rule.scope === 'node') take(rule, rule.evaluate(view));
      else digests[rule.id] = (rule as ClusterRule | PathRule).extract(view);
    });
  }
  for (const rule of rules) {
    if (rule.scope !== 'collection') continue;
    const undecided = rules.flatMap((other) => {
      const answer = answers[other.id];
      if (answer === undefined || !['unknown', 'missing', 'error'].includes(answer.kind)) return [];
      const evidenceIds = answer.evidence ?? answer.unknown?.flatMap((u) => u.evidence) ?? [];
      const because = answer.because ?? answer.unknown?.map((u) => u.because).join('; ') ?? '';
      return [{ rule: other.id, severity: other.severity, because, evidence: evidenceIds }];
    });
    attempt(rule, () => take(rule, rule.evaluate(evidence.info, undecided)));
  }
  return {
    node: evidence.info.id,
    answers,
    findings: found,
    digests,
    topology: nodeTopology(facts),
    notes: [...facts.notes.values()],
  };
}

function answerOf(
  verdict: NodeVerdict,
  resolve: (cites: readonly Parameters<typeof resolveCite>[0][]) => ResolvedCite[],
): NodeAnswer {
  if (verdict.kind === 'pass') return { kind: 'pass', cites: resolve(verdict.cites) };
  if (verdict.kind === 'not-applicable')
    return { kind: 'not-applicable', because: verdict.because, cites: resolve(verdict.cites) };
  return { kind: verdict.kind, unknown: verdict.unknown };
}

type FactRule = NodeRule | ClusterRule | PathRule;

function firstMissing(rule: FactRule, facts: NodeFacts): { because: string; evidence: readonly string[] } | null {
  const lacking: MissingFact[] = [];
  for (const kind of rule.needs as readonly FactKind[]) {
    if (isManyKind(kind)) {
      if (facts.all(kind).length === 0) lacking.push(facts.get(kind) as MissingFact);
    } else {
      const fact = facts.get(kind);
      if (fact.missing) lacking.push(fact as MissingFact);
    }
  }
  const any = (rule.needsAny ?? []) as readonly FactKind[];
  const asked = any.map((kind) => (isManyKind(kind) && facts.all(kind).length > 0 ? null : facts.get(kind)));
  if (any.length > 0 && asked.every((fact) => fact?.missing === true)) {
    const unlooked = asked.filter((fact) => fact?.missing === true && !fact.lookedFor) as MissingFact[];
    lacking.push(...unlooked);
  }
  if (lacking.length === 0) return null;
  return {
    because: lacking.map((fact) => `${fact.evidence[0]} ${fact.because}`).join('; '),
    evidence: lacking.map((fact) => fact.evidence[0]),
  };
}

/** Facts are getters: a want that no branch of the rule reads is never parsed. */
function viewOf(rule: FactRule, facts: NodeFacts, evidence: NodeEvidence): NodeView<FactKind, FactKind> {
  const reader = (kinds: readonly FactKind[]) => {
    const target = {};
    for (const kind of kinds) {
      Object.defineProperty(target, kind, { get: () => (isManyKind(kind) ? facts.all(kind) : facts.get(kind)) });
    }
    return target;
  };
  return {
    node: evidence.info,
    facts: reader(rule.needs) as NodeView<FactKind, FactKind>['facts'],
    wants: reader(rule.wants) as NodeView<FactKind, FactKind>['wants'],
    source: facts,
  };
}
