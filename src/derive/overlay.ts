import { isGlobal, isUnicast, parseIp, parseIp4 } from '../core/address.ts';
import type { Source } from './devices.ts';
import type { Lease } from './k8s-leases.ts';
import { perSource } from './per-source.ts';

/** A node's own end of a vxlan overlay. */
export interface Vtep {
  readonly dev: string;
  readonly mac: string | null;
  /** Underlay address; the device's `local`. */
  readonly local: string | null;
  /** IPv4 addresses on the device: what peers route to (flannel: the lease's base address). */
  readonly addresses: readonly string[];
  /** All addresses of the node: a tunnel's socket hears each of them, whatever its `local` is. */
  readonly hears: readonly string[];
  readonly line: number;
  readonly endLine?: number | undefined;
}

interface PeerNeighbour {
  readonly mac: string | null;
  readonly line: number;
  /** STALE, REACHABLE ...: the kernel may forget it; null: it stays, or nothing tells. */
  readonly passing: string | null;
}

/** What a node has installed to reach one peer's pods: route, neighbour, forwarding entries. */
export interface Peer {
  readonly dev: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly routeLine: number;
  readonly neighbour: PeerNeighbour | null;
  readonly remotes: readonly { readonly dst: string; readonly line: number }[];
}

const isOverlay = (name: string) => /^flannel[.-]/.test(name);

export const vteps = perSource((source: Source<'links' | 'addresses'>): readonly Vtep[] => {
  const links = source.get('links');
  if (links.missing) return [];
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const byName = new Map(devices.map((d) => [d.name, d]));
  // one for each service, and nobody's end of a tunnel
  const ends = devices.filter((d) => d.name !== 'kube-ipvs0');
  const hears = ends.flatMap((d) => d.addresses.map((a) => a.address)).filter(isUnicast);
  return links.value.devices.flatMap((d) => {
    if (d.vxlan === undefined || !isOverlay(d.name)) return [];
    const own = (byName.get(d.name)?.addresses ?? d.addresses).filter((a) => a.family === 4).map((a) => a.address);
    return [
      {
        dev: d.name,
        mac: d.mac ?? null,
        local: d.vxlan.local ?? null,
        addresses: own,
        hears,
        line: d.line,
        endLine: d.endLine,
      },
    ];
  });
});

/**
 * Ends whose own IPv4 underlay address the node does not have, by a whole list of its addresses: it was renumbered under them. The device below has
 * to be in the list with an address, so that a part of `ip addr`, or `ip -6 addr`, is not taken for all.
 */
export function homeless(source: Source<'links' | 'addresses'>): readonly Vtep[] {
  const [links, addresses] = [source.get('links'), source.get('addresses')];
  if (links.missing || addresses.missing || !addresses.closed) return [];
  const listed = new Set(
    addresses.value.devices.filter((d) => d.addresses.some((a) => a.family === 4)).map((d) => d.name),
  );
  const under = new Map(links.value.devices.map((d) => [d.name, d.vxlan?.dev]));
  return vteps(source).filter(
    ({ dev, local, hears }) =>
      local !== null && parseIp4(local) !== null && !hears.includes(local) && listed.has(under.get(dev) ?? ''),
  );
}

/** A peer that none of a node's next hops is: not by the overlay and not, as with DirectRouting, by an address of its own. */
export function isUnrouted(own: readonly Vtep[], peer: Vtep, hops: ReadonlySet<string>): boolean {
  const same = own.filter((v) => v.dev === peer.dev);
  // of one and the same lease: neither can have a route to the other
  if (same.length === 0 || same.some((v) => v.addresses.some((a) => peer.addresses.includes(a)))) return false;
  return ![...peer.addresses, ...peer.hears, peer.local ?? ''].some((a) => hops.has(a));
}

/** The same of a node that is known by what flannel announces of it. */
export function isUnroutedLease(
  own: readonly Vtep[],
  { vtep, mac, underlay }: Lease,
  hops: ReadonlySet<string>,
): boolean {
  // without a MAC it is of another backend, or did not join yet
  if (mac === null || own.some((v) => v.addresses.includes(vtep))) return false;
  return !hops.has(vtep) && !hops.has(underlay?.value ?? '');
}

