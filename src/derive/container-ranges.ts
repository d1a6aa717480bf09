import { formatPrefix, type Prefix, parsePrefix } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import { containerBridges, type DeviceKinds, isUp, type Source } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { serviceRange } from './services.ts';
import { elements, flag, setting } from './settings.ts';

/** An IPv4 range that somebody on the node gives addresses from, and where that is written. */
export interface ContainerRange {
  readonly what:
    | 'docker network'
    | 'pod network'
    | 'service network'
    | 'docker address pool'
    | 'node network'
    | 'container bridge';
  readonly name: string;
  readonly prefix: string;
  /** Of a bridge: docker's own list has it. */
  readonly docker?: boolean;
  /** Of the service network, where it is only known by its services. */
  readonly widest?: string;
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

type RangeSource = Source<
  | DeviceKinds
  | 'routes4'
  | 'flannelEnv'
  | 'flannelNetConf'
  | 'kubeProxyArgs'
  | 'kubeProxyConfig'
  | 'staticPods'
  | 'daemonJson'
  | 'iptables'
>;

/** All ranges of the node; `pod` and `lease` are the cluster's pod network and the node's part of it. */
export function containerRanges(source: RangeSource): {
  readonly pod: string | null;
  readonly lease: string | null;
  readonly ranges: readonly ContainerRange[];
} {
  const lease = flannelLease(source);
  const pod = podRange(source);
  const service = serviceRange(source);
  const serviceNetwork: ContainerRange[] =
    service === null
      ? []
      : [
          {
            what: 'service network',
            name: service.name,
            prefix: service.prefix,
            ...(service.widest === undefined ? {} : { widest: service.widest }),
            fact: service.fact,
            span: service.span,
          },
        ];
  return {
    // the range of kube-proxy's flag is no word of flannel's
    pod: pod === null || pod.name === '--cluster-cidr' ? null : pod.prefix,
    lease: lease?.subnet == null ? null : formatPrefix(lease.subnet.prefix),
    ranges: [
      ...(pod === null ? [] : [pod]),
      ...dockerRanges(source),
      ...bridgeRanges(source),
      ...serviceNetwork,
      ...nodeRanges(source),
    ],
  };
}

function podRange(source: RangeSource): ContainerRange | null {
  const range = (name: string, prefix: Prefix, fact: Fact<FactKind>, span: Span): ContainerRange => ({
    what: 'pod network',
    name,
    prefix: formatPrefix(prefix),
    fact,
    span,
  });
  const lease = flannelLease(source);
  if (lease?.network != null) return range('FLANNEL_NETWORK', lease.network.prefix, lease.fact, lease.network);
  const conf = source.get('flannelNetConf');
  const network = conf.missing ? undefined : setting(conf.value, 'Network');
  const told = typeof network?.value === 'string' ? parsePrefix(network.value) : null;
  if (!conf.missing && network !== undefined && told !== null)
    return range('net-conf.json Network', told, conf, network);
  const args = source.get('kubeProxyArgs');
  const cidr = args.missing ? undefined : flag(args.value, 'cluster-cidr');
  // of a dual-stack cluster it is a list
  const four = cidr?.value.split(',').map((text) => parsePrefix(text.trim()));
  const first = four?.find((p) => p?.family === 4);
  return args.missing || cidr === undefined || first == null ? null : range('--cluster-cidr', first, args, cidr);
}

function dockerRanges(source: RangeSource): readonly ContainerRange[] {
  const ranges: ContainerRange[] = [];
  const networks = source.get('dockerNetworks');
  if (!networks.missing) {
    // --config-only: nothing but settings for the networks that are made --config-from it
    for (const network of networks.value.networks.filter((n) => n.driver !== 'null')) {
      for (const pool of network.ipam) {
        const prefix = parsePrefix(pool.subnet);
        if (prefix?.family === 4)
          ranges.push({
            what: 'docker network',
            name: network.name,
            prefix: formatPrefix(prefix),
            fact: networks,
            span: pool,
          });
      }
    }
  }
  const file = source.get('daemonJson');
  if (file.missing || elements(file.value, 'default-address-pools').length === 0) return ranges;
  for (const s of file.value.settings) {
    const match = /^default-address-pools\.(\d+)\.base$/.exec(s.path);
    const prefix = match !== null && typeof s.value === 'string' ? parsePrefix(s.value) : null;
    if (prefix !== null)
      ranges.push({
        what: 'docker address pool',
        name: `pool ${match?.[1]}`,
        prefix: formatPrefix(prefix),
        fact: file,
        span: s,
      });
  }
  return ranges;
}

function bridgeRanges(source: RangeSource): readonly ContainerRange[] {
  // docker keeps its own networks apart from each other; another owner's bridge it does not know
  const networks = source.get('dockerNetworks');
  const dockers = new Set(networks.missing ? [] : networks.value.networks.map((n) => n.bridge));
  return containerBridges(source)
    .filter((b) => isUp(b.device))
    .flatMap(({ name, prefixes, fact }) =>
      prefixes
        .filter((p) => p.prefix.length < 32)
        .map((p): ContainerRange => {
          const prefix = formatPrefix(p.prefix);
          return { what: 'container bridge', name, prefix, docker: dockers.has(name), fact, span: p };
        }),
    );
}

/** Networks of the device that the default route leaves by. */
function nodeRanges(source: RangeSource): readonly ContainerRange[] {
  const routes = source.get('routes4');
  const addresses = source.get('addresses');
  if (routes.missing || addresses.missing) return [];
  const uplink = routes.value.routes.find((r) => r.dst === '0.0.0.0/0' && r.table === 'main')?.dev;
  const device = addresses.value.devices.find((d) => d.name === uplink);
  return (device?.addresses ?? []).flatMap((a): ContainerRange[] => {
    const prefix = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
    if (prefix === null) return [];
    return [{ what: 'node network', name: uplink ?? '', prefix: formatPrefix(prefix), fact: addresses, span: a }];
  });
}
