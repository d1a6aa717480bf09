import { formatPrefix, type Prefix, parsePrefix, prefixesOverlap } from '../core/address.ts';
import type { Fact } from '../facts/index.ts';
import type { DeviceKinds, Source } from './devices.ts';
import { containerBridges, isFlannel, isUp } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { backendType, otherNetwork, writesRoutes } from './flannel-backend.ts';
import { type PlaceOf, placeOf } from './pod-peers.ts';
import { variable } from './settings.ts';

type Kinds = DeviceKinds | 'routes4' | 'rules4' | 'flannelEnv' | 'flannelNetConf' | 'flanneldArgs';
interface AskerSource extends Source<Kinds> {
  all(kind: 'cniConf'): readonly Fact<'cniConf'>[];
}

export type FileOf = Pick<PlaceOf, 'node' | 'evidence' | 'path'>;

/** What a node shows of itself when it is asked whether it routes pods of other nodes to them. */
export interface PodAsker {
  /** flannel's backend; null: not known, or host-gw, which has no device. */
  readonly backend: string | null;
  /** Its configuration says so, not a device that may be left of another. */
  readonly configured: boolean;
  /** Why the question does not arise; else null. */
  readonly none: string | null;
  /** The cluster's pod range and the subnet of this node; null: not known. */
  readonly range: { readonly network: string; readonly own: string } | null;
  readonly overlay: { readonly dev: string; readonly up: boolean; readonly at: PlaceOf } | null;
  readonly bridges: readonly string[];
  /** Devices with one other end, which no evidence shows, that routes use. */
  readonly tunnels: readonly string[];
  /** Devices of routes that are not listed: the text was cut, or they went meanwhile. */
  readonly unlisted: readonly string[];
  /** Routes that the kernel passes over, for their device has no carrier. */
  readonly dead: readonly { readonly dst: string; readonly at: PlaceOf }[];
  /** Why a route that is not listed may be there all the same; null: it is not there. */
  readonly doubt: string | null;
  /** Policy rules choose by a mark, which some packets may have. */
  readonly marked: boolean;
  /** Networks that it is on itself, which over host-gw the next hops have to be of; null: not all are known, or its backend is another one. */
  readonly onLink: readonly string[] | null;
  /** No policy rule leads to the main table, where flannel's routes are. */
  readonly mainless: boolean;
  readonly routesAt: FileOf;
  readonly rulesAt: FileOf | null;
}

const fileOf = ({ node, evidence, path }: FileOf): FileOf => ({ node, evidence, path });

export function podAsker(source: AskerSource, routes: Fact<'routes4'>): PodAsker {
  const lease = flannelLease(source);
  const backend = backendType(source);
  const env = source.get('flannelEnv');
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const device = devices.find((d) => /^flannel\.\d+$/.test(d.name)) ?? devices.find((d) => isFlannel(d.name));
  const other = otherNetwork(source);
  let none: string | null = null;
  if (other !== null) none = `${other.type} routes the pods of this node, not flannel`;
  else if (backend !== null && !writesRoutes(backend.type))
    none = `flannel’s backend ${backend.type} writes no routes to other nodes`;
  else if (lease === null && device === undefined && env.missing && env.lookedFor)
    none = 'no flannel on this node: no subnet.env, no flannel device';
  else if (lease?.network === null && variable(lease.fact.value, 'FLANNEL_IPV6_SUBNET') !== undefined)
    none = 'flannel leases IPv6 only here';
  const network = lease?.network?.prefix ?? null;
  const own = lease?.subnet?.prefix ?? null;
  const rules = source.get('rules4');
  return {
    backend: backend?.type ?? null,
    configured: backend?.fact.kind === 'flannelNetConf',
    none,
    range:
      none !== null || network === null || own === null
        ? null
        : { network: formatPrefix(network), own: formatPrefix(own) },
    overlay:
      device === undefined || addresses.missing
        ? null
        : { dev: device.name, up: isUp(device), at: placeOf(addresses, device) },
    bridges: containerBridges(source).map((b) => b.name),
    ...ofRoutes(source, routes, network),
    marked: !rules.missing && rules.value.rules.some((r) => r.fwmark !== undefined),
    mainless:
      !rules.missing && rules.closed && !rules.value.rules.some((r) => r.action === 'lookup' && r.table === 'main'),
    onLink: backend === null || backend.type === 'host-gw' ? onLink(routes, network) : null,
    routesAt: fileOf(routes),
    rulesAt: rules.missing ? null : fileOf(rules),
  };
}

/** More networks than this no usual node is on. */
const MOST_LINKS = 8;

function onLink({ closed, value }: Fact<'routes4'>, network: Prefix | null): string[] | null {
  const found: string[] = [];
  for (const { table, type, via, nexthops, dst } of value.routes) {
    if (table !== 'main' || type !== 'unicast' || via !== undefined || nexthops.length > 0) continue;
    const prefix = parsePrefix(dst);
    if (prefix === null || (network !== null && prefix.length > 0 && prefixesOverlap(prefix, network))) continue;
    found.push(dst);
    if (found.length > MOST_LINKS) return null;
  }
  return closed ? found : null;
}

function ofRoutes(
  source: AskerSource,
  fact: Fact<'routes4'>,
  network: Prefix | null,
): Pick<PodAsker, 'tunnels' | 'unlisted' | 'dead' | 'doubt'> {
  const { routes } = fact.value;
  const inRange = (dst: string) => {
    const prefix = network === null ? null : parsePrefix(dst);
    return prefix !== null && network !== null && prefix.length > network.length && prefixesOverlap(prefix, network);
  };
  const used = new Set(routes.flatMap((r) => [r.dev ?? '', ...r.nexthops.map((h) => h.dev ?? '')]));
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const listed = new Set(devices.map((d) => d.name));
  const odd = routes.find((r) => r.encap !== undefined && inRange(r.dst));
  return {
    tunnels: devices
      .filter((d) => used.has(d.name) && !isFlannel(d.name) && d.flags.length > 0 && !d.flags.includes('BROADCAST'))
      .map((d) => d.name),
    unlisted: [...used].filter((dev) => !listed.has(dev)),
    dead: routes
      .filter((r) => r.table === 'main' && r.flags.includes('dead') && inRange(r.dst))
      .map((r) => ({ dst: r.dst, at: placeOf(fact, r) })),
    doubt: !fact.closed
      ? `${fact.path} was not collected whole`
      : odd !== undefined
        ? `${fact.path}:${odd.line} is a route of a kind that is not followed`
        : null,
  };
}
