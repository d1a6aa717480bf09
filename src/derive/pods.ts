import type { Prefix } from '../core/address.ts';
import { addressAt, formatIp, formatPrefix, parsePrefix, prefixContains, prefixCovers } from '../core/address.ts';
import type { Fact, FactKind, Route } from '../facts/index.ts';
import type { ContainerBridge, DeviceKinds, Source } from './devices.ts';
import { attachedBridges, podDevices, uplinks } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { perSource } from './per-source.ts';

/** What podFlows and podNetworks use beside addresses and routes: a rule that asks them declares these kinds among its wants. */
export const POD_KINDS = [
  'bridges',
  'sysfs',
  'dockerNetworks',
  'dockerContainers',
  'cniLeases',
  'netnsAddresses',
  'flannelEnv',
] as const satisfies readonly FactKind[];

/** Packets that stand for all that containers send: rules often single out a protocol or a port. */
export const POD_PROBES = [{ proto: 'tcp', dport: 443 }, { proto: 'udp', dport: 53 }, { proto: 'icmp' }] as const;

export type PodKinds = DeviceKinds | 'routes4' | 'flannelEnv';

/** A container network of this node that must reach others: its bridge, and whether it is part of a cluster's pod network. */
export interface PodNetwork {
  readonly bridge: ContainerBridge;
  readonly prefix: Prefix;
  readonly line: number;
  /** An address to test with: a running container's, a leased one, else the eleventh of the prefix, as host-local and docker hand them out. */
  readonly sample: string;
  /** `sample` is known to be in use: rules for single addresses (the CNI firewall plugin writes them) apply to it. */
  readonly live: boolean;
  /** Inside FLANNEL_NETWORK: other nodes' pods talk to it. */
  readonly clustered: boolean;
}

export interface LiveSource extends Source<PodKinds | 'dockerContainers' | 'cniLeases'> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

export const podNetworks = perSource((source: LiveSource): readonly PodNetwork[] => {
  const cluster = flannelLease(source)?.network?.prefix ?? null;
  return attachedBridges(source).bridges.flatMap((bridge) =>
    bridge.prefixes.slice(0, 1).flatMap(({ prefix, address, line }) => {
      const any = addressAt(prefix, 10);
      if (any === null) return [];
      const clustered = cluster !== null && prefixCovers(cluster, prefix);
      const live = addressesIn(source, prefix, address)[0] ?? null;
      const sample = live ?? leasedAddress(source, prefix, address) ?? formatIp(any);
      return [{ bridge, prefix, line, sample, live: live !== null, clustered }];
    }),
  );
});

/** So many pods with a device of their own are asked about: they stand for all. */
const MOST_PODS = 4;

/** As CNI plugins name the devices that they make (Calico, AWS, Azure, GKE, ptp): another veth with a host route may lead to anybody's namespace. */
const MADE_BY_CNI = /^(cali|eni|azv|gke|veth)[0-9a-f]{7,11}$/;

/** Pods that a host route leads to by a device of their own, without a bridge (Calico, AWS VPC CNI, kindnet), each as a network of one address. */
export const routedPods = perSource((source: LiveSource): readonly PodNetwork[] =>
  podDevices(source)
    .filter(({ device }) => MADE_BY_CNI.test(device.name))
    .slice(0, MOST_PODS)
    .flatMap(({ device, pod }): PodNetwork[] => {
      const addresses = source.get('addresses');
      const prefix = parsePrefix(`${pod}/32`);
      if (prefix === null || addresses.missing) return [];
      const bridge = { name: device.name, device, fact: addresses, ports: [], prefixes: [] };
      return [{ bridge, prefix, line: device.line, sample: pod, live: true, clustered: false }];
    }),
);

const insideOf =
  (prefix: Prefix, gateway: string) =>
  (text: string | undefined): text is string => {
    const ip = text === undefined || text === gateway ? null : parsePrefix(`${text}/32`);
    return ip !== null && prefixCovers(prefix, ip);
  };

