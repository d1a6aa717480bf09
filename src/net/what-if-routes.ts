import type { InterfaceAddress, LinkDevice, PolicyRule, Route } from '../facts/index.ts';
import { type Addr, contains, formatAddr, networkOf, parseAddr, parseNet } from './addr.ts';
import type { Draft, PolicyEdit, RouteEdit } from './what-if-changes.ts';
import { ChangeError } from './what-if-changes.ts';
import { hasDevice } from './what-if-links.ts';

const kindOf = (family: 4 | 6) => (family === 4 ? 'routes4' : 'routes6');
const samePrefix = (a: string, b: string, family: 4 | 6): boolean => {
  const [x, y] = [parseNet(a, family), parseNet(b, family)];
  return x !== null && y !== null && x.base === y.base && x.length === y.length;
};

/** `ip route`: added in front of, in place of or behind the routes of the same destination and metric, as the kernel does. */
export function changeRoute(draft: Draft, { op, route, named }: RouteEdit): void {
  const { family } = route;
  const fact = draft.need(kindOf(family), 'the routes');
  const routes = [...fact.value.routes];
  const write = () => draft.write(kindOf(family), { ...fact.value, routes });
  const alike = (r: Route) => r.table === route.table && samePrefix(r.dst, route.dst, family);
  const text = `${route.dst} in table ${route.table} of ${draft.node}`;
  if (op === 'del') {
    const at = routes.findIndex((r) => alike(r) && named.every((key) => equal(r[key], route[key])));
    if (at < 0) throw new ChangeError(`there is no such route to ${text}`);
    routes.splice(at, 1);
    write();
    return;
  }
  const made = completed(draft, routes, { ...route, line: draft.mark, endLine: draft.mark });
  const rival = (r: Route) => alike(r) && r.metric === made.metric && (r.tos ?? '0') === (made.tos ?? '0');
  const first = routes.findIndex(rival);
  const last = routes.findLastIndex(rival);
  if (op === 'add' && first >= 0)
    throw new ChangeError(
      `there is a route to ${text} with metric ${made.metric} already: ip route add is refused, replace is not`,
    );
  if (op === 'change' && first < 0) throw new ChangeError(`there is no route to ${text} to change`);
  if (op === 'append' && family === 6 && first >= 0)
    throw new ChangeError('an IPv6 route that is appended joins the one that is there: that is not modelled');
  if (first < 0) routes.push(made);
  else if (op === 'append') routes.splice(last + 1, 0, made);
  else routes.splice(first, op === 'prepend' ? 0 : 1, made);
  write();
}

const equal = (a: unknown, b: unknown) => a === b || JSON.stringify(a) === JSON.stringify(b);
const delivering = /^(unicast|local|broadcast|anycast|multicast)$/;

/** Fills in what the kernel does: the device of a gateway. Refuses what it refuses. */
function completed(draft: Draft, routes: readonly Route[], route: Route): Route {
  // IPv6 gives a route to nowhere to the loopback device
  if (!delivering.test(route.type)) return route.family === 6 ? { dev: 'lo', ...route } : route;
  if (route.src !== undefined && !ownsAddress(draft, route.src))
    throw new ChangeError(`${route.src} is no address of ${draft.node}: the kernel refuses it as src`);
  const hop = <H extends { via?: string; dev?: string; flags: readonly string[] }>(h: H): H => {
    const dev = h.dev ?? (h.via === undefined ? undefined : gatewayDevice(routes, h.via, undefined));
    if (dev === undefined)
      throw new ChangeError(
        `no device of ${draft.node} has a network with ${h.via ?? 'it'}: the kernel refuses the gateway`,
      );
    if (!hasDevice(draft, dev)) throw new ChangeError(`there is no device ${dev} on ${draft.node}`);
    if (!isUp(draft, dev)) throw new ChangeError(`${dev} of ${draft.node} is down: the kernel refuses the route`);
    if (h.via !== undefined && !h.flags.includes('onlink') && gatewayDevice(routes, h.via, dev) === undefined)
      throw new ChangeError(
        `${h.via} is not on a network of ${dev} on ${draft.node}: the kernel refuses the gateway without onlink`,
      );
    return { ...h, dev };
  };
  if (route.nexthops.length > 0) return { ...route, nexthops: route.nexthops.map(hop) };
  return hop(route);
}

