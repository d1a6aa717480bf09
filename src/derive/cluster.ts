import { formatPrefix, type Prefix, parsePrefix, prefixCovers } from '../core/address.ts';
import type { LinkDevice } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { isFlannel, uplinks } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { perSource } from './per-source.ts';

/**
 * What ties a node to its cluster: VTEPs it knows (MAC at underlay address, its own included) and pod routes by next hop.
 * Two clusters often share 10.244.0.0/16; they do not share a VTEP's MAC. `null`: neither fdb nor routes were collected.
 */
export interface ClusterTies {
  readonly network: string | null;
  readonly ties: readonly string[] | null;
}

export const clusterTies = perSource(
  (source: Source<'flannelEnv' | 'links' | 'fdb' | 'routes4' | 'addresses'>): ClusterTies => {
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
      ties.push(...ownVteps(source));
      for (const e of fdb.value.entries) if (e.dst !== undefined && isVxlan(e.dev)) ties.push(`${e.mac}@${e.dst}`);
    }
    const routes = source.get('routes4');
    if (!routes.missing && network !== null) {
      ties.push(...ownRoutes(source));
      for (const r of routes.value.routes) {
        const prefix = r.via === undefined ? null : parsePrefix(r.dst);
        if (prefix === null || prefix.length === 0 || !prefixCovers(network, prefix)) continue;
        // over vxlan the next hop is a pod-range address, equal in every default cluster: only underlay next hops tie
        const via = parsePrefix(r.via ?? '');
        if (via !== null && !prefixCovers(network, via)) {
          ties.push(`${r.dst}>${r.via}`);
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
  return underlayAddresses(source, lease.network.prefix).map((address) => `${own}>${address}`);
});

/** What two nodes do not share: addresses of uplinks, and any other address outside the pods with the MAC of its device (the CNI plugin makes 0a:58 of the address). */
export function ownMarks(source: Source<'routes4' | 'addresses'>, network: Prefix): readonly string[] {
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const marked = devices
    .filter((d) => d.mac !== undefined && !/^(00:00:00:00:00:00|0a:58:.*)$/.test(d.mac))
    .flatMap((d) => outerAddresses(d, network).map((address) => `${address} (${d.mac})`));
  return [...underlayAddresses(source, network), ...marked];
}

/** docker0 is 172.17.0.1 everywhere: only an uplink's address is the node's own. */
function underlayAddresses(source: Source<'routes4' | 'addresses'>, network: Prefix): readonly string[] {
  const addresses = source.get('addresses');
  if (addresses.missing) return [];
  const up = new Set(uplinks(source).map((u) => u.dev));
  return addresses.value.devices.filter((d) => up.has(d.name)).flatMap((d) => outerAddresses(d, network));
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

/** Joins nodes of one flannel network that share a tie. Nodes whose ties were not collected stay apart with group null. */
export function clusterGroups(
  nodes: Iterable<{ readonly node: string; readonly ties: ClusterTies }>,
): Map<string, string | null> {
  const parent = new Map<string, string>();
  const find = (x: string): string => {
    let root = x;
    while (parent.get(root) !== root) root = parent.get(root) as string;
    parent.set(x, root);
    return root;
  };
  const owner = new Map<string, string>();
  const result = new Map<string, string | null>();
  for (const { node, ties } of nodes) {
    result.set(node, null);
    if (ties.ties === null) continue;
    parent.set(node, node);
    for (const tie of ties.ties) {
      const key = `${ties.network} ${tie}`;
      const other = owner.get(key);
      if (other === undefined) owner.set(key, node);
      else parent.set(find(node), find(other));
    }
  }
  for (const node of parent.keys()) result.set(node, find(node));
  return result;
}