/** Addresses of the prefix that containers have: by their namespaces, then by docker. */
function addressesIn(source: LiveSource, prefix: Prefix, gateway: string): string[] {
  const inside = insideOf(prefix, gateway);
  const spaces = source
    .all('netnsAddresses')
    .flatMap((f) => f.value.devices.flatMap((d) => d.addresses.map((a) => a.address)));
  const docker = source.get('dockerContainers');
  const running = docker.missing ? [] : docker.value.containers.filter((c) => c.state === 'running');
  return [...spaces, ...running.flatMap((c) => c.networks.map((n) => n.ip))].filter(inside);
}

/** Addresses that containers of a network are known to have. */
export const liveAddresses = (source: LiveSource, { prefix, bridge }: PodNetwork): readonly string[] =>
  addressesIn(source, prefix, bridge.prefixes[0]?.address ?? '');

/** host-local keeps a lease when its pod went without notice. */
function leasedAddress(source: LiveSource, prefix: Prefix, gateway: string): string | null {
  const leases = source.get('cniLeases');
  if (leases.missing) return null;
  return leases.value.leases.map((l) => l.ip).find(insideOf(prefix, gateway)) ?? null;
}

/** Routes to other nodes' pod subnets: inside the cluster's range, by a next hop, over the overlay or the underlay. */
export const peerRoutes = perSource(
  (
    source: Source<'routes4' | 'flannelEnv'>,
  ): readonly { readonly route: Route; readonly dev: string; readonly sample: string }[] => {
    const routes = source.get('routes4');
    const cluster = flannelLease(source)?.network?.prefix ?? null;
    if (routes.missing || cluster === null) return [];
    return routes.value.routes.flatMap((route) => {
      const prefix = route.table === 'main' && route.type === 'unicast' ? parsePrefix(route.dst) : null;
      if (prefix === null || route.via === undefined || route.dev === undefined) return [];
      if (prefix.length <= cluster.length || !prefixCovers(cluster, prefix)) return [];
      const sample = addressAt(prefix, 10);
      return sample === null ? [] : [{ route, dev: route.dev, sample: formatIp(sample) }];
    });
  },
);

/** The same of flannel's backends wireguard and udp, whose devices carry IP without a next hop: one route may be for all nodes. */
export const pointedRoutes = perSource((source: Source<'routes4' | 'flannelEnv'>): ReturnType<typeof peerRoutes> => {
  const routes = source.get('routes4');
  const lease = flannelLease(source);
  const cluster = lease?.network?.prefix ?? null;
  const own = lease?.subnet?.prefix ?? null;
  if (routes.missing || cluster === null || own === null) return [];
  return routes.value.routes.flatMap((route) => {
    const { table, type, via, dev } = route;
    const prefix = parsePrefix(route.dst);
    if (table !== 'main' || type !== 'unicast' || via !== undefined || dev === undefined || prefix === null) return [];
    if (!/^flannel(-wg|\d+)$/.test(dev) || !prefixCovers(cluster, prefix)) return [];
    // of a route for all nodes the node's own lease is no peer's
    const samples = [10, 2 ** (32 - own.length) + 10].map((offset) => addressAt(prefix, offset));
    const sample = samples.find((ip) => ip !== null && !prefixContains(own, ip));
    return sample == null ? [] : [{ route, dev, sample: formatIp(sample) }];
  });
});

/** Why flows between nodes are missing in podFlows although flannel is here; else null. */
export function unaskedPeers(source: Source<PodKinds>): string | null {
  const routes = source.get('routes4');
  const lease = source.get('flannelEnv');
  if (!lease.missing || routes.missing) return null;
  const peer = routes.value.routes.find((r) => r.table === 'main' && /^flannel/.test(r.dev ?? ''));
  if (peer === undefined) return null;
  return `whether FORWARD lets through what pods of other nodes send (by ${peer.dev}): flannel’s subnet.env ${lease.because}`;
}

/** Why flows that should be in podFlows are not: the line of the route that they take may be among those that did not come; else null. */
export function unaskedWays(source: LiveSource, flows: readonly PodFlow[]): string | null {
  const routes = source.get('routes4');
  if (routes.missing || routes.closed) return null;
  const asked = new Set(flows.filter((f) => f.dst === OUTSIDE).map((f) => f.net.bridge.name));
  const net = podNetworks(source).find((n) => !asked.has(n.bridge.name));
  if (net === undefined) return null;
  return `whether FORWARD lets containers on ${net.bridge.name} out: the node’s routes were not collected whole, and no default route is among them`;
}

