import type { Fact, FactKind } from '../facts/index.ts';
import type { HostDevice, Source } from './devices.ts';
import { isUp } from './devices.ts';
import { perSource } from './per-source.ts';
import { type At, deviceNamed, type Tunnel } from './tunnels.ts';

type WaySource = Source<'links' | 'addresses' | 'routes4' | 'routes6'>;

/** A way that a tunnel's packets leave by, and how large they may be on it. */
export interface Way extends HostDevice {
  /** Bytes of the largest IP packet. */
  readonly mtu: number;
  /** Set by the route, below the device's. */
  readonly ofRoute: boolean;
  /** The tunnel or routing names the device. */
  readonly sure: boolean;
  readonly cites: readonly At[];
  /** Underlay addresses that are reached by it. */
  readonly peers: readonly string[];
  /** Set: `device` is a port of this bridge, and drops without a word what is larger. */
  readonly bridge?: string;
}

export interface Ways {
  readonly ways: readonly Way[];
  /** Why there may be narrower ones; else null. */
  readonly gap: { readonly because: string; readonly evidence: readonly string[] } | null;
}

/** The host's route to an address; null: none, or not known. */
export type RouteOf = (address: string) => {
  readonly dev: string;
  readonly mtu: number | null;
  readonly cites: readonly At[];
} | null;

const DEVICES = ['ip.link', 'ip.addr'];

/**
 * The kernel routes the outer packet by its destination, whatever device the tunnel was made on [tunnel.ts of src/net]; where routing does not
 * tell, that device stands in.
 */
export function waysOf(source: WaySource, tunnel: Tunnel, routeOf: RouteOf): Ways {
  const found = new Map<string, Way & { peers: string[] }>();
  const lost: string[] = [];
  const devices = new Map<string, HostDevice | undefined>();
  const named = (name: string) => {
    if (!devices.has(name)) devices.set(name, deviceNamed(source, name));
    return devices.get(name);
  };
  for (const { address, fact, span } of tunnel.remotes) {
    const route = routeOf(address);
    const out = route === null ? undefined : named(route.dev);
    if (route === null || out?.device.mtu === undefined || out.device.name === tunnel.device.name) {
      lost.push(address);
      continue;
    }
    const mtu = Math.min(route.mtu ?? out.device.mtu, out.device.mtu);
    const key = `${route.dev} ${mtu}`;
    const known = found.get(key);
    if (known !== undefined) known.peers.push(address);
    else
      found.set(key, {
        ...out,
        mtu,
        ofRoute: mtu < out.device.mtu,
        sure: true,
        cites: [...route.cites, { fact, span }],
        peers: [address],
      });
  }
  const ways: Way[] = [...found.values()];
  const { lower } = tunnel;
  if (lost.length === 0 && ways.length > 0)
    return below(source, tunnel, ways, isShort(source, tunnel) ? narrowRoute(source, tunnel, ways) : null);
  if (lower?.device.mtu !== undefined && isUp(lower.device)) {
    const { mtu } = lower.device;
    if (!found.has(`${lower.device.name} ${mtu}`))
      ways.push({ ...lower, mtu, ofRoute: false, cites: lower.because, peers: lost });
    return below(source, tunnel, ways, tunnel.used === false ? null : narrowRoute(source, tunnel, ways));
  }
  const because =
    lower !== null
      ? `${lower.device.name} under it is down, or its MTU is not told`
      : lost.length === 0
        ? tunnel.why
        : `${tunnel.why}, and by which device its packets to ${lost[0]} leave is not known`;
  return { ways, gap: { because, evidence: [...DEVICES, 'ip.route4', 'ip.rule4'] } };
}

/** More next hops are behind the tunnel than it has remotes: where the others are is not told. */
function isShort(source: WaySource, { device, remotes }: Tunnel): boolean {
  const routes = source.get('routes4');
  if (routes.missing) return false;
  const hops = new Set(routes.value.routes.flatMap((r) => (r.dev === device.name && r.via !== undefined ? r.via : [])));
  return hops.size > remotes.length;
}

/** A route by one of the ways' devices that allows less than the tunnel takes: peers whose address is not known may be behind it. */
function narrowRoute(source: WaySource, tunnel: Tunnel, ways: readonly Way[]): Ways['gap'] {
  const kind = tunnel.family === 6 ? 'routes6' : 'routes4';
  const routes = source.get(kind);
  if (routes.missing) return null;
  const names = new Set(ways.map((w) => w.device.name));
  const narrow = routes.value.routes.find(
    (r) => r.type === 'unicast' && names.has(r.dev ?? '') && r.mtu !== undefined && isTight(tunnel, r.mtu),
  );
  if (narrow === undefined) return null;
  return {
    because: `the route to ${narrow.dst} by ${narrow.dev} allows ${narrow.mtu}, and whether peers are behind it is not told: not all of their addresses were collected`,
    evidence: ['bridge.fdb', 'k8s.nodes'],
  };
}

/** Devices of bridges and bonds, by the name of their master. */
const slaves = perSource((source: Source<'links' | 'addresses'>): ReadonlyMap<string, readonly HostDevice[]> => {
  const found = new Map<string, HostDevice[]>();
  const fact: Fact<FactKind> | undefined = [source.get('links'), source.get('addresses')].find((f) => !f.missing);
  if (fact === undefined) return found;
  const named = fact as Fact<'links'>;
  for (const device of named.value.devices)
    if (device.master !== undefined)
      found.set(device.master, [...(found.get(device.master) ?? []), { device, fact: named }]);
  return found;
});

/**
 * What is below a bridge or a bond. Measured: a bridge follows its smallest port until somebody sets its MTU; then a port drops what is larger than
 * its own, without ICMP. A bond does not look at the MTU that a card of it got later, and what the card does then is its driver's matter.
 */
function below(source: WaySource, tunnel: Tunnel, ways: readonly Way[], gap: Ways['gap']): Ways {
  const all: Way[] = [];
  let open = gap;
  for (const way of ways) {
    const { name } = way.device;
    const own = (slaves(source).get(name) ?? []).filter(({ device }) => isUp(device) && !GUEST.test(device.name));
    const narrow = own.find(
      ({ device }) => device.mtu !== undefined && device.mtu < way.mtu && isTight(tunnel, device.mtu),
    );
    all.push(way);
    if (narrow?.device.mtu === undefined) continue;
    const { mtu } = narrow.device;
    if (own.length === 1 && isBridge(source, name)) all.push({ ...way, ...narrow, mtu, ofRoute: false, bridge: name });
    else
      open ??= {
        because: `${narrow.device.name} of ${name} has MTU ${mtu}: whether its packets leave by that, and what becomes of larger ones there, is not told`,
        evidence: DEVICES,
      };
  }
  return { ways: all, gap: open };
}

const isTight = ({ device, overhead }: Tunnel, mtu: number) => device.mtu !== undefined && mtu - overhead < device.mtu;

/** Ports of containers and virtual machines. */
const GUEST = /^(veth|tap|vnet|cali|lxc)/;

const isBridge = (source: Source<'links' | 'addresses'>, name: string) =>
  deviceNamed(source, name)?.device.kind === 'bridge';
