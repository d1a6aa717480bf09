import type { TraceJson } from '../core/trace.ts';
import type { AnyRule, Confidence } from '../rule/index.ts';
import { compareSeverity } from '../rule/index.ts';
import type { AnalysisFinding, Cause } from './analysis.ts';

const confidenceRank: Record<Confidence, number> = { proven: 0, likely: 1, possible: 2 };

/**
 * Causes before symptoms. A finding explained by another one on a node where its cause can be is a symptom; what is left is ranked by
 * severity, confidence, and how many nodes and symptoms it accounts for. Info findings are context, never causes; latent ones explain nothing.
 */
export function rankCauses(
  findings: readonly AnalysisFinding[],
  rules: readonly Pick<AnyRule, 'id' | 'explains'>[],
): Cause[] {
  const explains = new Map(rules.map((rule) => [rule.id, rule.explains ?? []]));
  const candidates = findings.filter((f) => f.severity !== 'info');
  const symptomOf = new Map<string, string[]>();
  for (const cause of candidates) {
    for (const symptom of candidates) {
      if (cause === symptom || cause.rule === symptom.rule || cause.latent === true) continue;
      if (!explains.get(cause.rule)?.includes(symptom.rule)) continue;
      const places = symptom.blame ?? symptom.nodes;
      if (!cause.nodes.some((n) => places.includes(n)) || !speaksOf(symptom, cause.about)) continue;
      symptomOf.set(symptom.id, [...(symptomOf.get(symptom.id) ?? []), cause.id]);
    }
  }
  const groups = new Map<string, AnalysisFinding[]>();
  for (const f of candidates) {
    if (symptomOf.has(f.id)) continue;
    const key = `${f.rule} ${f.severity} ${f.confidence} ${f.group}`;
    groups.set(key, [...(groups.get(key) ?? []), f]);
  }
  // two rules that explain each other would leave no cause: the gravest of them stands in
  if (groups.size === 0 && candidates[0] !== undefined) groups.set('', [candidates[0]]);
  const ordered = [...groups.values()].map((members) => {
    const ids = new Set(members.map((m) => m.id));
    const symptoms = [...symptomOf].filter(([, causes]) => causes.some((c) => ids.has(c))).map(([id]) => id);
    return { members, symptoms, first: members[0] as AnalysisFinding };
  });
  ordered.sort(
    (a, b) =>
      compareSeverity(a.first.severity, b.first.severity) ||
      confidenceRank[a.first.confidence] - confidenceRank[b.first.confidence] ||
      nodesOf(b.members) - nodesOf(a.members) ||
      b.symptoms.length - a.symptoms.length ||
      (a.first.id < b.first.id ? -1 : 1),
  );
  return ordered.map(({ members, symptoms, first }, i) => ({
    finding: first.id,
    rank: i + 1,
    confidence: first.confidence,
    explains: symptoms,
    alsoOn: members.slice(1).map((m) => m.id),
  }));
}

/**
 * A cause that was not found by following a packet shows one that it breaks: the gravest of its symptoms with a trace that ends on one of
 * its nodes, else any.
 */
export function withBrokenPaths(
  findings: readonly AnalysisFinding[],
  causes: readonly Cause[],
): readonly AnalysisFinding[] {
  const byId = new Map(findings.map((f) => [f.id, f]));
  const shown = new Map<string, TraceJson>();
  for (const cause of causes) {
    const of = byId.get(cause.finding);
    if (of === undefined || of.trace !== undefined) continue;
    const traced = cause.explains.flatMap((id) => byId.get(id) ?? []).filter((f) => f.trace !== undefined);
    const best = traced.find((f) => of.nodes.includes(f.nodes[0])) ?? traced[0];
    if (best?.trace !== undefined) shown.set(of.id, best.trace);
  }
  return findings.map((f) => {
    const trace = shown.get(f.id);
    return trace === undefined ? f : { ...f, trace };
  });
}

/** Of a cause of few paths: in the symptom's sentence, or on the way of its packet. */
function speaksOf({ message, trace }: AnalysisFinding, about: readonly string[] | undefined): boolean {
  if (about === undefined) return true;
  const texts = [message, ...(trace?.hops ?? []).map((h) => h.text)];
  return about.some((word) => texts.some((text) => wordIn(text, word)));
}

/** 10.244.1.1 is not in a text about 10.244.1.10. */
function wordIn(text: string, word: string): boolean {
  const literal = word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(?<![\\d.])${literal}(?!\\.?\\d)`).test(text);
}

const nodesOf = (members: readonly AnalysisFinding[]) => new Set(members.flatMap((m) => m.nodes)).size;
