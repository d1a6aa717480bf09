import type { Fact, ManyKind } from '../facts/index.ts';
import type { NetFacts } from './model.ts';

/** The fact of one namespace: a node has dozens, a packet passes two. */
export function factOf<K extends ManyKind>(facts: NetFacts, kind: K, instance: string | null): Fact<K> | undefined {
  if (instance === null) return undefined;
  if (facts.at !== undefined) return facts.at(kind, instance);
  return facts.all(kind).find((f) => f.instance === instance);
}
