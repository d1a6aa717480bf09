import { type ClusterTies, clusterGroups } from './cluster.ts';

/** Up to so many nodes of a cluster every one is asked of every other; of more a ring, and a star around the first (docs/decisions/0006). */
const EVERY_NODE = 20;
/** Every node's evidence is opened again: above this many, `netcase reach` and `netcase trace` do it on demand. */
export const MOST_NODES = 60;

/** The nodes of each cluster, in the order in which they come. Nodes whose tables do not tie them to others stand alone. */
export function clusterMembers<D extends { readonly node: string; readonly ties: ClusterTies }>(
  nodes: readonly D[],
): readonly (readonly D[])[] {
  const groups = clusterGroups(nodes);
  return [...Map.groupBy(nodes, ({ node }) => groups.get(node) ?? `alone ${node}`).values()];
}

/** Of these nodes a sample is followed. */
export const isSampled = (members: readonly unknown[]): boolean => members.length > EVERY_NODE;

/** The same findings in whatever order bundles came. */
export const byNode = (a: { readonly node: string }, b: { readonly node: string }): number =>
  a.node < b.node ? -1 : 1;