/** Of a flow that routing did not decide: what would. */
export const undecidedWay = ({ name, oif }: PodFlow): readonly [because: string, evidence: readonly string[]] => [
  `whether FORWARD lets ${name} through: by ${oif} it does, but policy rules that could send them by another device were not read`,
  ['ip.rule4'],
];

/** Traffic that a node with containers has to forward. */
export interface PodFlow {
  readonly name: string;
  readonly src: string;
  readonly dst: string;
  readonly iif: string;
  readonly oif: string;
  readonly severity: 'critical' | 'high';
  /** What it is traffic of: the cluster's pod network, else the bridge's own. */
  readonly range: string;
  /** Its container's address is one in use. */
  readonly live: boolean;
  /** Set: the same by a device that no rule names, for routing did not decide that it leaves by `oif`. */
  readonly elsewhere: { readonly oif: string } | null;
  readonly net: PodNetwork;
  /** Which end the container is. */
  readonly end: 'src' | 'dst';
  /** The line that makes it traffic of this node: the route to the peer, or the address of the bridge. */
  readonly fact: Fact<'addresses'> | Fact<'routes4'>;
  readonly line: number;
}

/**
 * An address that stands for everything outside: a.root-servers.net. One of a documentation range would not do: ip-masq-agent leaves those
 * untranslated, and firewalls drop them as bogons.
 */
export const OUTSIDE = '198.41.0.4';

/** A new connection from a container to the outside. */
export const outward = (net: PodNetwork) =>
  ({ src: net.sample, dst: OUTSIDE, iif: net.bridge.name, proto: 'tcp', dport: 443 }) as const;

/** The device of the default route that wins by the main table alone: what is left to go by when policy rules were not collected. */
export function defaultDevice(source: Source<'routes4'>): string | null {
  const [first] = uplinks(source);
  return first?.why === 'default route' ? first.dev : null;
}

/**
 * New connections of containers: to and from other nodes' pods, and to the outside by the devices that `decide` says routing chooses for `outward`.
 * Where routing could not decide (policy rules were not collected) the main table's default route stands in, and the flow counts as an assumed one.
 */
export function podFlows(source: LiveSource, decide: (net: PodNetwork) => readonly string[]): readonly PodFlow[] {
  const cluster = flannelLease(source)?.network?.prefix ?? null;
  const routes = source.get('routes4');
  const [peer] = [...peerRoutes(source), ...pointedRoutes(source)];
  return [...podNetworks(source), ...routedPods(source)].flatMap((net): PodFlow[] => {
    const { name } = net.bridge;
    const decided = decide(net);
    const assumed = decided.length === 0 ? defaultDevice(source) : null;
    const range = formatPrefix(net.clustered && cluster !== null ? cluster : net.prefix);
    const flows: PodFlow[] = [];
    if (net.clustered && peer !== undefined && !routes.missing) {
      const why = {
        severity: 'critical',
        fact: routes,
        line: peer.route.line,
        live: net.live,
        range,
        net,
        elsewhere: null,
      } as const;
      const ends = { theirs: peer.sample, ours: net.sample };
      flows.push({
        name: 'other nodes’ pods to its own',
        src: ends.theirs,
        dst: ends.ours,
        iif: peer.dev,
        oif: name,
        end: 'dst',
        ...why,
      });
      flows.push({
        name: 'its pods to those of other nodes',
        src: ends.ours,
        dst: ends.theirs,
        iif: name,
        oif: peer.dev,
        end: 'src',
        ...why,
      });
    }
    for (const out of assumed === null ? decided : [assumed])
      if (out !== name)
        flows.push({
          name: 'its containers to the outside',
          src: net.sample,
          dst: OUTSIDE,
          iif: name,
          oif: out,
          severity: 'high',
          range,
          fact: net.bridge.fact,
          line: net.line,
          live: net.live && assumed === null,
          elsewhere: assumed === null ? null : { oif: 'netcase-any' },
          net,
          end: 'src',
        });
    return flows;
  });
}
