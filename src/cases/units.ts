import { clusterGroups, clusterTies } from '../derive/cluster.ts';
import { NodeFacts } from '../engine/index.ts';
import { byNumber } from '../report/names.ts';
import type { CaseFile } from '../store/index.ts';
import { storedEvidence } from './judge.ts';

/** Nodes that belong together, by name; one node whose tables tie it to no other is a unit of its own. */
export interface Unit {
  readonly nodes: readonly [string, ...string[]];
  /** Flannel's network, as `10.244.0.0/16`; null: not known, or none. */
  readonly podNetwork: string | null;
}

/** The clusters of a case, by the ties in their nodes' tables (docs/decisions/0003). */
export function unitsOf(store: Pick<CaseFile, 'bundles' | 'evidenceOf' | 'readBlob'>): Unit[] {
  const nodes = store
    .bundles()
    .filter((b) => b.current)
    .map((b) => ({ node: b.node, bootId: b.bootId, ties: clusterTies(new NodeFacts(storedEvidence(store, b))) }))
    .sort((a, b) => byNumber(a.node, b.node));
  const groups = clusterGroups(nodes);
  const networks = new Map(nodes.map(({ node, ties }) => [node, ties.network]));
  const units = Map.groupBy(networks.keys(), (node) => groups.get(node) ?? node);
  return [...units.values()].map((members) => ({
    nodes: members as [string, ...string[]],
    podNetwork: networks.get(members[0] as string) ?? null,
  }));
}
