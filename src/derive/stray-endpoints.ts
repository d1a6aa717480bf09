import { type Prefix, parseIp4, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Fact, Route } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { type FlannelLease, flannelLease } from './flannel.ts';
import type { Endpoint } from './service-endpoints.ts';

type Kinds = 'flannelEnv' | 'routes4' | 'rules4' | 'addresses';

/** Endpoints in flannel's network that the node has no route of flannel's to: packets for them leave as those for strangers do. */
export interface Stray {
  readonly endpoints: readonly Endpoint[];
  readonly network: NonNullable<FlannelLease['network']>;
  readonly env: Fact<'flannelEnv'>;
  readonly routes: Fact<'routes4'>;
  /** The default route; absent: there is none. */
  readonly route: Route | undefined;
}

/** Policy rules that every namespace has. */
const USUAL_TABLES = new Set(['local', 'main', 'default']);

/** Of `endpoints`, which are in no known node's pod range, those that no route of the node but the default leads to; null: not known. */
export function strayEndpoints(source: Source<Kinds>, endpoints: readonly Endpoint[]): Stray | null {
  const lease = flannelLease(source);
  const [routes, rules] = [source.get('routes4'), source.get('rules4')];
  const network = lease?.network;
  if (lease == null || network == null || routes.missing || !routes.closed || rules.missing || !rules.closed)
    return null;
  // where other tables have a say the trace knows better
  if (rules.value.rules.some((r) => r.table === undefined || !USUAL_TABLES.has(r.table))) return null;
  const unicast = routes.value.routes.filter((r) => r.table === 'main' || r.table === 'local');
  const longer: Prefix[] = unicast.flatMap((r) => {
    const dst = parsePrefix(r.dst);
    return dst === null || dst.length < network.prefix.length ? [] : [dst];
  });
  const found = endpoints.filter(({ address }) => {
    const ip = parseIp4(address) === null ? null : parsePrefix(address);
    return ip !== null && prefixCovers(network.prefix, ip) && !longer.some((net) => prefixCovers(net, ip));
  });
  if (found.length === 0) return null;
  const route = unicast
    .filter((r) => r.table === 'main' && parsePrefix(r.dst)?.length === 0)
    .sort((a, b) => a.metric - b.metric)[0];
  return { endpoints: found, network, env: lease.fact, routes, route };
}
