import { type Addr, contains, formatAddr, isLinkLocal, isLoopback, type Net, parseNet } from './addr.ts';
import type { NetNode } from './model.ts';
import type { Space } from './space.ts';

/** A pod that stands for all pods of its node. */
export interface Representative {
  readonly node: string;
  readonly space: Space;
  readonly addr: Addr;
  /** As a place of the command line. */
  readonly place: string;
}

/**
 * The first collected namespace of the node whose IPv4 address is in the cluster's pod network: flannel's where there is a lease, else any
 * that is no docker network of this node alone. A sentence without the node's name when there is none.
 */
export function representativeOf(node: NetNode): Representative | string {
  const cluster = flannelNetwork(node);
  const own = dockerNetworks(node);
  for (const space of node.spaces) {
    if (space.inode === null) continue;
    for (const { addr } of space.devices.addresses) {
      if (typeof addr !== 'number' || isLoopback(addr) || isLinkLocal(addr) || node.host.owns(addr)) continue;
      if (cluster === null ? own.some((n) => contains(n, addr)) : !contains(cluster, addr)) continue;
      return { node: node.id, space, addr, place: `${node.id}/${formatAddr(addr)}` };
    }
  }
  const what =
    cluster === null ? 'no pod network that other nodes could reach' : 'no pod of the cluster’s network was collected';
  return what;
}

function flannelNetwork(node: NetNode): Net | null {
  const env = node.facts.get('flannelEnv');
  if (env.missing) return null;
  const text = env.value.variables
    .find((v) => v.name === 'FLANNEL_NETWORK')
    ?.value.split(',')[0]
    ?.trim();
  return text === undefined ? null : parseNet(text);
}

function dockerNetworks(node: NetNode): readonly Net[] {
  const networks = node.facts.get('dockerNetworks');
  const bridges = node.host.devices.list.filter((d) => /^(docker0|br-[0-9a-f]{12}|docker_gwbridge)$/.test(d.name));
  const byBridge = bridges.flatMap((d) => d.addresses.map((a) => a.net));
  if (networks.missing) return byBridge;
  return [...byBridge, ...networks.value.networks.flatMap((n) => n.ipam.flatMap((i) => parseNet(i.subnet) ?? []))];
}
