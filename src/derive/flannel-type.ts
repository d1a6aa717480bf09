import { formatPrefix, parseIp4, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind, Route } from '../facts/index.ts';
import { clusterTies } from './cluster.ts';
import { type DeviceKinds, isFlannel, type Source, uplinks } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { flannelBackend } from './flannel-backend.ts';
import { overlayPeers } from './overlay.ts';
import { type PlaceOf, placeOf } from './pod-peers.ts';

type Kinds = DeviceKinds | 'routes4' | 'flannelEnv' | 'flannelNetConf' | 'flanneldArgs' | 'k8sNodes';

/** A backend of flannel, and the line that tells it. */
export interface TypeAt {
  readonly type: string;
  readonly at: PlaceOf;
}

/** What tells the backend of one node. */
export interface FlannelTypes {
  /** What flanneld wrote into the API when it started; else null. */
  readonly announced: TypeAt | null;
  /** What its routes to other nodes' pods tell, when all of them tell one; else null. */
  readonly routed: TypeAt | null;
  /** net-conf.json: what flanneld will take when it starts next; else null. */
  readonly configured: TypeAt | null;
  /** It has a route to another node's pods, whatever that tells. */
  readonly peers: boolean;
}

/** Devices that each but one backend makes. */
function ofDevice(name: string): string | null {
  if (/^flannel\.\d+$/.test(name)) return 'vxlan';
  if (name === 'flannel0') return 'udp';
  if (name.startsWith('flannel-wg')) return 'wireguard';
  return name === 'flannel.ipip' ? 'ipip' : null;
}

export function flannelTypes(source: Source<Kinds>, hostname: string | null): FlannelTypes {
  const { fact, found, direct, device } = podRoutes(source);
  const [first, ...more] = [...found];
  const backend = flannelBackend(source);
  const mayBeDirect = typeof backend !== 'string' && backend.directRouting;
  let routed: TypeAt | null = null;
  if (fact !== null && first !== undefined && more.length === 0 && direct === null)
    routed = { type: first[0], at: placeOf(fact, first[1]) };
  // vxlan and ipip with DirectRouting have such routes as well, and a device, which may be missing
  else if (fact !== null && direct !== null && found.size === 0 && device === 'none' && !mayBeDirect)
    routed = { type: 'host-gw', at: placeOf(fact, direct) };
  const configured =
    typeof backend === 'string' ? null : { type: backend.type, at: placeOf(backend.fact, backend.span) };
  return { announced: announcedType(source, hostname), routed, configured, peers: found.size > 0 || direct !== null };
}

/** Routes to pods of other nodes by the backend whose device they lead into, and the first that leads to a node without one. */
function podRoutes(source: Source<Kinds>): {
  readonly fact: Fact<'routes4'> | null;
  readonly found: ReadonlyMap<string, Span>;
  readonly direct: Span | null;
  /** Whether flannel has a device here at all. */
  readonly device: 'none' | 'some' | 'unknown';
} {
  const fact = source.get('routes4');
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const some = devices.some((d) => isFlannel(d.name) || d.name === 'flannel0');
  const device = some ? 'some' : addresses.missing || !addresses.closed ? 'unknown' : 'none';
  const found = new Map<string, Span>();
  const network = flannelLease(source)?.network?.prefix ?? null;
  if (fact.missing) return { fact: null, found, direct: null, device };
  let direct: Route | null = null;
  const types = new Map<string, string | null>();
  const typeOf = (dev: string) => {
    const type = types.get(dev) ?? ofDevice(dev);
    types.set(dev, type);
    return type;
  };
  for (const route of fact.value.routes) {
    const { dev, via, type, table } = route;
    if (dev === undefined || type !== 'unicast' || table !== 'main') continue;
    const by = typeOf(dev);
    // udp and wireguard have one route for the whole network, without a next hop
    if (by !== null && (via !== undefined || by === 'udp' || by === 'wireguard')) {
      if (!found.has(by)) found.set(by, route);
    } else if (by === null && direct === null && via !== undefined && network !== null) {
      const prefix = parsePrefix(route.dst);
      if (prefix !== null && prefix.length > network.length && prefixCovers(network, prefix)) direct = route;
    }
  }
  return { fact, found, direct, device };
}

function announcedType(source: Source<'k8sNodes'>, hostname: string | null): TypeAt | null {
  const fact = source.get('k8sNodes');
  if (fact.missing) return null;
  const { nodes } = fact.value;
  const own =
    nodes.find((n) => n.name === hostname?.toLowerCase()) ?? (fact.evidence === 'k8s.node' ? nodes[0] : undefined);
  const said = own?.backendType;
  return said === undefined ? null : { type: said.value, at: placeOf(fact, said) };
}

/** One type of backend in a list of the cluster's nodes. */
export interface ListedType extends TypeAt {
  readonly count: number;
  /** Some of the nodes that have it. */
  readonly names: readonly string[];
}

/** Names of nodes that are kept of each type. */
export const NAMED = 8;

/** What flannel announces of several nodes of one API, most frequent first; empty: one type, or no list. */
export function listedTypes(source: Source<'k8sNodes'>): ListedType[] {
  const fact = source.get('k8sNodes');
  if (fact.missing || fact.value.nodes.length < 2) return [];
  const types = new Map<string, { at: PlaceOf; names: string[]; count: number }>();
  for (const { name, backendType } of fact.value.nodes) {
    if (backendType === undefined) continue;
    const known = types.get(backendType.value) ?? { at: placeOf(fact, backendType), names: [], count: 0 };
    known.count += 1;
    if (known.names.length < NAMED) known.names.push(name);
    types.set(backendType.value, known);
  }
  if (types.size < 2) return [];
  return [...types]
    .map(([type, t]) => ({ type, ...t }))
    .sort((a, b) => b.count - a.count || (a.type < b.type ? -1 : 1));
}

type TieKinds = Kinds | 'links' | 'fdb' | 'neighbours';
export const TIE_KINDS = ['links', 'fdb', 'neighbours'] as const satisfies readonly FactKind[];

/** A pod subnet at a node's address: two clusters may share a pod range or a wire, not both of these. */
export const leaseTie = (subnet: string, address: string): string => `${subnet}>${address}`;

/** Of the node itself: its lease at each of its own addresses. */
export function ownTies(source: Source<Kinds>): {
  readonly subnet: string | null;
  readonly addresses: readonly string[];
} {
  const lease = flannelLease(source);
  const addresses = source.get('addresses');
  const up = new Set(uplinks(source).map((u) => u.dev));
  const network = lease?.network?.prefix;
  const own = addresses.missing
    ? []
    : addresses.value.devices.filter((d) => up.has(d.name)).flatMap((d) => d.addresses);
  return {
    subnet: lease?.subnet == null ? null : formatPrefix(lease.subnet.prefix),
    addresses: own
      .map((a) => a.address)
      .filter((a) => parseIp4(a) !== null)
      .filter((a) => {
        const ip = parsePrefix(a);
        return ip !== null && (network === undefined || !prefixCovers(network, ip));
      })
      .slice(0, 4),
  };
}

/** Of every other node that it has entries for, by whichever backend; its own among them. */
export function knownTies(source: Source<TieKinds>): ReadonlySet<string> {
  const ties = new Set(clusterTies(source).ties ?? []);
  for (const { subnet, remotes } of overlayPeers(source))
    for (const { dst } of remotes) ties.add(leaseTie(subnet, dst));
  return ties;
}
