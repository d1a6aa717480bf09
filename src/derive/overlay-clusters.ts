import type { TiedNode } from './cluster.ts';
import type { Source } from './devices.ts';
import { type Announced, announcedLeases, type Lease } from './k8s-leases.ts';
import { overlayPeers, ownerAmong, type Peer, strayRemotes, type Vtep } from './overlay.ts';

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
export interface OverlayDigest<V extends Vtep> extends OverlayTables {
  readonly vteps: readonly V[];
}

/** What a node has written for its peers. */
export interface OverlayTables {
  readonly peers: readonly PeerRow[];
  /** Next hops of its other routes: peers that it reaches without the overlay (DirectRouting) are among them. */
  readonly direct: readonly string[];
  /** Underlay addresses that it has forwarding entries for, and no route. */
  readonly stray: readonly string[];
  /** What flannel announces of nodes in the Kubernetes API: only a bundle that was taken with --api has them. */
  readonly leases: readonly Lease[];
  /** Why missing entries prove nothing although the tables are whole; else null. */
  readonly onDemand: string | null;
}

type Digests<V extends Vtep> = Iterable<{
  readonly node: string;
  readonly collectedAt: string | null;
  readonly bootId: string | null;
  readonly digest: OverlayDigest<V>;
}>;

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

export function overlayTables(source: Source<'links' | 'routes4' | 'neighbours' | 'fdb' | 'k8sNodes'>): OverlayTables {
  const peers = overlayPeers(source);
  const devices = new Set(peers.map((p) => p.dev));
  const [links, routes, fdb] = [source.get('links'), source.get('routes4'), source.get('fdb')];
  const others = routes.missing
    ? []
    : routes.value.routes.flatMap((r) => (r.via === undefined || devices.has(r.dev ?? '') ? [] : r.via));
  const floods = (dev: string) =>
    !fdb.missing && fdb.value.entries.some((e) => e.dev === dev && e.mac === '00:00:00:00:00:00');
  const learning = links.missing
    ? undefined
    : links.value.devices.find((d) => d.vxlan?.learning === true && floods(d.name));
  return {
    peers: peers.map(rowOf),
    direct: devices.size === 0 ? [] : [...new Set(others)],
    stray: strayRemotes(source),
    leases: announcedLeases(source),
    onDemand: learning === undefined ? null : `${learning.name} learns and floods: entries appear on demand`,
  };
}

const rowOf = (p: Peer): PeerRow => [
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

/** Its entry for one of these VTEPs has another MAC than that one. */
export const isStranger = <V extends Vtep>(other: OverlayDigest<V> | undefined, vteps: readonly Vtep[]): boolean =>
  vteps.some(({ mac, addresses }) =>
    other?.peers.some(
      ([, , gateway, , neighbour]) => addresses.includes(gateway) && neighbour?.[0] != null && neighbour[0] !== mac,
    ),
  );

/** Who may be of one cluster although no pair of MAC and address says so: the address or the MAC of a peer alone, or an entry that was left of it. */
export function* looseTies<V extends Vtep>(
  digests: Digests<V>,
  groups: ReadonlyMap<string, string | null>,
  ownerOf: ReadonlyMap<string, readonly Owner<V>[]>,
): Generator<TiedNode> {
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
): Generator<TiedNode> {
  const tie = (mac: string | null | undefined, at: string | null | undefined) =>
    mac == null || at == null ? [] : [`${mac}@${at}`];
  for (const { node, collectedAt, bootId, digest } of digests) {
    for (const vtep of digest.vteps)
      for (const a of vtep.addresses) ownerOf.set(a, [...(ownerOf.get(a) ?? []), { node, collectedAt, vtep }]);
    for (const lease of digest.leases)
      leases.set(lease.vtep, [...(leases.get(lease.vtep) ?? []), { from: node, lease }]);
    const own = digest.vteps.flatMap((v) => tie(v.mac, v.local)).map((t) => `=${t}`);
    const known = digest.peers.flatMap(([, , , , to, remotes]) => remotes.flatMap(([dst]) => tie(to?.[0], dst)));
    // what a node of this cluster announces; its own among them
    const announced = digest.leases.flatMap((l) => tie(l.mac?.value, l.underlay?.value));
    yield { node, bootId, ties: { network: null, ties: [...own, ...known, ...announced] } };
  }
}

/** An entry that is not what flannel announces of the peer: what it has, and the lines of the neighbour entry and (of an address) the forwarding entry. */
type Unlike = { readonly lease: Lease; readonly said: Announced; readonly has: string; readonly entry: number } & (
  | { readonly what: 'mac' }
  | { readonly what: 'underlay'; readonly line: number }
);

export function unlikeLease([, , , , neighbour, [remote]]: PeerRow, leased: readonly Leased[]): Unlike | null {
  const [lease, ...others] = leased.map((l) => l.lease);
  const mac = neighbour?.[0];
  if (lease === undefined || mac == null || neighbour === null) return null;
  // two collections may have seen the lease before and after it changed
  if (others.some((o) => o.mac?.value !== lease.mac?.value || o.underlay?.value !== lease.underlay?.value)) return null;
  const [, entry] = neighbour;
  if (lease.mac !== null && lease.mac.value !== mac) return { what: 'mac', lease, said: lease.mac, has: mac, entry };
  if (lease.underlay === null || remote === undefined || remote[0] === lease.underlay.value) return null;
  return { what: 'underlay', lease, said: lease.underlay, has: remote[0], entry, line: remote[1] };
}
