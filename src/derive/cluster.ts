import { formatPrefix, type Prefix, parsePrefix, prefixCovers } from '../core/address.ts';
import type { LinkDevice } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { isFlannel, uplinks } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { perSource } from './per-source.ts';

/**
 * What ties a node to its cluster: VTEPs it knows (MAC at underlay address) and pod routes by next hop (and its MAC, where a neighbour entry
 * tells it), and what others know it by, marked `=`.
 * Two clusters often share 10.244.0.0/16; they do not share a VTEP's MAC. `null`: neither fdb nor routes were collected.
 */
export interface ClusterTies {
  readonly network: string | null;
  readonly ties: readonly string[] | null;
}

export const clusterTies = perSource(
  (source: Source<'flannelEnv' | 'links' | 'fdb' | 'routes4' | 'addresses' | 'neighbours'>): ClusterTies => {
    const lease = flannelLease(source);
    const network = lease?.network?.prefix ?? null;
    const ties: string[] = [];
    let seen = false;
    const links = source.get('links');
    const fdb = source.get('fdb');
    if (!fdb.missing) {
      // without details of devices flannel's are known by their names
      const details = links.missing ? [] : links.value.devices;
      const vxlans = new Set(details.filter((d) => d.kind === 'vxlan').map((d) => d.name));
      const isVxlan = (dev: string) => (links.missing ? isFlannel(dev) : vxlans.has(dev));
      seen ||= vxlans.size > 0;
      ties.push(...ownVteps(source).map(marked));
      for (const e of fdb.value.entries) if (e.dst !== undefined && isVxlan(e.dev)) ties.push(`${e.mac}@${e.dst}`);
    }
    const routes = source.get('routes4');
    if (!routes.missing && network !== null) {
      ties.push(...ownRoutes(source).map(marked));
      const macOf = macsOf(source);
      for (const r of routes.value.routes) {
        const prefix = r.via === undefined ? null : parsePrefix(r.dst);
        if (prefix === null || prefix.length === 0 || !prefixCovers(network, prefix)) continue;
        // over vxlan the next hop is a pod-range address, equal in every default cluster: only underlay next hops tie
        const via = parsePrefix(r.via ?? '');
        if (via !== null && !prefixCovers(network, via)) {
          const mac = macOf(r.via ?? '');
          ties.push(`${r.dst}>${r.via}${mac === undefined ? '' : ` ${mac}`}`);
          seen = true;
        }
      }
    }
    return { network: network === null ? null : formatPrefix(network), ties: seen || ties.length > 0 ? ties : null };
  },
);

/** Those that others have of this node: its VTEP, and its pod range by its addresses. */
export const ownTies = (source: Source<'flannelEnv' | 'links' | 'routes4' | 'addresses'>): readonly string[] => [
  ...ownVteps(source),
  ...ownRoutes(source),
];

function ownVteps(source: Source<'links'>): readonly string[] {
  const links = source.get('links');
  return (links.missing ? [] : links.value.devices).flatMap((d) =>
    d.vxlan?.local === undefined || d.mac === undefined ? [] : [`${d.mac}@${d.vxlan.local}`],
  );
}

const ownRoutes = perSource((source: Source<'flannelEnv' | 'routes4' | 'addresses'>): readonly string[] => {
  const lease = flannelLease(source);
  if (lease?.network == null || lease.subnet === null) return [];
  const own = formatPrefix(lease.subnet.prefix);
  return underlayAddresses(source, lease.network.prefix).flatMap(({ address, mac }) => {
    const route = `${own}>${address}`;
    return mac === undefined ? [route] : [route, `${route} ${mac}`];
  });
});

const marked = (tie: string) => `=${tie}`;

/** What two nodes do not share: addresses of uplinks, and any other address outside the pods with the MAC of its device (the CNI plugin makes 0a:58 of the address). */
export function ownMarks(source: Source<'routes4' | 'addresses'>, network: Prefix): readonly string[] {
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const withMacs = devices
    .filter((d) => d.mac !== undefined && !/^(00:00:00:00:00:00|0a:58:.*)$/.test(d.mac))
    .flatMap((d) => outerAddresses(d, network).map((address) => `${address} (${d.mac})`));
  return [...underlayAddresses(source, network).map((u) => u.address), ...withMacs];
}

