import { type Addr, isLinkLocal, parseAddr } from './addr.ts';
import {
  lost,
  noted,
  type Outcome,
  type PreparedRule,
  ruleKey,
  ruleReason,
  type Site,
  type State,
  stepOf,
} from './chain.ts';
import type { Cite } from './doubt.ts';
import { hasPorts, type Packet, type Port, samePort } from './packet.ts';

/** What a translation asks for: addresses and ports are closed ranges. */
export interface NatRange {
  readonly addresses: readonly [low: Addr, high: Addr] | null;
  readonly ports: readonly [low: number, high: number] | null;
  /** Port of the packet that maps to the first of the range: `:8000-8100/80`. */
  readonly basePort: number | null;
  readonly random: boolean;
}

export type NatKind = 'snat' | 'dnat' | 'masquerade' | 'redirect' | 'netmap';

/** More addresses than this are not followed one by one. */
const MAX_ADDRESSES = 64;

/** Which side of the packet a hook translates; null: NAT has no place there. */
export const natSide = (hook: string): 'src' | 'dst' | null =>
  hook === 'prerouting' || hook === 'output' ? 'dst' : hook === 'postrouting' || hook === 'input' ? 'src' : null;

const within = (port: Port | null, low: number, high: number): boolean =>
  port !== null && (typeof port === 'number' ? port >= low && port <= high : port[0] >= low && port[1] <= high);

const rangeOf = (low: number, high: number): Port => (low === high ? low : [low, high]);

/** The port after translation: kept when it may be, otherwise one of the range, which one is the kernel's choice. */
function newPort(port: Port | null, to: NatRange, side: 'src' | 'dst'): Port | null {
  if (port === null) return null;
  if (to.ports !== null) {
    const [low, high] = to.ports;
    if (to.basePort !== null && typeof port === 'number') {
      const moved = low + (port - to.basePort);
      return moved >= low && moved <= high ? moved : rangeOf(low, high);
    }
    return !to.random && within(port, low, high) ? port : rangeOf(low, high);
  }
  if (side === 'dst' || !to.random) return port;
  const top = typeof port === 'number' ? port : port[1];
  return top < 512 ? [1, 511] : top < 1024 ? [600, 1023] : [1024, 65535];
}

/** The packet with one side translated; the connection is marked only when something changed. */
function rewritten(p: Packet, side: 'src' | 'dst', addr: Addr, port: Port | null, random: boolean): Packet {
  // an echo has an id in place of ports, which --random changes as well
  const newId = random && side === 'src' && !hasPorts(p.proto);
  const changed =
    newId || (side === 'src' ? addr !== p.src || !samePort(port, p.sport) : addr !== p.dst || !samePort(port, p.dport));
  if (!changed) return p;
  const ct = p.ct === null ? null : { ...p.ct, ...(side === 'src' ? { snat: true } : { dnat: true }) };
  return side === 'src' ? { ...p, src: addr, sport: port, ct } : { ...p, dst: addr, dport: port, ct };
}

/** Ends the chain with the packet translated, in as many ways as the kernel may choose addresses. */
export function translate(
  state: State,
  site: Site,
  rule: PreparedRule,
  kind: NatKind,
  to: NatRange,
  cites: readonly Cite[] = [],
): readonly Outcome[] {
  const side = natSide(site.run.hook);
  const fail = (because: string) => [
    lost(state, ruleKey(site, rule, state.packet, kind), ruleReason(site, rule, { because, evidence: [] })),
  ];
  if (!site.nat || side === null) return fail(`${kind} has no place here`);
  if ((kind === 'snat' || kind === 'masquerade') && side !== 'src') return fail(`${kind} has no place here`);
  if ((kind === 'dnat' || kind === 'redirect') && side !== 'dst') return fail(`${kind} has no place here`);
  const p = state.packet;
  const current = side === 'src' ? p.src : p.dst;
  const port = hasPorts(p.proto) ? (side === 'src' ? p.sport : p.dport) : null;
  const [low, high] = to.addresses ?? [current, current];
  if (typeof low !== typeof current) return fail('an address of the other family');
  const count = Number(BigInt(high) - BigInt(low)) + 1;
  const kept = side === 'src' && !to.random && current >= low && current <= high;
  if (!kept && (count > MAX_ADDRESSES || count < 1)) return fail(`one of ${count} addresses`);
  const choices: Addr[] = kept
    ? [current]
    : Array.from({ length: count }, (_, i) => (typeof low === 'bigint' ? low + BigInt(i) : low + i));
  const step = { ...stepOf(site, rule, kind), cites: [site.cite(rule), ...cites] };
  const unmoved = hasPorts(p.proto) ? newPort(port, to, side) : side === 'src' ? p.sport : p.dport;
  return choices.map((addr): Outcome => {
    const packet = rewritten(p, side, addr, unmoved, to.random);
    const reroute = state.reroute || (site.run.hook === 'output' && packet.dst !== p.dst);
    const probability = state.probability / choices.length;
    return {
      to: 'end',
      verdict: 'accept',
      because: '',
      state: noted(state, step, { packet, reroute, probability, mapped: true }),
    };
  });
}