/** The device whose connected route holds the gateway. */
function gatewayDevice(routes: readonly Route[], via: string, dev: string | undefined): string | undefined {
  const addr = parseAddr(via);
  if (addr === null) return undefined;
  if (typeof addr === 'bigint' && addr >> 118n === 0x3fan) return dev;
  let best: Route | undefined;
  let length = -1;
  for (const r of routes) {
    if (r.table === 'local' || r.type !== 'unicast' || r.via !== undefined || r.nexthops.length > 0) continue;
    if (dev !== undefined && r.dev !== dev) continue;
    const net = parseNet(r.dst, r.family);
    if (net === null || !contains(net, addr) || net.length <= length) continue;
    best = r;
    length = net.length;
  }
  return best?.dev;
}

function devicesOf(draft: Draft): readonly LinkDevice[] {
  return (['addresses', 'links', 'linksJson'] as const).flatMap((kind) => draft.read(kind)?.value.devices ?? []);
}

function isUp(draft: Draft, name: string): boolean {
  const flags = devicesOf(draft).find((d) => d.name === name && d.flags.length > 0)?.flags;
  return flags === undefined || flags.includes('UP');
}

function ownsAddress(draft: Draft, text: string): boolean {
  const addr = parseAddr(text);
  return devicesOf(draft).some((d) => d.addresses.some((a) => parseAddr(a.address) === addr));
}

/** Takes away what leads over a device: of a multipath route the one hop. `local`: also the routes of its own addresses. */
export function dropDeviceRoutes(draft: Draft, dev: string, family: 4 | 6, local: boolean): void {
  const fact = draft.read(kindOf(family));
  if (fact === null) return;
  const routes = fact.value.routes.flatMap((r): Route[] => {
    if (r.nexthops.length > 0) {
      const alive = r.nexthops.filter((h) => h.dev !== dev && !h.flags.includes('dead'));
      if (!r.nexthops.some((h) => h.dev === dev)) return [r];
      if (alive.length === 0) return [];
      const nexthops = r.nexthops.map((h) => (h.dev === dev ? { ...h, flags: [...h.flags, 'dead', 'linkdown'] } : h));
      return [{ ...r, nexthops, line: draft.mark, endLine: draft.mark }];
    }
    return r.dev !== dev || (!local && r.type === 'local') ? [r] : [];
  });
  draft.write(kindOf(family), { ...fact.value, routes });
}

/** The routes that the kernel makes for an address: to itself, and to its network when the device is up. */
export function addAddressRoutes(
  draft: Draft,
  device: LinkDevice,
  address: InterfaceAddress,
  prefixRoute: boolean,
): void {
  const { family } = address;
  const fact = draft.read(kindOf(family));
  const addr = parseAddr(address.address);
  if (fact === null || addr === null) return;
  const up = isUp(draft, device.name);
  const routes = [...fact.value.routes];
  const first = address.secondary ? device.addresses.find((a) => !a.secondary && sharesNet(a, address)) : undefined;
  const primary = (first ?? address).address;
  const make = (type: string, dst: string, table: string, scope: string) => {
    const src = family === 4 ? { src: primary } : {};
    const metric = family === 6 && table === 'main' ? 256 : 0;
    const route: Route = {
      family,
      type,
      dst,
      dev: device.name,
      ...src,
      metric,
      table,
      proto: 'kernel',
      scope,
      flags: [],
      nexthops: [],
      line: draft.mark,
    };
    const same = (r: Route) =>
      r.table === table && r.type === type && r.dev === device.name && samePrefix(r.dst, dst, family);
    if (!routes.some(same)) routes.push(route);
  };
  const bits = family === 4 ? 32 : 128;
  const base = networkOf(addr, address.prefixLength);
  make('local', `${address.address}/${bits}`, 'local', family === 4 ? 'host' : 'global');
  if (up && !address.secondary && address.prefixLength < bits) {
    if (prefixRoute)
      make('unicast', `${formatAddr(base)}/${address.prefixLength}`, 'main', family === 4 ? 'link' : 'global');
    if (family === 4 && address.prefixLength < 31)
      make('broadcast', `${formatAddr(broadcastOf(base, address.prefixLength))}/32`, 'local', 'link');
  }
  draft.write(kindOf(family), { ...fact.value, routes });
}

