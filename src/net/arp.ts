import { type Addr, contains, formatAddr, parseAddr } from './addr.ts';
import { type OwnAddress, whyDown } from './devices.ts';
import { type Cite, cite, type Reason } from './doubt.ts';
import { arpFilters } from './link-filters.ts';
import type { Packet } from './packet.ts';
import { keyTo } from './policy.ts';
import { forwards, type Judged, joined, no, open, present, sourceIsValid, yes } from './source.ts';
import type { Space } from './space.ts';

/** Does the namespace answer ARP or NDP on the device for an address? `asker`: the question's source, where that is known. */
export function answersFor(space: Space, dev: string, addr: Addr, asker: Addr | null): Judged {
  const device = space.device(dev);
  if (device === undefined) return no(`${dev} is not there`, []);
  const down = whyDown(device);
  if (down !== null) return no(down, [device.cite]);
  const own = space.devices.own.get(addr);
  if (typeof addr === 'bigint') return own === undefined ? answersByEntry(space, dev, addr) : answersNdp(own, dev);
  if (own === undefined) return answersByProxy(space, dev, addr);
  const from = typeof asker === 'number' ? asker : null;
  const ignored = arpIgnored(space, dev, own, from);
  if (ignored !== null) return ignored;
  const filtered = from === null ? null : arpFiltered(space, dev, addr, from);
  if (filtered !== null) return filtered;
  if (from !== null) {
    const valid = sourceIsValid(space, dev, { ...ARP, src: from, dst: addr } as Packet, null);
    if (valid.truth === 0) return no(`the asker is refused: ${valid.because}`, valid.cites);
  }
  return yes([own.cite]);
}

/** Does the device's answer for its own address depend on nothing but who is a valid source? */
export function answersPlainly(space: Space, dev: string): boolean {
  const ignore = joined(space, dev, 'arp_ignore').value ?? 0;
  return ignore <= 1 && (joined(space, dev, 'arp_filter').value ?? 0) === 0 && arpFilters(space) === null;
}

const NOT_THERE = no('the address is not there', []);
const ARP = { mark: 0, tos: 0, proto: 0 };

/** ndisc_recv_ns(): an address is answered for where it is, and once nobody else turned out to have it. */
function answersNdp(own: OwnAddress, dev: string): Judged {
  if (own.dev !== dev) return no('the address is on another device', [own.cite]);
  if (own.dad === null) return yes([own.cite]);
  const address = `${formatAddr(own.addr)} on ${dev}`;
  return own.dad === 'dadfailed'
    ? no(`somebody else has the address ${address} too (dadfailed): it is not used`, [own.cite])
    : open({ because: `whether ${address} is in use yet (tentative) is not known`, evidence: [] });
}

/** arp_ignore(): 1 not on other devices, 2 nor to other subnets, 3 not for addresses of host scope, 8 never; null: it does not keep silent. */
function arpIgnored(space: Space, dev: string, own: OwnAddress, asker: number | null): Judged | null {
  const { value, setting } = joined(space, dev, 'arp_ignore');
  const silent = (because: string) => no(`arp_ignore = ${value} keeps ${dev} silent${because}`, present(setting.cite));
  if (value === 8) return silent('');
  if (value === 3) return own.scope === 'host' ? silent(` about ${formatAddr(own.addr)} of host scope`) : null;
  if (value !== 1 && value !== 2) return null;
  if (own.dev !== dev) return silent(` about the address of ${own.dev}`);
  return value === 2 && asker !== null && !contains(own.net, asker)
    ? silent(` towards ${formatAddr(asker)} of another subnet`)
    : null;
}