/** MASQUERADE: the source is an address of the device that the packet leaves by. */
export function masquerade(state: State, site: Site, rule: PreparedRule, to: NatRange): readonly Outcome[] {
  const p = state.packet;
  const routing = site.run.space.routing(typeof p.dst === 'number' ? 4 : 6);
  const { addr, cites, reason } = routing.sourceAddress(p.oif, p.dst, p.nexthop ?? p.dst);
  if (addr !== null) return translate(state, site, rule, 'masquerade', { ...to, addresses: [addr, addr] }, cites);
  if (reason !== null) return [lost(state, ruleKey(site, rule, p, 'masquerade'), ruleReason(site, rule, reason))];
  const because = `${p.oif} has no address to masquerade with`;
  return [{ to: 'end', verdict: 'drop', because, state: noted(state, stepOf(site, rule, 'drop')) }];
}

/** REDIRECT: to this host, by the first address of the device that the packet came by. */
export function redirect(state: State, site: Site, rule: PreparedRule, to: NatRange): readonly Outcome[] {
  const { packet } = state;
  const { space, hook } = site.run;
  const four = typeof packet.dst === 'number';
  if (hook === 'output') {
    const home: Addr = four ? 0x7f000001 : 1n;
    return translate(state, site, rule, 'redirect', { ...to, addresses: [home, home] });
  }
  const own = (space.device(packet.iif)?.addresses ?? []).filter((a) => (typeof a.addr === 'number') === four);
  const fit = four ? own[0] : (own.find((a) => isLinkLocal(a.addr) === isLinkLocal(packet.dst)) ?? own[0]);
  if (fit !== undefined)
    return translate(state, site, rule, 'redirect', { ...to, addresses: [fit.addr, fit.addr] }, [fit.cite]);
  const { gap } = space.devices;
  if (gap !== null || space.device(packet.iif) === undefined) {
    const why = gap ?? { because: `the addresses of ${packet.iif} are not known`, evidence: [] };
    return [lost(state, ruleKey(site, rule, packet, 'redirect'), ruleReason(site, rule, why))];
  }
  const because = `${packet.iif} has no address to redirect to`;
  return [{ to: 'end', verdict: 'drop', because, state: noted(state, stepOf(site, rule, 'drop')) }];
}

/** NETMAP: the network of the address is exchanged, its host part kept. */
export function netmap(state: State, site: Site, rule: PreparedRule, base: Addr, length: number): readonly Outcome[] {
  const side = natSide(site.run.hook);
  const current = side === 'src' ? state.packet.src : state.packet.dst;
  const bits = typeof base === 'number' ? 32 : 128;
  const hosts = (1n << BigInt(bits - length)) - 1n;
  const mapped = BigInt(base) | (BigInt(current) & hosts);
  const addr: Addr = typeof base === 'number' ? Number(mapped) : mapped;
  const to: NatRange = { addresses: [addr, addr], ports: null, basePort: null, random: false };
  return translate(state, site, rule, 'netmap', to);
}

/** `80`, `80-90`, `80-90/8000`. */
export function readPortRange(text: string): Pick<NatRange, 'ports' | 'basePort'> | null {
  const m = /^(\d{1,5})(?:[-:](\d{1,5}))?(?:\/(\d{1,5}))?$/.exec(text);
  if (m === null) return null;
  const [low, high] = [Number(m[1]), Number(m[2] ?? m[1])];
  if (low > high || high > 0xffff) return null;
  return { ports: [low, high], basePort: m[3] === undefined ? null : Number(m[3]) };
}

/** `10.0.0.1`, `10.0.0.1-10.0.0.9:80-90`, `:80`, `[fd00::1]:80`; null: not understood. */
export function readNatRange(text: string, random: boolean): NatRange | null {
  let [addresses, ports] = [text, ''];
  const bracket = /^\[([^\]]+)\](?::(.+))?$/.exec(text);
  if (bracket !== null) [addresses, ports] = [bracket[1]!, bracket[2] ?? ''];
  else if (/^[^:]*:[^:]*$/.test(text)) [addresses, ports] = text.split(':') as [string, string];
  const range = ports === '' ? { ports: null, basePort: null } : readPortRange(ports);
  if (range === null) return null;
  if (addresses === '') return { addresses: null, ...range, random };
  const [low, high] = addresses.split('-').map(parseAddr);
  if (low === null || low === undefined || high === null) return null;
  if (high !== undefined && (typeof high !== typeof low || high < low)) return null;
  return { addresses: [low, high ?? low], ...range, random };
}
