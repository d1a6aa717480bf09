import type { AnalysisFinding, Judgement } from '../engine/index.ts';
import { judgementOf } from '../engine/index.ts';
import type { AnyRule, Confidence, Severity } from '../rule/index.ts';
import { compareSeverity, SEVERITIES, worst } from '../rule/index.ts';
import type { Analysis, LogPlace } from './analysis.ts';
import { markOf } from './build.ts';
import { type JsonCite, jsonCite } from './json.ts';
import { byNumber, plural } from './names.ts';
import { decided, verdictOf } from './verdict.ts';

export interface AuditCause {
  readonly finding: string;
  readonly rule: string;
  readonly severity: Severity;
  readonly confidence: Confidence;
  readonly message: string;
  /** Where it is, and where the same fault is as well. */
  readonly nodes: readonly string[];
  readonly cites: readonly JsonCite[];
}

/** A cluster, or a node that no table ties to another one. */
export interface AuditUnit {
  readonly kind: 'cluster' | 'node';
  /** Its first node. */
  readonly name: string;
  readonly nodes: readonly string[];
  readonly podNetwork: string | null;
  readonly verdict: Analysis['verdict'];
  /** `pass` only where something was decided and nothing was left open. */
  readonly mark: Severity | 'pass' | 'unchecked';
  /** Findings that nobody accepted. */
  readonly findings: Readonly<Record<Severity, number>>;
  /** Pairs of rule and node that were answered, and those that were not. */
  readonly decided: number;
  readonly undecided: number;
  readonly causes: readonly AuditCause[];
  /** Peers that its nodes name and that have no bundle. */
  readonly missingNodes: readonly string[];
}

/** One rule's findings over the fleet. */
export interface AuditRule {
  readonly rule: string;
  readonly title: string;
  readonly severity: Severity;
  readonly units: number;
  readonly nodes: number;
  /** It caused something, rather than being the effect of another rule's finding. */
  readonly cause: boolean;
}

/** Output of `netcase audit --format json` (schema/audit.v1.json). */
export interface AuditJson {
  readonly schemaVersion: 1;
  readonly tool: Analysis['tool'];
  readonly case: LogPlace;
  readonly verdict: Analysis['verdict'];
  readonly nodes: number;
  /** The worst first. */
  readonly units: readonly AuditUnit[];
  readonly rules: readonly AuditRule[];
  readonly problems: Analysis['problems'];
}

export interface UnitNodes {
  readonly nodes: readonly [string, ...string[]];
  readonly podNetwork: string | null;
}

/** Rolls an analysis up by clusters. */
export function auditOf(
  analysis: Analysis,
  place: LogPlace,
  units: readonly UnitNodes[],
  rules: readonly AnyRule[],
): AuditJson {
  const accepted = new Set(Object.keys(analysis.accepted));
  const judged = units.map((u) => ({ ...u, judgement: judgementOf(analysis, new Set(u.nodes), rules) }));
  const rolled = judged.map(({ nodes, podNetwork, judgement }): AuditUnit => {
    const open = judgement.findings.filter((f) => !accepted.has(f.id));
    const verdict = verdictOf(judgement, nodes.length, accepted);
    return {
      kind: nodes.length > 1 ? 'cluster' : 'node',
      name: nodes[0],
      nodes,
      podNetwork,
      verdict,
      mark: unitMark(verdict, judgement.verdicts),
      findings: countsOf(open),
      ...decided(judgement),
      causes: causesOf(judgement, accepted),
      missingNodes: judgement.missingNodes.map((m) => m.node),
    };
  });
  return {
    schemaVersion: 1,
    tool: analysis.tool,
    case: place,
    verdict: { severity: worst(analysis.findings.filter((f) => !accepted.has(f.id))), sentence: sentenceOf(rolled) },
    nodes: units.reduce((sum, u) => sum + u.nodes.length, 0),
    units: rolled.sort(worstFirst),
    rules: rulesOf(
      analysis,
      judged.map((j) => j.judgement),
      accepted,
    ),
    problems: analysis.problems,
  };
}

