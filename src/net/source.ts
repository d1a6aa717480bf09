import { type Addr, isLoopback, isMulticast } from './addr.ts';
import type { Cite, Reason, Truth } from './doubt.ts';
import { ICMP, makePacket, type Packet } from './packet.ts';
import type { Setting, Space } from './space.ts';

/** An answer with what it rests on. `because` says why not, as a clause. */
export interface Judged {
  readonly truth: Truth;
  readonly because: string;
  readonly cites: readonly Cite[];
  readonly reason: Reason;
}

const NO_REASON: Reason = { because: '', evidence: [] };
export const yes = (cites: readonly Cite[] = []): Judged => ({ truth: 1, because: '', cites, reason: NO_REASON });
export const no = (because: string, cites: readonly Cite[]): Judged => ({
  truth: 0,
  because,
  cites,
  reason: NO_REASON,
});
export const open = (reason: Reason): Judged => ({ truth: null, because: reason.because, cites: [], reason });

/** `conf.all` or the device's own, whichever is larger: how the kernel joins most of them. Null: one that could matter is missing. */
export function joined(space: Space, dev: string, name: string): { value: number | null; setting: Setting } {
  const own = space.sysctl(`net/ipv4/conf/${dev}/${name}`);
  const all = space.sysctl(`net/ipv4/conf/all/${name}`);
  if (own.value === null || all.value === null) return { value: null, setting: own.value === null ? own : all };
  return own.value >= all.value ? { value: own.value, setting: own } : { value: all.value, setting: all };
}

export const present = (cite: Cite | null): readonly Cite[] => (cite === null ? [] : [cite]);

/** May the packet have come in by the device with this source (fib_validate_source)? `oif`: where it goes on; null: it is delivered here. */
export function sourceIsValid(space: Space, dev: string, packet: Packet, oif: string | null): Judged {
  const { src } = packet;
  if (typeof src !== 'number') return isMulticast(src) ? no('the source is a multicast address', []) : yes();
  if (isMulticast(src) || src === 0xffffffff) return no(`the source is no host's address (martian source)`, []);
  if (isLoopback(src) && dev !== 'lo') {
    const local = joined(space, dev, 'route_localnet');
    if (local.value === null) return open(local.setting.reason);
    if (local.value === 0)
      return no('a loopback source came in from outside (martian source)', present(local.setting.cite));
  }
  if (dev === 'lo') return yes();
  const routing = space.routing(4);
  const strict = joined(space, dev, 'rp_filter');
  const own = space.devices.own.get(src);
  const redirects = oif === dev;
  if (strict.value === 0 && !redirects && !routing.customRules) {
    if (own === undefined) return yes();
    return ownSource(space, dev, own.cite);
  }
  const mark =
    space.sysctl(`net/ipv4/conf/${dev}/src_valid_mark`).value === 1 ||
    space.sysctl('net/ipv4/conf/all/src_valid_mark').value === 1;
  if (own !== undefined) {
    const accepted = ownSource(space, dev, own.cite);
    if (accepted.truth !== 1) return accepted;
    if (strict.value === 0) return accepted;
  }
  const back = routing.reversePath(packet, dev, { loose: false, mark, oif });
  if (back.passes === 1) return yes(back.cites);
  const loose = routing.reversePath(packet, dev, { loose: true, mark, oif });
  if (back.passes === null || loose.passes === null)
    return strict.value === 0
      ? yes()
      : open(back.reason ?? loose.reason ?? { because: 'the route back to the source is not known', evidence: [] });
  if (strict.value === null) return open(strict.setting.reason);
  const cites = [...present(strict.setting.cite), ...back.cites];
  if (strict.value === 1)
    return no(`rp_filter is strict on ${dev}, and the route back to the source does not use it`, cites);
  if (strict.value === 2 && loose.passes === 0)
    return no(`rp_filter is loose on ${dev}, and there is no route back to the source`, cites);
  return yes(cites);
}

/** sourceIsValid as a yes or no, for very many sources of packets to `dst` that come in by one device. */
export function sourceGate(space: Space, dev: string, oif: string | null, dst: Addr): (src: number) => boolean {
  const routing = space.routing(4);
  const { own } = space.devices;
  const unchecked = joined(space, dev, 'rp_filter').value === 0 && oif !== dev && !routing.customRules;
  return (src) => {
    const common = !isMulticast(src) && !isLoopback(src) && src !== 0xffffffff && !own.has(src);
    if (common && (unchecked || routing.plainHop(src)?.hop.dev === dev)) return true;
    return sourceIsValid(space, dev, makePacket({ src, dst, proto: ICMP }), oif).truth === 1;
  };
}

function ownSource(space: Space, dev: string, at: Cite): Judged {
  const accept = joined(space, dev, 'accept_local');
  if (accept.value === null) return open(accept.setting.reason);
  if (accept.value > 0) return yes(present(accept.setting.cite));
  return no(`the source is an address of ${space.label} itself (accept_local=0)`, [at]);
}

/** Does the namespace forward what comes in by the device? */
export function forwards(space: Space, dev: string, family: 4 | 6, forcedBy = dev): Judged {
  const key = family === 4 ? `net/ipv4/conf/${dev}/forwarding` : 'net/ipv6/conf/all/forwarding';
  const own = space.sysctl(key);
  // ip_forward alone proves nothing: a single device may have been switched since
  if (own.value === null) return open(own.reason);
  if (own.value !== 0) return yes(present(own.cite));
  if (family === 6) {
    // Linux 6.17: a device forwards although the others do not
    const forced = space.sysctl(`net/ipv6/conf/${forcedBy}/force_forwarding`);
    if (forced.value !== null && forced.value !== 0) return yes(present(forced.cite));
  }
  return no(`forwarding is off on ${dev} (${key} = 0)`, present(own.cite));
}

/** Does `br_netfilter` hand frames of this bridge to iptables [V02]? */
export function bridgeCallsIptables(space: Space, bridge: string, family: 4 | 6): Judged {
  const device = space.device(bridge);
  const own = family === 4 ? device?.bridge.nfCallIptables : device?.bridge.nfCallIp6tables;
  if (own === true && device !== undefined) return yes([device.cite]);
  const key = family === 4 ? 'net/bridge/bridge-nf-call-iptables' : 'net/bridge/bridge-nf-call-ip6tables';
  const setting = space.sysctl(key);
  if (setting.value === 1) return yes(present(setting.cite));
  if (setting.value === 0) return no(`${key} = 0`, present(setting.cite));
  // without the module there is no such file: a whole collection that lacks it says so
  if (space.sysctlsClosed) return no('br_netfilter is not loaded', []);
  return open(setting.reason);
}
