import { OF_RUN, OWN_BASE, type RouteMap, type RouteWay } from '../core/route-map.ts';
import { type Addr, contains, parseAddr, parseNet } from './addr.ts';
import type { NetNode } from './model.ts';
import { keyTo } from './policy.ts';
import type { RouteAnswer, RouteType } from './route-answer.ts';
import type { Routing } from './routing.ts';

interface Found {
  readonly way: RouteWay;
  readonly line: number;
  readonly via?: number;
}

/**
 * Follows one address of each stretch between the ends of prefixes. null: `within` is no IPv4 prefix. `skip`: addresses that are not asked about.
 */
export function routeMap(
  node: NetNode,
  within: string,
  from: { readonly src: string; readonly iif: string; readonly skip: string | null },
): RouteMap | null {
  const whole = parseNet(within);
  const skip = from.skip === null ? null : parseNet(from.skip);
  if (whole === null || typeof whole.base !== 'number') return null;
  const routing = node.host.routing(4);
  const edges = edgesOf(node, whole.base, whole.length, skip === null ? [] : [skip]);
  const ways = new Map<string, number>();
  const list: RouteWay[] = [];
  const runs: [number, number, number, number, number, number?][] = [];
  const covered = new Map<string, { size: number; way: number; line: number }>();
  for (const [i, first] of edges.entries()) {
    const next = edges[i + 1];
    if (next === undefined || (skip !== null && contains(skip, first))) continue;
    const size = next - first;
    const { way, line, via } = answerAt(routing, first, size, from);
    const key = JSON.stringify(way);
    const at = ways.get(key) ?? list.push(way) - 1;
    ways.set(key, at);
    // what a route for the whole prefix or a wider one answers is what is left where nothing particular is known
    if (way.length <= whole.length) {
      const sum = covered.get(`${at} ${line}`) ?? { size: 0, way: at, line };
      covered.set(`${at} ${line}`, { ...sum, size: sum.size + size });
    }
    const last = runs.at(-1);
    const joins = via === undefined && last !== undefined && last[3] === at && last[0] + last[1] * last[2] === first;
    if (joins && way.dst === null && last[1] === size && last[4] + last[2] === line) last[2] += 1;
    else if (joins && way.dst !== null && last[4] === line) last[1] += size;
    else if (via === undefined) runs.push([first, size, 1, at, line]);
    else runs.push([first, size, 1, at, line, via]);
  }
  const rest = [...covered.values()].sort((a, b) => b.size - a.size)[0] ?? { way: -1, line: 0 };
  return {
    ways: list,
    runs: runs.filter(([, , , way, line]) => way !== rest.way || line !== rest.line),
    rest: { way: rest.way, line: rest.line },
  };
}

/** Where the answer can change: at the ends of every prefix that a route, a policy rule or an address names. */
function edgesOf(
  { facts }: NetNode,
  base: number,
  length: number,
  more: readonly { base: Addr; length: number }[],
): number[] {
  const end = base + 2 ** (32 - length);
  const edges = new Set<number>([base, end]);
  const add = (at: Addr, bits: number) => {
    if (typeof at !== 'number' || bits <= length || at < base || at >= end) return;
    edges.add(at);
    edges.add(at + 2 ** (32 - bits));
  };
  const named = (text: string | undefined) => {
    const net = text === undefined || text === 'all' ? null : parseNet(text);
    if (net !== null) add(net.base, net.length);
  };
  for (const net of more) add(net.base, net.length);
  const routes = facts.get('routes4');
  if (!routes.missing) for (const r of routes.value.routes) named(r.dst);
  const rules = facts.get('rules4');
  if (!rules.missing) for (const r of rules.value.rules) named(r.to);
  const addresses = facts.get('addresses');
  if (!addresses.missing) for (const d of addresses.value.devices) for (const a of d.addresses) named(a.address);
  return [...edges].sort((a, b) => a - b);
}

function answerAt(routing: Routing, addr: number, size: number, from: { src: string; iif: string }): Found {
  const plain = routing.plainHop(addr);
  if (plain !== null) {
    const { route, hop } = plain;
    const hops = [[hop.dev, typeof hop.via === 'number' ? hop.via : null] as const];
    return { ...shared('unicast', hops, route.route.dst, addr, size), line: route.route.line };
  }
  const answers = routing.lookup({ ...keyTo(addr), src: parseAddr(from.src), iif: from.iif, proto: 6 });
  const [first] = answers;
  if (first === undefined || first.type === 'none')
    return { way: { type: 'none', hops: [], dst: '', length: 0 }, line: 0 };
  if (first.type === 'unknown') {
    const { because = '', evidence = [] } = first.reason ?? {};
    return { way: { type: 'unknown', hops: [], dst: '', length: 0, because, evidence }, line: 0 };
  }
  const rule = first.cites.find((c) => c.fact.kind === 'rules4')?.line;
  const line = first.cites.find((c) => c.fact.kind === 'routes4')?.line ?? 0;
  // a policy rule that rejects needs no table
  if (first.table === '')
    return { way: { type: first.type, hops: [], dst: '', length: 32, ...(rule === undefined ? {} : { rule }) }, line };
  const hops = answers.map((a) => [a.dev, typeof a.via === 'number' ? a.via : null] as const);
  const { way, ...via } = shared(first.type, hops, dstOf(first), addr, size);
  return { way: rule === undefined ? way : { ...way, rule }, line, ...via };
}

/** `10.0.0.0/8 via ...`, `blackhole 10.0.0.0/8`. */
const dstOf = ({ type, text }: RouteAnswer): string => text.split(' ')[type === 'unicast' ? 0 : 1] ?? '';

/** The way without what is of this route alone. */
function shared(
  type: RouteType,
  hops: readonly (readonly [dev: string, via: number | null])[],
  dst: string,
  addr: number,
  size: number,
): Pick<Found, 'way' | 'via'> {
  const net = parseNet(dst);
  const length = net?.length ?? 32;
  const exact = net !== null && net.base === addr && 2 ** (32 - length) === size;
  if (!exact) return { way: { type, hops, dst, length } };
  const [hop] = hops;
  const via = hop?.[1] ?? null;
  if (hop === undefined || via === null || hops.length > 1) return { way: { type, hops, dst: null, length } };
  const own = via === addr;
  const way = { type, hops: [[hop[0], own ? OWN_BASE : OF_RUN] as const], dst: null, length };
  return own ? { way } : { way, via };
}