/** A note beside open questions is not what a reader must see first. */
function unitMark(verdict: Analysis['verdict'], verdicts: Analysis['verdicts']): AuditUnit['mark'] {
  const mark = markOf({ verdict, verdicts });
  return mark === 'info' && decided({ verdicts }).undecided > 0 ? 'unchecked' : mark;
}

const ORDER: readonly AuditUnit['mark'][] = ['critical', 'high', 'medium', 'low', 'unchecked', 'info', 'pass'];

function worstFirst(a: AuditUnit, b: AuditUnit): number {
  return (
    ORDER.indexOf(a.mark) - ORDER.indexOf(b.mark) ||
    b.nodes.length - a.nodes.length ||
    b.undecided - a.undecided ||
    byNumber(a.name, b.name)
  );
}

function countsOf(findings: readonly AnalysisFinding[]): Record<Severity, number> {
  return Object.fromEntries(SEVERITIES.map((s) => [s, findings.filter((f) => f.severity === s).length])) as Record<
    Severity,
    number
  >;
}

function causesOf({ causes, findings }: Omit<Judgement, 'topology'>, accepted: ReadonlySet<string>): AuditCause[] {
  const byId = new Map(findings.map((f) => [f.id, f]));
  return causes.flatMap((cause) => {
    const f = byId.get(cause.finding);
    if (f === undefined || accepted.has(f.id)) return [];
    const nodes = [f, ...cause.alsoOn.flatMap((id) => byId.get(id) ?? [])].flatMap((x) => x.nodes);
    const { id, rule, severity, confidence, message, cites } = f;
    return [
      {
        finding: id,
        rule,
        severity,
        confidence,
        message,
        nodes: [...new Set(nodes)].sort(byNumber),
        cites: cites.map(jsonCite),
      },
    ];
  });
}

function rulesOf(
  { rules }: Analysis,
  judgements: readonly Omit<Judgement, 'topology'>[],
  accepted: ReadonlySet<string>,
): AuditRule[] {
  return rules
    .flatMap(({ id, title }): AuditRule[] => {
      const found = judgements.map((j) => j.findings.filter((f) => f.rule === id && !accepted.has(f.id)));
      const severity = worst(found.flat());
      if (severity === 'none') return [];
      const causing = new Set(judgements.flatMap((j) => j.causes.flatMap((c) => [c.finding, ...c.alsoOn])));
      return [
        {
          rule: id,
          title: title.bad,
          severity,
          units: found.filter((list) => list.length > 0).length,
          nodes: new Set(found.flat().flatMap((f) => f.nodes)).size,
          cause: found.flat().some((f) => causing.has(f.id)),
        },
      ];
    })
    .sort(
      (a, b) =>
        Number(b.cause) - Number(a.cause) ||
        compareSeverity(a.severity, b.severity) ||
        b.units - a.units ||
        b.nodes - a.nodes ||
        byNumber(a.rule, b.rule),
    );
}

/** `2 of 3 clusters and 1 of 5 single nodes have a fault; 1 was not checked to the end.` */
function sentenceOf(units: readonly AuditUnit[]): string {
  if (units.length === 0) return 'No bundle could be read, so nothing was checked.';
  const kinds = [
    ['cluster', units.filter((u) => u.kind === 'cluster')],
    ['single node', units.filter((u) => u.kind === 'node')],
  ] as const;
  const faulty = (list: readonly AuditUnit[]) => list.filter((u) => isFault(u.mark)).length;
  const parts = kinds.flatMap(([word, list]) =>
    list.length === 0 ? [] : [`${faulty(list)} of ${plural(list.length, word)}`],
  );
  const open = units.filter((u) => u.undecided > 0).length;
  const have = faulty(units) === 1 ? 'has' : 'have';
  const rest = open === 0 ? '' : ` In ${open} of them questions could not be decided.`;
  return `${parts.join(' and ')} ${have} a fault.${rest}`;
}

/** Notes are no faults, and neither is what was not checked. */
export const isFault = (mark: AuditUnit['mark']): boolean => mark !== 'pass' && mark !== 'unchecked' && mark !== 'info';