type Subnet = Pick<InterfaceAddress, 'address' | 'prefixLength'>;

/** Both addresses are of one subnet with one mask: then the first is primary and the other secondary. */
export function sharesNet(a: Subnet, b: Subnet): boolean {
  const [x, y] = [parseAddr(a.address), parseAddr(b.address)];
  const length = a.prefixLength;
  return x !== null && y !== null && length === b.prefixLength && contains({ base: networkOf(x, length), length }, y);
}

function broadcastOf(base: Addr, length: number): Addr {
  return typeof base === 'number' ? (base | (0xffffffff >>> length)) >>> 0 : base;
}

/** What goes with an address when others stay on the device: its own routes, and those that name it as their source. */
export function dropAddressRoutes(
  draft: Draft,
  dev: string,
  address: InterfaceAddress,
  left: readonly InterfaceAddress[],
): void {
  const { family } = address;
  const fact = draft.read(kindOf(family));
  const addr = parseAddr(address.address);
  if (fact === null || addr === null) return;
  const elsewhere = devicesOf(draft).some(
    (d) => d.name !== dev && d.addresses.some((a) => parseAddr(a.address) === addr),
  );
  const net = { base: networkOf(addr, address.prefixLength), length: address.prefixLength };
  const shared = left.some((a) => {
    const other = parseAddr(a.address);
    return !a.secondary && other !== null && a.prefixLength === net.length && contains(net, other);
  });
  const prefix = `${formatAddr(net.base)}/${net.length}`;
  const broadcast = formatAddr(broadcastOf(net.base, net.length));
  const routes = fact.value.routes.filter((r) => {
    if (r.src === address.address && !elsewhere) return false;
    if (r.dev !== dev) return true;
    if (r.type === 'local' && samePrefix(r.dst, address.address, family)) return false;
    if (address.secondary || shared) return true;
    if (r.type === 'broadcast' && samePrefix(r.dst, broadcast, family)) return false;
    return !(r.proto === 'kernel' && r.via === undefined && samePrefix(r.dst, prefix, family));
  });
  draft.write(kindOf(family), { ...fact.value, routes });
}

/** `ip rule`. Without a preference the kernel takes one less than the second rule of the list. */
export function changePolicy(draft: Draft, { op, family, rule, named }: PolicyEdit): void {
  const kind = family === 4 ? 'rules4' : 'rules6';
  const fact = draft.need(kind, 'the routing rules');
  const rules = [...fact.value.rules].sort((a, b) => a.pref - b.pref);
  if (op === 'del') {
    const at = rules.findIndex((r) => named.every((key) => equal(r[key], rule[key])));
    if (at < 0) throw new ChangeError(`there is no such routing rule on ${draft.node}`);
    rules.splice(at, 1);
    draft.write(kind, { rules });
    return;
  }
  const second = rules[1]?.pref ?? 0;
  const pref = named.includes('pref') ? rule.pref : second > 0 ? second - 1 : 0;
  const made: PolicyRule = { ...rule, pref, line: draft.mark };
  const chosen = named.includes('pref');
  const same = (r: PolicyRule) => {
    const { line: _l, endLine: _e, col: _c, length: _n, pref: _p, ...rest } = r;
    return JSON.stringify(rest, Object.keys(rest).sort());
  };
  if (rules.some((r) => (!chosen || r.pref === pref) && same(r) === same(made)))
    throw new ChangeError(`there is the same routing rule on ${draft.node} already`);
  const behind = rules.findLastIndex((r) => r.pref <= pref);
  rules.splice(behind + 1, 0, made);
  draft.write(kind, { rules });
}
