import { type Addr, contains, isLinkLocal, isLoopback } from './addr.ts';
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
 * inet_select_addr(dev, next hop) [V52]: the primary address of the device whose subnet has the next hop, else its first, else one of
 * another device. `onLink`: addresses of link scope count as well, as for routes without a gateway.
 */
export function selectSource(
  space: Space,
  family: 4 | 6,
  oif: string,
  nexthop: Addr | null,
  onLink = false,
): SourceAddress {
  const { devices } = space;
  const usable = (a: OwnAddress) =>
    (typeof a.addr === 'number') === (family === 4) &&
    !a.secondary &&
    a.dad === null &&
    (family === 6 ? !isLinkLocal(a.addr) : a.scope !== 'host' && (onLink || a.scope !== 'link'));
  const device = space.device(oif);
  if (device === undefined && devices.gap !== null) return { addr: null, cites: [], reason: devices.gap };
  const good = (device?.addresses ?? []).filter(usable);
  const own = (nexthop === null ? undefined : good.find((a) => contains(a.net, nexthop))) ?? good[0];
  if (own !== undefined) return { addr: own.addr, cites: [own.cite], reason: null };
  for (const other of devices.list) {
    // an IPv4 address stays usable when its device is down; IPv6 takes it away
    if (other.name === oif || (family === 6 && other.up === false)) continue;
    const found = other.addresses.find((a) => usable(a) && a.scope !== 'link' && !isLoopback(a.addr));
    if (found !== undefined) return { addr: found.addr, cites: [found.cite], reason: null };
  }
  return { addr: null, cites: [], reason: devices.gap };
}
