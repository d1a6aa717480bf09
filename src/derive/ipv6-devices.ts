import type { Span } from '../core/span.ts';
import type { Fact, Route } from '../facts/index.ts';
import type { ContainerBridge, Source } from './devices.ts';
import { sysctl } from './settings.ts';

/** A device that IPv6 packets of containers arrive on. */
export interface Device6 {
  readonly dev: string;
  readonly fact: Fact<'addresses'>;
  readonly span: Span;
  /** It has no IPv4 address. */
  readonly alone: boolean;
}

const isLinkLocal = (address: string) => /^fe[89ab]/i.test(address);

/** Of container bridges those with a port and an IPv6 address that can be routed; the place is that address. */
export function bridges6(bridges: readonly ContainerBridge[]): readonly Device6[] {
  return bridges.flatMap(({ name, device, fact, ports, prefixes }) => {
    const own = device.addresses.find((a) => a.family === 6 && !isLinkLocal(a.address));
    return own === undefined || ports.length === 0
      ? []
      : [{ dev: name, fact, span: { line: own.line }, alone: prefixes.length === 0 }];
  });
}

/** Devices that lead to one pod each by its IPv6 host route (Calico). Not Cilium's, whose programs pass packets on without asking the kernel. */
export function podDevices6(source: Source<'addresses' | 'links' | 'routes6'>): readonly Device6[] {
  const [routes, addresses, links] = [source.get('routes6'), source.get('addresses'), source.get('links')];
  if (routes.missing || addresses.missing) return [];
  const leads = new Set(
    routes.value.routes
      .filter((r) => r.table === 'main' && r.type === 'unicast' && r.via === undefined && r.dst.endsWith('/128'))
      .map((r) => r.dev),
  );
  if (leads.size === 0) return [];
  const kinds = new Map(links.missing ? [] : links.value.devices.map((d) => [d.name, d.kind]));
  return addresses.value.devices.flatMap((device) => {
    const kind = kinds.get(device.name) ?? device.kind;
    const veth = kind === undefined ? device.peerIfindex !== undefined : kind === 'veth';
    if (!leads.has(device.name) || !veth || device.master !== undefined || /^(lxc|cilium_)/.test(device.name))
      return [];
    return [{ dev: device.name, fact: addresses, span: device, alone: false }];
  });
}

/** Unicast routes to other machines: neither link-local or multicast ones nor those into the `own` devices. */
export function awayRoutes6({ value }: Fact<'routes6'>, own: ReadonlySet<string>): readonly Route[] {
  const ways = value.routes.filter((r) => {
    if (r.type !== 'unicast' || r.table === 'local' || isLinkLocal(r.dst) || /^ff/i.test(r.dst)) return false;
    const devices = r.nexthops.length > 0 ? r.nexthops.map((hop) => hop.dev) : [r.dev];
    // a prefix on the link of a device that is down leads nowhere
    if (r.flags.some((f) => f === 'linkdown' || f === 'dead')) return false;
    return devices.some((dev) => dev !== undefined && dev !== 'lo' && !own.has(dev));
  });
  return ways.sort((a, b) => Number(b.dst === '::/0') - Number(a.dst === '::/0'));
}

/** Devices of default routes that the kernel has from router advertisements, and would not renew as a router (accept_ra=1). */
export function raDevices({ value }: Fact<'routes6'>, sysctls: Fact<'sysctl'>): readonly string[] {
  const devices = value.routes.flatMap(({ dst, proto, dev }) =>
    dst === '::/0' && proto === 'ra' && dev !== undefined ? [dev] : [],
  );
  return [...new Set(devices)].filter((dev) => sysctl(sysctls, `net/ipv6/conf/${dev}/accept_ra`)?.value === '1');
}