/** arp_filter(): the way back to who asks must be by the device that he asked on, also by policy rules; null: it is, or nobody looks. */
function arpFiltered(space: Space, dev: string, addr: number, asker: number): Judged | null {
  const { value, setting } = joined(space, dev, 'arp_filter');
  if (value === null || value === 0) return null;
  const routes = space.routing(4).lookup({ ...keyTo(asker), src: addr });
  const cites = [...present(setting.cite), ...routes.flatMap((r) => r.cites)];
  const apart = routes.filter((r) => r.type !== 'unknown' && (r.type !== 'unicast' || r.dev !== dev));
  if (apart.length === routes.length)
    return no(
      `arp_filter keeps ${dev} silent: what ${formatAddr(addr)} sends to ${formatAddr(asker)} does not go by it`,
      cites,
    );
  const [other] = routes.filter((r) => r.type === 'unknown' || apart.includes(r));
  const because = `whether arp_filter lets ${dev} answer ${formatAddr(asker)} is not known`;
  return other === undefined ? null : open(other.reason ?? { because, evidence: [] });
}

/** arp_process(): a router that stands in for what is behind another of its devices, for all of it or for single addresses. */
function answersByProxy(space: Space, dev: string, addr: number): Judged {
  const proxy = joined(space, dev, 'proxy_arp');
  const set = proxy.value === null ? open(proxy.setting.reason) : yes(present(proxy.setting.cite));
  const may = proxy.value === 0 ? proxyEntry(space, dev, addr) : set;
  if (may.truth === 0) return NOT_THERE;
  const route = elsewhere(space, dev, addr);
  if (route === null || (proxy.value === 0 && may.truth === null && !route.single)) return NOT_THERE;
  if (route.reason !== null && may.truth === 1) return open(route.reason);
  const forwarding = forwards(space, dev, 4);
  return forwarding.truth === 1 ? may : forwarding;
}

/** ndisc_recv_ns(): for single addresses only, and where proxy_ndp is on, which is not collected. */
function answersByEntry(space: Space, dev: string, addr: bigint): Judged {
  const entry = proxyEntry(space, dev, addr);
  if (entry.truth === 0 || forwards(space, dev, 6).truth === 0) return NOT_THERE;
  if (entry.truth === null && elsewhere(space, dev, addr)?.single !== true) return NOT_THERE;
  const because = `whether ${space.label} answers for ${formatAddr(addr)} on ${dev} (proxy_ndp) is not known`;
  return entry.truth === null ? entry : open({ because, evidence: ['sys.sysctl'] });
}

/**
 * The route to an address by another device than the one that it is asked for on. `single`: it is of that address alone, as whoever sets a
 * proxy entry needs it: without such a route entries that nobody collected are no question.
 */
function elsewhere(space: Space, dev: string, addr: Addr): { single: boolean; reason: Reason | null } | null {
  const routing = space.routing(typeof addr === 'number' ? 4 : 6);
  const [route] = routing.lookup({ ...keyTo(addr), iif: dev });
  if (route === undefined || route.dev === dev || (route.type !== 'unicast' && route.type !== 'unknown')) return null;
  const whole = typeof addr === 'number' ? 32 : 128;
  return { single: routing.plainHop(addr)?.route.length === whole, reason: route.reason };
}

/** Is there an entry of `ip neigh add proxy` (pneigh_lookup)? Of a namespace with one network nobody needs to know. */
function proxyEntry(space: Space, dev: string, addr: Addr): Judged {
  const known = proxiesOf(space);
  const at = known.cites.get(`${addr} ${dev}`) ?? known.cites.get(`${addr} `);
  if (at !== undefined) return yes([at]);
  return known.whole || (space.inode !== null && space.devices.list.length <= 2)
    ? NOT_THERE
    : open({
        because: `whether ${space.label} answers for ${formatAddr(addr)} on ${dev} (ip neigh show proxy) is not known`,
        evidence: ['ip.neigh-proxy'],
      });
}

/** Entries by address and device, those for every device by the address and a blank. */
function proxiesOf(space: Space): { readonly cites: ReadonlyMap<string, Cite>; readonly whole: boolean } {
  return space.once('neighbour proxies', () => {
    const fact = space.inode === null ? space.node.facts.get('neighbourProxies') : undefined;
    if (fact === undefined || fact.missing) return { cites: new Map<string, Cite>(), whole: false };
    const cites = new Map(fact.value.entries.map((e) => [`${parseAddr(e.ip)} ${e.dev ?? ''}`, cite(fact, e)]));
    return { cites, whole: fact.closed };
  });
}