/** By the neighbour table, which is read when a next hop asks for it: what answers for an address. Two customers' next hops differ in it. */
function macsOf(source: Source<'neighbours'>): (address: string) => string | undefined {
  let macs: ReadonlyMap<string, string> | undefined;
  return (address) => {
    if (macs === undefined) {
      const neighbours = source.get('neighbours');
      const entries = neighbours.missing ? [] : neighbours.value.entries;
      macs = new Map(entries.flatMap((e) => (e.mac === undefined ? [] : [[e.ip, e.mac] as const])));
    }
    return macs.get(address);
  };
}

/** docker0 is 172.17.0.1 everywhere: only an uplink's address is the node's own. */
function underlayAddresses(
  source: Source<'routes4' | 'addresses'>,
  network: Prefix,
): readonly { readonly address: string; readonly mac: string | undefined }[] {
  const addresses = source.get('addresses');
  if (addresses.missing) return [];
  const up = new Set(uplinks(source).map((u) => u.dev));
  return addresses.value.devices
    .filter((d) => up.has(d.name))
    .flatMap((d) => outerAddresses(d, network).map((address) => ({ address, mac: d.mac })));
}

/** Addresses of the pod range are the same in every default cluster. */
function outerAddresses({ addresses }: LinkDevice, network: Prefix): readonly string[] {
  return addresses
    .filter((a) => a.family === 4 && a.scope === 'global')
    .map((a) => a.address)
    .filter((address) => {
      const ip = parsePrefix(address);
      return ip !== null && !prefixCovers(network, ip);
    });
}

export interface TiedNode {
  readonly node: string;
  readonly ties: ClusterTies;
  /** One machine that was collected twice is known by the same twice. */
  readonly bootId?: string | null;
}

/**
 * Joins nodes of one flannel network that share a tie. Nodes whose ties were not collected stay apart with group null. What two nodes are
 * known by ties nobody: two customers may have numbered nodes and pods alike.
 */
export function clusterGroups(nodes: Iterable<TiedNode>): Map<string, string | null> {
  const names: string[] = [];
  const result = new Map<string, string | null>();
  const ties = new Map<string, Tie>();
  // nodes come one at a time: of each tie only the numbers of its nodes are kept
  const machines: string[] = [];
  for (const { node, ties: own, bootId } of nodes) {
    result.set(node, null);
    if (own.ties === null) continue;
    const n = names.push(node) - 1;
    machines.push(bootId ?? node);
    for (const text of own.ties) {
      const key = `${own.network} ${tieKey(text)}`;
      const tie = ties.get(key) ?? { nodes: [], owners: [] };
      if (tie.nodes.push(n) === 1) ties.set(key, tie);
      if (isOwn(text) && !tie.owners.some((o) => machines[o] === machines[n])) tie.owners.push(n);
    }
  }
  const parent = names.map((_, n) => n);
  const find = (x: number): number => {
    let root = x;
    while (parent[root] !== root) root = parent[root] as number;
    parent[x] = root;
    return root;
  };
  for (const { nodes: tied, owners } of ties.values()) {
    const [first] = tied;
    if (owners.length < 2 && first !== undefined) for (const n of tied) parent[find(n)] = find(first);
  }
  const doubtful = new Set([...ties.values()].flatMap(({ owners }) => twins(owners, find)));
  for (const [n, name] of names.entries())
    result.set(name, doubtful.has(n) ? `${name}${ALONE}` : (names[find(n)] as string));
  return result;
}

const ALONE = ' alone';

/** Another node is known by the same, and other ties bring both into one cluster: which of them is its member is not known. */
export const isDoubtful = (group: string | null | undefined): boolean => group?.endsWith(ALONE) === true;

interface Tie {
  readonly nodes: number[];
  /** Whom it is what others know him by. */
  readonly owners: number[];
}

/** Those that came into one cluster although one cannot be the other: which of them is its member is not known. */
function twins(owners: readonly number[], find: (n: number) => number): readonly number[] {
  if (owners.length < 2) return [];
  const roots = owners.map(find);
  return owners.filter((_, i) => roots.some((root, k) => k !== i && root === roots[i]));
}

/** Underlay addresses that others know a node by. */
export const knownAt = ({ ties }: ClusterTies): readonly string[] =>
  (ties ?? []).filter(isOwn).map((tie) => tie.slice(tie.search(/[@>]/) + 1).replace(/ .*/, ''));

const isOwn = (tie: string) => tie.charCodeAt(0) === 0x3d;

/** A tie as others have it. */
export const tieKey = (tie: string): string => (isOwn(tie) ? tie.slice(1) : tie);
