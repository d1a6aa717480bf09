import { commandFor } from '../core/evidence.ts';
import { NodeFacts } from '../engine/index.ts';
import { type FactKind, isManyKind } from '../facts/index.ts';
import type { AnyRule } from '../rule/index.ts';
import type { CaseFile } from '../store/index.ts';
import { storedEvidence } from './judge.ts';
import { explainAnswer } from './tables.ts';

/** One fact that a rule asks for, and what the case has of it. */
export interface Read {
  readonly fact: string;
  /** `needs`: without it the rule is not asked; `one of`: at least one of these; `wants`: used when there. */
  readonly how: 'needs' | 'one of' | 'wants';
  /** Files it was read from; empty when it is not there. */
  readonly paths: readonly string[];
  /** Why it is not there, or not whole; '' when it is. */
  readonly because: string;
  /** Commands of the collector that give it. */
  readonly collect: readonly string[];
}

export interface Why extends ReturnType<typeof explainAnswer> {
  /** The rule's title for this answer. */
  readonly title: string;
  readonly reads: readonly Read[];
}

/** Why a rule answered as it did for one node: its answer, proof or reason, and everything that it read. */
export function whyAnswer(store: CaseFile, rules: readonly AnyRule[], id: string, node: string): Why {
  const answer = explainAnswer(store, id, node);
  const rule = rules.find((r) => r.id === id);
  const bundle = store.bundles().find((b) => b.current && b.node === node);
  const reads =
    rule === undefined || bundle === undefined ? [] : readsOf(rule, new NodeFacts(storedEvidence(store, bundle)));
  return { ...answer, title: (answer.answer === 'pass' ? rule?.title.good : rule?.title.bad) ?? '', reads };
}

function readsOf(rule: AnyRule, facts: NodeFacts): readonly Read[] {
  if (rule.scope === 'collection') return [];
  const any: readonly FactKind[] = rule.needsAny ?? [];
  const wants: readonly FactKind[] = rule.wants;
  return [
    ...(rule.needs as readonly FactKind[]).map((kind) => readOf(facts, kind, 'needs')),
    ...any.map((kind) => readOf(facts, kind, 'one of')),
    ...wants.filter((kind) => !any.includes(kind)).map((kind) => readOf(facts, kind, 'wants')),
  ];
}

function readOf(facts: NodeFacts, kind: FactKind, how: Read['how']): Read {
  const found = isManyKind(kind) ? facts.all(kind) : [];
  const one = facts.get(kind);
  const there = found.length > 0 ? found : one.missing ? [] : [one];
  const partial = there.filter((f) => !f.closed).map((f) => `${f.path} is not whole`);
  const because = there.length === 0 && one.missing ? one.because : partial.join('; ');
  const collect =
    there.length === 0 && one.missing && !one.lookedFor
      ? [...new Set(one.evidence.flatMap((id) => commandFor(id) ?? []))]
      : [];
  return { fact: kind, how, paths: there.map((f) => f.path), because, collect };
}
