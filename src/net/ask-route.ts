import type { PolicyRule } from '../facts/index.ts';
import { parseAddr } from './addr.ts';
import { MAX_WAYS, packetOf, type Sample, tracked } from './ask.ts';
import { runHook } from './hook.ts';
import type { NetNode } from './model.ts';
import { TCP, UDP } from './packet.ts';
import { keyTo, type RouteKey } from './policy.ts';
import type { RouteAnswer } from './routing.ts';

/** The host's own route to an address that no rule or table singles out; null: none, or not known. */
export function routeTo(node: NetNode, dst: string): RouteAnswer | null {
  const addr = parseAddr(dst);
  return addr === null ? null : unicastTo(node, { ...keyTo(addr), proto: TCP });
}

/** The route that alone decides for an address, one object for all addresses that it is for; null: ask `routeTo`. */
function loneRoute(node: NetNode, dst: string): object | null {
  const addr = parseAddr(dst);
  if (addr === null) return null;
  return node.host.routing(typeof addr === 'number' ? 4 : 6).plainHop(addr)?.route ?? null;
}

/** Whatever the host's routing says of what it sends from one of its addresses; null: nothing readable, or several next hops. */
export function routeFrom(node: NetNode, src: string, dst: string): RouteAnswer | null {
  const [from, to] = [parseAddr(src), parseAddr(dst)];
  if (from === null || to === null) return null;
  const answers = node.host.routing(typeof to === 'number' ? 4 : 6).lookup({ ...keyTo(to), src: from, proto: UDP });
  return answers.length === 1 ? (answers[0] ?? null) : null;
}

/** The host's own routes to many addresses, most of which share one route. */
export function routesOf(node: NetNode): (dst: string) => RouteAnswer | null {
  const answers = new Map<object, RouteAnswer | null>();
  return (dst) => {
    const lone = loneRoute(node, dst);
    if (lone === null) return routeTo(node, dst);
    const known = answers.get(lone);
    if (known !== undefined) return known;
    const answer = routeTo(node, dst);
    answers.set(lone, answer);
    return answer;
  };
}

function unicastTo(node: NetNode, key: RouteKey): RouteAnswer | null {
  const [answer] = node.host.routing(typeof key.dst === 'number' ? 4 : 6).lookup(key);
  return answer?.type === 'unicast' ? answer : null;
}

/** `iif` is `lo` for what the node itself sends; `src` null: the route decides it. */
export type WaySample = Omit<Sample, 'oif' | 'src'> & { readonly src: string | null };

/** Where new connections that come in by `iif` go, once for every mark that PREROUTING gives them. */
export function waysThrough(node: NetNode, sample: WaySample): readonly (readonly RouteAnswer[])[] {
  const packet = packetOf({ ...sample, src: sample.src ?? sample.dst, oif: '' });
  if (packet === null) return [];
  const { dst, tos, proto } = packet;
  const src = sample.src === null ? null : packet.src;
  const { iif } = sample;
  const ways = iif === 'lo' ? [] : runHook(node.host, 'prerouting', packet, [], { track: tracked, maxWays: MAX_WAYS });
  const passed = ways.filter((w) => w.verdict === 'accept' || w.verdict === 'unknown');
  const marks = new Set(passed.length === 0 ? [packet.mark] : passed.map((w) => w.packet.mark));
  const routing = node.host.routing(typeof dst === 'number' ? 4 : 6);
  return [...marks].map((mark) => routing.lookup({ ...keyTo(dst), src, iif, mark, tos, proto }));
}

/** What the main table alone would do with it; null: it has no route, or several next hops. */
export function mainRoute(node: NetNode, dst: string): RouteAnswer | null {
  const addr = parseAddr(dst);
  if (addr === null) return null;
  const answers = node.host.routing(typeof addr === 'number' ? 4 : 6).inMain(keyTo(addr));
  return answers.length === 1 ? (answers[0] ?? null) : null;
}

/**
 * The routes that new connections take which come in by `iif`, one a device: several next hops may share them. Policy rules may choose by
 * source, device, or a mark that PREROUTING sets. Empty: none, not known, or not the same for all that rules may do with them.
 */
export function routesThrough(node: NetNode, sample: Omit<Sample, 'oif'>): readonly RouteAnswer[] {
  const answers = waysThrough(node, sample).map((found) =>
    found.every((r) => r.type === 'unicast') ? new Map([...found].reverse().map((r) => [r.dev, r])) : null,
  );
  const [first] = answers;
  if (first == null) return [];
  const same = answers.every(
    (a) => a !== null && a.size === first.size && [...a.keys()].every((dev) => first.has(dev)),
  );
  return same ? [...first.values()].reverse() : [];
}

const OWN_TABLES: readonly (string | undefined)[] = ['main', 'local', 'default'];

/** The first of the policy rules that leads packets elsewhere by a mark which PREROUTING gives, or may give, to new ones like the sample. */
export function ruleOfMarks(
  node: NetNode,
  rules: readonly PolicyRule[],
  sample: Omit<Sample, 'oif'>,
): PolicyRule | undefined {
  const elsewhere = (r: PolicyRule) => r.action !== 'nop' && !(r.action === 'lookup' && OWN_TABLES.includes(r.table));
  const asking = rules.filter((r) => r.fwmark !== undefined && r.fwmark !== 0 && elsewhere(r));
  const packet = asking.length === 0 ? null : packetOf({ ...sample, oif: '' });
  if (packet === null) return undefined;
  const ways = runHook(node.host, 'prerouting', packet, [], { track: tracked, maxWays: MAX_WAYS });
  const takes = ({ fwmark = 0, fwmask = 0xffffffff }: PolicyRule) =>
    ways.some((w) => w.verdict === 'unknown' || (w.verdict === 'accept' && (w.packet.mark & fwmask) >>> 0 === fwmark));
  return asking.find(takes);
}

/** The one that stands for them; null: there is none. */
export function routeThrough(node: NetNode, sample: Omit<Sample, 'oif'>): RouteAnswer | null {
  return routesThrough(node, sample)[0] ?? null;
}
