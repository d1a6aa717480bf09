import type { Source } from './devices.ts';
import { perSource } from './per-source.ts';

/** A node's own end of a vxlan overlay. */
export interface Vtep {
  readonly dev: string;
  readonly mac: string | null;
  /** Underlay address; the device's `local`. */
  readonly local: string | null;
  /** IPv4 addresses on the device: what peers route to (flannel: the lease's base address). */
  readonly addresses: readonly string[];
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

export function vteps(source: Source<'links' | 'addresses'>): Vtep[] {
  const links = source.get('links');
  if (links.missing) return [];
  const addresses = source.get('addresses');
  const byName = new Map(addresses.missing ? [] : addresses.value.devices.map((d) => [d.name, d]));
  return links.value.devices.flatMap((d) => {
    if (d.vxlan === undefined || !isOverlay(d.name)) return [];
    const own = (byName.get(d.name)?.addresses ?? d.addresses).filter((a) => a.family === 4).map((a) => a.address);
    return [
      {
        dev: d.name,
        mac: d.mac ?? null,
        local: d.vxlan.local ?? null,
        addresses: own,
        line: d.line,
        endLine: d.endLine,
      },
    ];
  });
}

/** A peer that none of a node's next hops is: not by the overlay and not, as with DirectRouting, by its underlay address. */
export function isUnrouted(own: readonly Vtep[], peer: Vtep, hops: ReadonlySet<string>): boolean {
  const same = own.filter((v) => v.dev === peer.dev);
  // of one and the same lease: neither can have a route to the other
  if (same.length === 0 || same.some((v) => v.addresses.some((a) => peer.addresses.includes(a)))) return false;
  return !peer.addresses.some((a) => hops.has(a)) && (peer.local === null || !hops.has(peer.local));
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
