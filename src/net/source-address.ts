import { type Addr, contains, isLinkLocal, isLoopback, parseNet } from './addr.ts';
import type { OwnAddress } from './devices.ts';
import type { Cite, Reason } from './doubt.ts';
import type { Space } from './space.ts';

/** `addr` null without a reason: there is none. */
export interface SourceAddress {
  readonly addr: Addr | null;
  readonly cites: readonly Cite[];
  readonly reason: Reason | null;
}

/**
 * The source that the kernel picks for what leaves by a device: inet_select_addr(dev, next hop) [V52] or ipv6_dev_get_saddr(dev, destination).
 * `onLink`: IPv4 addresses of link scope count as well, as for routes without a gateway.
 */
export function selectSource(space: Space, oif: string, dst: Addr, nexthop: Addr, onLink = false): SourceAddress {
  const { devices } = space;
  if (space.device(oif) === undefined && devices.gap !== null) return { addr: null, cites: [], reason: devices.gap };
  const own = typeof dst === 'number' ? select4(space, oif, nexthop, onLink) : select6(space, oif, dst);
  // a device of which the list shows no address may have one
  return own === undefined || (own.dev !== oif && devices.gap !== null)
    ? { addr: null, cites: [], reason: devices.gap }
    : { addr: own.addr, cites: [own.cite], reason: null };
}

/** The primary address of the device whose subnet has the next hop, else its first, else one of another device, which may be down. */
function select4(space: Space, oif: string, nexthop: Addr, onLink: boolean): OwnAddress | undefined {
  const usable = (a: OwnAddress) =>
    typeof a.addr === 'number' && !a.secondary && a.scope !== 'host' && (onLink || a.scope !== 'link');
  const good = (space.device(oif)?.addresses ?? []).filter(usable);
  const own = good.find((a) => contains(a.net, nexthop)) ?? good[0];
  if (own !== undefined) return own;
  const others = space.devices.list.filter((d) => d.name !== oif).flatMap((d) => d.addresses);
  return others.find((a) => usable(a) && a.scope !== 'link' && !isLoopback(a.addr));
}

/**
 * RFC 6724 as ipv6_get_saddr_eval() has it: the destination itself, then a scope that suffices, not deprecated, of the device, with the
 * destination's label, with the longest common prefix; among equals the first. What link-local destinations are told from is of the device.
 */
function select6(space: Space, oif: string, dst: bigint): OwnAddress | undefined {
  const near = scopeOf(dst) <= LINK;
  let best: { own: OwnAddress; score: readonly number[] } | undefined;
  for (const device of space.devices.list) {
    if (near && device.name !== oif) continue;
    for (const own of device.addresses) {
      const { addr } = own;
      if (typeof addr !== 'bigint' || own.dad !== null) continue;
      const score = scoreOf(own, addr, dst, device.name === oif);
      if (best === undefined || isMore(score, best.score)) best = { own, score };
    }
  }
  return best?.own;
}

function scoreOf(own: OwnAddress, addr: bigint, dst: bigint, leaves: boolean): readonly number[] {
  const scope = scopeOf(addr);
  const common = 128 - (addr ^ dst).toString(2).length;
  return [
    Number(addr === dst),
    scope >= scopeOf(dst) ? -scope : scope - 128,
    Number(!own.deprecated),
    Number(leaves),
    Number(labelOf(addr) === labelOf(dst)),
    Math.min(common, own.net.length),
  ];
}

function isMore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((n, i) => n !== b[i]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

const [LINK, GLOBAL] = [2, 14];
/** __ipv6_addr_type(): loopback counts as of the link, unique local addresses as global. */
const scopeOf = (addr: bigint): number => (addr === 1n || isLinkLocal(addr) ? LINK : GLOBAL);

/** The kernel's own table (ip6addrlbl_init_table) [ip addrlabel]; changes of it are not collected. */
const LABELS: readonly (readonly [prefix: string, label: number])[] = [
  ['::1/128', 0],
  ['::ffff:0:0/96', 4],
  ['::/96', 3],
  ['2001::/32', 6],
  ['2001:10::/28', 7],
  ['3ffe::/16', 12],
  ['2002::/16', 2],
  ['fec0::/10', 11],
  ['fc00::/7', 5],
];
const TABLE = LABELS.flatMap(([text, label]) => {
  const net = parseNet(text, 6);
  return net === null ? [] : [{ net, label }];
});
const labelOf = (addr: bigint): number => TABLE.find(({ net }) => contains(net, addr))?.label ?? 1;
