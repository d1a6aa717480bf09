import type { ClusterTies } from './cluster.ts';
import type { Lease } from './k8s-leases.ts';
import { ownerAmong, type Peer, type Vtep } from './overlay.ts';

/** A peer as a tuple: every node has one for every other node, so each byte counts twice over the fleet. */
export type PeerRow = readonly [
  dev: string,
  subnet: string,
  gateway: string,
  routeLine: number,
  neighbour: readonly [mac: string | null, line: number, passing?: string] | null,
  remotes: readonly (readonly [dst: string, line: number])[],
];

/** What of a node tells whom it is in one overlay with. */
export interface OverlayDigest<V extends Vtep> {
  readonly vteps: readonly V[];
  readonly peers: readonly PeerRow[];
  /** Underlay addresses that it has forwarding entries for, and no route. */
  readonly stray: readonly string[];
  /** What flannel announces of nodes in the Kubernetes API: only a bundle that was taken with --api has them. */
  readonly leases: readonly Lease[];
}

type Digests<V extends Vtep> = Iterable<{
  readonly node: string;
  readonly collectedAt: string | null;
  readonly digest: OverlayDigest<V>;
}>;
type Tied = { readonly node: string; readonly ties: ClusterTies };

export interface Owner<V extends Vtep> {
  readonly node: string;
  /** Time of its bundle, as ISO 8601; null: not known. */
  readonly collectedAt: string | null;
  readonly vtep: V;
}

/** A lease, and the bundle that has it. */
export interface Leased {
  readonly from: string;
  readonly lease: Lease;
}

export const rowOf = (p: Peer): PeerRow => [
  p.dev,
  p.subnet,
  p.gateway,
  p.routeLine,
  p.neighbour === null ? null : entryOf(p.neighbour),
  p.remotes.map((r) => [r.dst, r.line]),
];

const entryOf = ({ mac, line, passing }: NonNullable<Peer['neighbour']>): NonNullable<PeerRow[4]> =>
  passing === null ? [mac, line] : [mac, line, passing];

/** Whom the entries of a peer are for, among those whose bundle is here. */
export const ownerOfPeer = <V extends Vtep>(
  self: string,
  [, , gateway, , neighbour, remotes]: PeerRow,
  ownerOf: ReadonlyMap<string, readonly Owner<V>[]>,
  groups: ReadonlyMap<string, string | null>,
): Owner<V> | undefined =>
  ownerAmong(
    ownerOf.get(gateway) ?? [],
    self,
    neighbour?.[0],
    remotes.map(([to]) => to),
    groups,
  );

/** Who may be of one cluster although no pair of MAC and address says so: the address or the MAC of a peer alone, or an entry that was left of it. */
export function* looseTies<V extends Vtep>(
  digests: Digests<V>,
  groups: ReadonlyMap<string, string | null>,
  ownerOf: ReadonlyMap<string, readonly Owner<V>[]>,
): Generator<Tied> {
  const at = Map.groupBy([...ownerOf.values()].flat(), (o) => o.vtep.local);
  for (const { node, digest } of digests) {
    const met = [
      ...digest.peers.flatMap((peer) => ownerOfPeer(node, peer, ownerOf, groups) ?? []),
      ...digest.stray.flatMap((to) => at.get(to) ?? []),
    ];
    yield { node, ties: { network: null, ties: [node, ...met.map((o) => o.node)].map((n) => `${groups.get(n)}`) } };
  }
}

/** The pairs of VTEP MAC and underlay address that a node has or knows: two clusters may share a pod range, not these. Notes on its way who has what. */
export function* ties<V extends Vtep>(
  digests: Digests<V>,
  ownerOf: Map<string, Owner<V>[]>,
  leases: Map<string, Leased[]>,
): Generator<Tied> {
  const tie = (mac: string | null | undefined, at: string | null | undefined) =>
    mac == null || at == null ? [] : [`${mac}@${at}`];
  for (const { node, collectedAt, digest } of digests) {
    for (const vtep of digest.vteps)
      for (const a of vtep.addresses) ownerOf.set(a, [...(ownerOf.get(a) ?? []), { node, collectedAt, vtep }]);
    for (const lease of digest.leases)
      leases.set(lease.vtep, [...(leases.get(lease.vtep) ?? []), { from: node, lease }]);
    const own = digest.vteps.flatMap((v) => tie(v.mac, v.local));
    const known = digest.peers.flatMap(([, , , , to, remotes]) => remotes.flatMap(([dst]) => tie(to?.[0], dst)));
    // what a node of this cluster announces; its own among them
    const announced = digest.leases.flatMap((l) => tie(l.mac?.value, l.underlay?.value));
    yield { node, ties: { network: null, ties: [...own, ...known, ...announced] } };
  }
}
