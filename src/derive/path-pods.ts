import { type Prefix, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Fact } from '../facts/index.ts';
import { type ClusterTies, clusterTies } from './cluster.ts';
import { attachedBridges, type DeviceKinds, overlayDevices, type Source } from './devices.ts';
import { flannelLease } from './flannel.ts';

export type PathPodKinds = DeviceKinds | 'routes4' | 'flannelEnv' | 'fdb' | 'neighbours' | 'netnsAddresses';
export interface PathPodSource extends Source<Exclude<PathPodKinds, 'netnsAddresses'>> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

export interface PathPod {
  /** As in `netns/<inode>/`. */
  readonly inode: string;
  readonly address: string;
}

/** Pods that stand for all pods of a node, and the cluster that it belongs to. */
export interface PathPods {
  readonly ties: ClusterTies;
  /** Namespace and address: the first in the node's own lease where there is one; a second one only on the same bridge. */
  readonly pods: readonly PathPod[];
  /** Why there is none; '' otherwise. */
  readonly because: string;
  /** Set: there may be pods, and these files would tell. */
  readonly evidence: readonly string[];
}

export function pathPods(source: PathPodSource): PathPods {
  const ties = clusterTies(source);
  const none = (because: string, evidence: readonly string[] = []): PathPods => ({ ties, pods: [], because, evidence });
  const lease = flannelLease(source);
  const env = source.get('flannelEnv');
  if (lease?.network == null) {
    if (overlayDevices(source).length > 0 && (!env.missing || !env.lookedFor))
      return none('which addresses the cluster gives its pods is not known', ['flannel.subnet-env']);
    return none('no pod network of a cluster on this node');
  }
  const network = lease.network.prefix;
  const addresses = source.get('addresses');
  const own = new Set(
    addresses.missing ? [] : addresses.value.devices.flatMap((d) => d.addresses.map((a) => a.address)),
  );
  const found = source.all('netnsAddresses').flatMap((f) =>
    f.value.devices
      .filter((d) => d.flags.length === 0 || d.flags.includes('UP'))
      .flatMap((d) => d.addresses)
      .flatMap((a) => {
        const at = a.family === 4 ? parsePrefix(`${a.address}/32`) : null;
        const net = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
        return at === null || net === null || own.has(a.address) || !prefixCovers(network, at)
          ? []
          : [{ inode: f.instance ?? '', address: a.address, at, net }];
      }),
  );
  const leased =
    lease.subnet === null ? found : found.filter((p) => prefixCovers(lease.subnet?.prefix as Prefix, p.at));
  const [first] = leased.length > 0 ? leased : found;
  if (first !== undefined) {
    const second = found.find((p) => p.inode !== first.inode && prefixCovers(first.net, p.at));
    const pods = second === undefined ? [first] : [first, second];
    return { ties, pods: pods.map(({ inode, address }) => ({ inode, address })), because: '', evidence: [] };
  }
  const busy = attachedBridges(source).bridges.find((b) => b.prefixes.some((p) => prefixCovers(network, p.prefix)));
  return busy === undefined
    ? none('no pod of the cluster’s network on this node')
    : none(`the network namespaces of the pods on ${busy.name} were not collected`, ['netns.addr-json']);
}
