import { parseIp4 } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import { isFlannel, type Source } from './devices.ts';
import { peerRoutes } from './pods.ts';

/** Another node of the cluster, by its address on the network of the nodes, and the line that tells it. */
export interface NodePeer {
  readonly address: string;
  readonly fact: Fact<'fdb'> | Fact<'routes4'>;
  readonly span: Span;
}

/** Where flannel sends what is for other nodes' pods: forwarding entries of its vxlan device, next hops of host-gw. */
export function nodePeers(source: Source<'fdb' | 'routes4' | 'flannelEnv'>): readonly NodePeer[] {
  const found = new Map<string, NodePeer>();
  const add = (address: string | undefined, fact: NodePeer['fact'], span: Span) => {
    if (address !== undefined && parseIp4(address) !== null && !found.has(address))
      found.set(address, { address, fact, span });
  };
  const fdb = source.get('fdb');
  const routes = source.get('routes4');
  if (!fdb.missing) for (const e of fdb.value.entries) if (isFlannel(e.dev)) add(e.dst, fdb, e);
  if (!routes.missing)
    for (const { route, dev } of peerRoutes(source)) if (!isFlannel(dev)) add(route.via, routes, route);
  return [...found.values()];
}