/** Whether `to`, where others send to a tunnel's end, may be of a router in front of its node: announced of it, or a public address where its own is not. */
export function isFronted({ local, hears }: Vtep, to: string, announced: readonly string[]): boolean {
  if (local === null || to === local || hears.includes(to)) return false;
  const [outer, inner] = [parseIp(to), parseIp(local)];
  if (outer === null || inner === null || announced.length > 0) return announced.includes(to);
  return isGlobal(outer) && !isGlobal(inner);
}

/**
 * Whom a peer's gateway address belongs to. Two clusters in one case may use the same pod range, and even the same LAN (a staging copy): a node
 * that is tied to this one comes first, then the one whose address or MAC is written; where both are wrong only a tied one can be meant.
 */
export function ownerAmong<O extends { readonly node: string; readonly vtep: Vtep }>(
  all: readonly O[],
  self: string,
  mac: string | null | undefined,
  remotes: readonly string[],
  groups: ReadonlyMap<string, string | null>,
): O | undefined {
  const others = all.filter((o) => o.node !== self);
  const tied = others.filter((o) => isTied(groups, o.node, self));
  const at = ({ vtep }: O) => vtep.local !== null && remotes.includes(vtep.local);
  const has = ({ vtep }: O) => vtep.mac !== null && vtep.mac === mac;
  // of one node there may be bundles of two days, with a MAC each
  const named = (some: readonly O[]) => some.find((o) => at(o) && has(o)) ?? some.find(at) ?? some.find(has);
  return named(tied) ?? (tied.length === 1 ? tied[0] : named(others));
}

/** Whether something that was collected of one of them names the other, or both name a third. */
export function isTied(groups: ReadonlyMap<string, string | null>, a: string, b: string): boolean {
  const group = groups.get(a);
  return group != null && group === groups.get(b);
}

/** Routes with a gateway over a flannel vxlan device, each with the entries that the kernel would use. */
export const overlayPeers = perSource((source: Source<'links' | 'routes4' | 'neighbours' | 'fdb'>): Peer[] => {
  const links = source.get('links');
  const routes = source.get('routes4');
  const neighbours = source.get('neighbours');
  const fdb = source.get('fdb');
  if (links.missing || routes.missing || neighbours.missing || fdb.missing) return [];
  const devices = new Set(
    links.value.devices.filter((d) => d.vxlan !== undefined && isOverlay(d.name)).map((d) => d.name),
  );
  const neighbourAt = new Map<string, PeerNeighbour>();
  for (const n of neighbours.value.entries) {
    // FAILED and INCOMPLETE have no MAC: as good as none
    if (!devices.has(n.dev)) continue;
    const passing = n.state.some((s) => s === 'PERMANENT' || s === 'NOARP') ? null : (n.state[0] ?? null);
    neighbourAt.set(`${n.dev} ${n.ip}`, { mac: n.mac ?? null, line: n.line, passing });
  }
  const remotesOf = new Map<string, { dst: string; line: number }[]>();
  for (const e of fdb.value.entries) {
    if (e.dst === undefined || !devices.has(e.dev)) continue;
    const key = `${e.dev} ${e.mac}`;
    remotesOf.set(key, [...(remotesOf.get(key) ?? []), { dst: e.dst, line: e.line }]);
  }
  return routes.value.routes.flatMap((r) => {
    if (r.via === undefined || r.dev === undefined || !devices.has(r.dev) || r.type !== 'unicast') return [];
    const neighbour = neighbourAt.get(`${r.dev} ${r.via}`) ?? null;
    const remotes = neighbour?.mac == null ? [] : (remotesOf.get(`${r.dev} ${neighbour.mac}`) ?? []);
    return [{ dev: r.dev, subnet: r.dst, gateway: r.via, routeLine: r.line, neighbour, remotes }];
  });
});

/** Where forwarding entries of flannel's vxlan devices send to that no route leads to: what is left of a peer whose route is gone. */
export function strayRemotes(source: Source<'links' | 'routes4' | 'neighbours' | 'fdb'>): readonly string[] {
  const fdb = source.get('fdb');
  if (fdb.missing) return [];
  const asked = new Set(overlayPeers(source).flatMap((p) => p.remotes.map((r) => r.dst)));
  const stray = fdb.value.entries.flatMap((e) =>
    e.dst === undefined || !isOverlay(e.dev) || asked.has(e.dst) ? [] : [e.dst],
  );
  return [...new Set(stray)];
}
