import { addressAt, formatIp, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind, LinkDevice } from '../facts/index.ts';
import { effectiveConf } from './cni.ts';
import type { Source } from './devices.ts';
import { flannelLease } from './flannel.ts';
import type { CableEnd } from './ports.ts';
import { flag, setting } from './settings.ts';

/** An address that a configuration or a container says is the gateway of a bridge's containers. */
export interface Gateway {
  readonly address: string;
  readonly bits: number | null;
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

export interface GatewaySource
  extends Source<'dockerNetworks' | 'dockerContainers' | 'flannelEnv' | 'daemonJson' | 'dockerdArgs'> {
  all(kind: 'cniConf'): readonly Fact<'cniConf'>[];
  at?(kind: 'netnsRoutes4', instance: string): Fact<'netnsRoutes4'> | undefined;
}

/** What was configured for a bridge: its gateway addresses, or why it has none on purpose. */
export interface Configured {
  readonly gateways: readonly Gateway[];
  /** Set: the bridge needs no IPv4 address, and the line that says so. */
  readonly exempt: { readonly because: string; readonly fact: Fact<FactKind>; readonly span: Span } | null;
}

const BRIDGE = 'com.docker.network.bridge';

export function configuredGateways(source: GatewaySource, bridge: string): Configured {
  const docker = source.get('dockerNetworks');
  const network = docker.missing ? undefined : docker.value.networks.find((n) => n.bridge === bridge);
  if (!docker.missing && network !== undefined) {
    const exempt = (because: string) => ({ gateways: [], exempt: { because, fact: docker, span: network } });
    const { name, options, ipam } = network;
    if (network.internal) return exempt(`docker’s network ${name} is internal`);
    if (options[`${BRIDGE}.inhibit_ipv4`] === 'true') return exempt(`docker’s network ${name} has inhibit_ipv4`);
    if (options[`${BRIDGE}.gateway_mode_ipv4`] === 'isolated') return exempt(`docker’s network ${name} is isolated`);
    const four = ipam.filter((config) => !config.subnet.includes(':'));
    if (four.length === 0 && ipam.length > 0) return exempt(`docker’s network ${name} has IPv6 alone`);
    const gateways = four.flatMap((config): Gateway[] => {
      const bits = parsePrefix(config.subnet)?.length ?? null;
      // docker 1.10 printed it with its length
      const address = config.gateway?.replace(/\/.*/, '');
      return address === undefined || address === '' ? [] : [{ address, bits, fact: docker, span: config }];
    });
    return { gateways: gateways.length > 0 ? gateways : ofContainers(source, name), exempt: null };
  }
  const conf = effectiveConf(source.all('cniConf'));
  for (const plugin of conf?.value.plugins ?? []) {
    const { settings, type } = plugin;
    const delegate = settings['delegate.type'] ?? 'bridge';
    const named = type === 'flannel' && delegate === 'bridge' ? (plugin.bridge ?? 'cni0') : plugin.bridge;
    if (conf === undefined || named !== bridge || (type !== 'flannel' && type !== 'bridge')) continue;
    const below = type === 'flannel' ? 'delegate.' : '';
    const isDefault = settings[`${below}isDefaultGateway`] === true;
    // flannel's plugin asks for a gateway unless it is told not to, the bridge plugin only when it is told to
    if (!isDefault && (plugin.isGateway ?? type === 'flannel') === false)
      return {
        gateways: [],
        exempt: { because: 'the CNI configuration has isGateway false', fact: conf, span: plugin },
      };
    if (type === 'flannel' && plugin.subnets.length === 0) break;
    const [subnet] = plugin.subnets;
    const prefix = subnet === undefined ? null : parsePrefix(subnet);
    if (prefix === null || prefix.family !== 4) return { gateways: [], exempt: null };
    const set = settings[`${below}ipam.gateway`] ?? settings[`${below}ipam.ranges.0.0.gateway`];
    const first = addressAt(prefix, 1);
    const address = typeof set === 'string' ? set : first === null ? null : formatIp(first);
    return {
      gateways: address === null ? [] : [{ address, bits: prefix.length, fact: conf, span: plugin }],
      exempt: null,
    };
  }
  const lease = flannelLease(source);
  const names = conf?.value.plugins.find((p) => p.type === 'flannel');
  if (lease?.subnet == null || names === undefined || (names.bridge ?? 'cni0') !== bridge)
    return { gateways: [], exempt: null };
  const { subnet } = lease;
  return {
    gateways: [{ address: subnet.address, bits: subnet.prefix.length, fact: lease.fact, span: subnet }],
    exempt: null,
  };
}

/** docker 20.10 does not print docker0's gateway before dockerd's second start; its running containers do. */
function ofContainers(source: GatewaySource, network: string): readonly Gateway[] {
  const docker = source.get('dockerContainers');
  if (docker.missing) return [];
  const found = new Map<string, Gateway>();
  for (const c of docker.value.containers) {
    if (c.state !== 'running') continue;
    for (const n of c.networks)
      if (n.name === network && n.gateway !== undefined && n.gateway !== '' && !found.has(n.gateway))
        found.set(n.gateway, { address: n.gateway, bits: n.prefixLength ?? null, fact: docker, span: c });
  }
  return [...found.values()];
}

/** Where a container sends by this cable what is not of its own network; null: its routes were not collected. */
export function gatewaysOf(source: GatewaySource, end: CableEnd): readonly Gateway[] | null {
  const routes = source.at?.('netnsRoutes4', end.inode);
  if (routes === undefined) return null;
  const bits = end.device.addresses.find((a) => a.family === 4)?.prefixLength ?? null;
  const found = routes.value.routes.flatMap((r): Gateway[] => {
    if (r.dst !== '0.0.0.0/0' || r.type !== 'unicast' || r.table !== 'main') return [];
    const hops = r.nexthops.length > 0 ? r.nexthops : [r];
    return hops.flatMap((hop) =>
      hop.dev === end.device.name && hop.via !== undefined && !hop.via.includes(':')
        ? [{ address: hop.via, bits, fact: routes, span: r }]
        : [],
    );
  });
  return found.length === 0 && !routes.closed ? null : found;
}

/** dockerd can send the containers of docker0 to a router elsewhere. */
export function defaultGateway(source: GatewaySource): string | null {
  const args = source.get('dockerdArgs');
  const flagged = args.missing ? undefined : flag(args.value, 'default-gateway')?.value;
  const file = source.get('daemonJson');
  const value = file.missing ? undefined : setting(file.value, 'default-gateway')?.value;
  return flagged ?? (typeof value === 'string' ? value : null);
}

/** Does what comes for a container with one of these devices find the bridge, by the main table? */
export function leadsTo(routes: Fact<'routes4'>, ends: readonly LinkDevice[], bridge: string): boolean {
  const own = ends.flatMap((end) =>
    end.addresses.flatMap((a) => (a.family === 4 ? (parsePrefix(a.address) ?? []) : [])),
  );
  return own.some((ip) => {
    let best: { length: number; dev: string | undefined } | null = null;
    for (const { table, type, dst, dev, flags } of routes.value.routes) {
      const prefix = table === 'main' && type === 'unicast' && !flags.includes('dead') ? parsePrefix(dst) : null;
      if (prefix !== null && prefixCovers(prefix, ip) && (best === null || prefix.length > best.length))
        best = { length: prefix.length, dev };
    }
    return best?.dev === bridge;
  });
}
