import type { End, State } from './chain.ts';
import { endKey } from './chain-merge.ts';
import type { Doubt } from './doubt.ts';
import type { BaseChain } from './rulesets.ts';

/** Sends states through chains in an order; what is ended is added to `ends`. */
export type Runner = (order: readonly BaseChain[], states: readonly State[], ends: End[]) => State[];
/** What came of one order. */
export interface Attempt {
  readonly order: readonly BaseChain[];
  readonly states: readonly State[];
  readonly ends: readonly End[];
}

/** One order of the chains, tried on the states. */
export function attempt(order: readonly BaseChain[], entering: readonly State[], runner: Runner): Attempt {
  const ends: End[] = [];
  const states = runner(order, entering, ends);
  return { order, states, ends };
}

/** All orders of up to three chains; of more, each chain once in front. */
export function orders(group: readonly BaseChain[]): (readonly BaseChain[])[] {
  if (group.length <= 1) return [group];
  if (group.length > 3) return group.map((_, i) => [...group.slice(i), ...group.slice(0, i)]);
  return group.flatMap((c, i) => orders([...group.slice(0, i), ...group.slice(i + 1)]).map((rest) => [c, ...rest]));
}

/** Orders that differ in what comes out. */
export function distinct(results: readonly Attempt[]): Attempt[] {
  const seen = new Map<string, Attempt>();
  for (const r of results) {
    const ends = [...r.ends, ...r.states.map((state): End => ({ state, verdict: 'accept', because: '' }))];
    const key = ends
      .map((e) => `${endKey(e)} ${e.state.probability.toFixed(9)} ${e.state.doubts.map((d) => `${d.key}=${d.holds}`)}`)
      .sort()
      .join('\n');
    if (!seen.has(key)) seen.set(key, r);
  }
  return [...seen.values()];
}

/** The state under further assumptions; null: it contradicts one. */
export function within(state: State, more: readonly Doubt[], own: Doubt | null): State | null {
  const doubts = [...state.doubts];
  for (const doubt of own === null ? more : [...more, own]) {
    const known = doubts.find((d) => d.key === doubt.key);
    if (known === undefined) doubts.push(doubt);
    else if (known.holds !== doubt.holds) return null;
  }
  return { ...state, doubts };
}
