import type { Prefix } from '../core/address.ts';
import { addressAt, formatIp, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Route } from '../facts/index.ts';
import type { ContainerBridge, DeviceKinds, Source } from './devices.ts';
import { containerBridges, isInternal } from './devices.ts';
import { flannelLease } from './flannel.ts';

export type PodKinds = DeviceKinds | 'routes4' | 'flannelEnv';

/** A container network of this node that must reach others: its bridge, and whether it is part of a cluster's pod network. */
export interface PodNetwork {
  readonly bridge: ContainerBridge;
  readonly prefix: Prefix;
  readonly line: number;
  /** An address to test with: the eleventh of the prefix, as host-local and docker hand them out. */
  readonly sample: string;
  /** Inside FLANNEL_NETWORK: other nodes' pods talk to it. */
  readonly clustered: boolean;
}

export function podNetworks(source: Source<PodKinds>): readonly PodNetwork[] {
  const cluster = flannelLease(source)?.network?.prefix ?? null;
  return containerBridges(source)
    .filter((b) => b.ports.length > 0 && isInternal(source, b.name) !== true)
    .flatMap((bridge) =>
      bridge.prefixes.slice(0, 1).flatMap(({ prefix, line }) => {
        const sample = addressAt(prefix, 10);
        if (sample === null) return [];
        const clustered = cluster !== null && prefixCovers(cluster, prefix);
        return [{ bridge, prefix, line, sample: formatIp(sample), clustered }];
      }),
    );
}

/** Routes to other nodes' pod subnets: inside the cluster's range, by a next hop, over the overlay or the underlay. */
export function peerRoutes(
  source: Source<'routes4' | 'flannelEnv'>,
): readonly { readonly route: Route; readonly dev: string; readonly sample: string }[] {
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
}
