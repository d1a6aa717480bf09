import { clusterGroups, knownAt, type TiedNode } from './cluster.ts';

/** Up to so many nodes of a cluster every one is asked of every other; of more a ring, and a star around the first (docs/decisions/0006). */
const EVERY_NODE = 20;
/** Every node's evidence is opened again: above this many, `netcase reach` and `netcase trace` do it on demand. */
export const MOST_NODES = 60;

/** Nodes of one cluster, in the order in which they come. */
export interface Members<D> {
  readonly members: readonly D[];
  /** Nodes of other clusters that are numbered alike, so that they stand on other networks: no packet of this cluster meets them. */
  readonly elsewhere: ReadonlySet<string>;
}

/** The clusters of a case. Nodes whose tables do not tie them to others stand alone. */
export function clusterMembers<D extends TiedNode>(nodes: readonly D[]): readonly Members<D>[] {
  const groups = clusterGroups(nodes);
  const clusters = [...Map.groupBy(nodes, ({ node }) => groups.get(node) ?? `alone ${node}`).values()];
  const places = new Map(clusters.map((members) => [members, new Set(members.flatMap((m) => knownAt(m.ties)))]));
  return clusters.map((members) => {
    const own = [...(places.get(members) ?? [])];
    const alike = clusters.filter((c) => {
      const theirs = places.get(c);
      // a node alone may be a neighbour with a wrong address
      return c !== members && c.length > 1 && members.length > 1 && own.some((address) => theirs?.has(address));
    });
    return { members, elsewhere: new Set(alike.flat().map((m) => m.node)) };
  });
}

/** Of these nodes a sample is followed. */
export const isSampled = (members: readonly unknown[]): boolean => members.length > EVERY_NODE;

/** The same findings in whatever order bundles came. */
export const byNode = (a: { readonly node: string }, b: { readonly node: string }): number =>
  a.node < b.node ? -1 : 1;

const DAY = 86_400_000;

/**
 * A path over bundles of different days is one that no packet took: leases, pods and devices of the older one may be gone. What to say of
 * these nodes; null: their bundles are of one day, or nobody knows of which.
 */
export function daysApart(nodes: Iterable<string>, collectedAt: ReadonlyMap<string, string | null>): string | null {
  const times = [...new Set(nodes)].flatMap((node) => {
    const at = Date.parse(collectedAt.get(node) ?? '');
    return Number.isNaN(at) ? [] : [{ node, at }];
  });
  times.sort((a, b) => a.at - b.at);
  const [first] = times;
  const last = times.at(-1);
  if (first === undefined || last === undefined || last.at - first.at <= DAY) return null;
  const days = Math.floor((last.at - first.at) / DAY);
  return `the bundle of ${first.node} is ${days === 1 ? 'more than a day' : `${days} days`} older than that of ${last.node}`;
}
