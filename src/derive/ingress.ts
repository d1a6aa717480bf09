import type { Span } from '../core/span.ts';
import type { Fact, Route } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { attachedBridges, containerBridges, ip4Overlays, isUp, podDevices, uplinks } from './devices.ts';
import { perSource } from './per-source.ts';
import { type PodKinds, peerRoutes, pointedRoutes } from './pods.ts';

/** A device that packets of containers arrive on, to be forwarded: its forwarding flag decides. */
export interface Ingress {
  readonly dev: string;
  readonly what: string;
  readonly fact: Fact<'addresses'> | Fact<'links'> | Fact<'routes4'>;
  readonly span: Span;
}

/**
 * Container bridges, overlay devices, devices of single pods, and the uplinks that answers come back by: that of the default route and those to other nodes' pods.
 * Not a device to some other network (nothing of the containers arrives there), or what is down.
 */
export const ingressDevices = perSource((source: Source<PodKinds>): readonly Ingress[] => {
  const found = new Map<string, Ingress>();
  const add = (ingress: Ingress) => {
    if (!found.has(ingress.dev)) found.set(ingress.dev, ingress);
  };
  for (const { name, fact, device } of attachedBridges(source).bridges)
    add({ dev: name, what: 'container bridge', fact, span: device });
  for (const { device, fact } of ip4Overlays(source))
    add({ dev: device.name, what: 'overlay device', fact, span: device });
  for (const { device, fact, pod } of podDevices(source))
    add({ dev: device.name, what: `device of the pod ${pod}`, fact, span: device });
  const routes = source.get('routes4');
  if (!routes.missing) {
    for (const { dev, route } of pointedRoutes(source)) add({ dev, what: 'overlay device', fact: routes, span: route });
    // Calico's, where routes to other nodes' pods lead into them
    const tunnel = routes.value.routes.find((r) => r.via !== undefined && r.dev === 'tunl0');
    if (tunnel !== undefined) add({ dev: 'tunl0', what: 'overlay device', fact: routes, span: tunnel });
    // several next hops share what containers send
    const [first, ...more] = uplinks(source);
    for (const up of [first, ...more])
      if (up?.why === 'default route' && up.line === first?.line)
        add({ dev: up.dev, what: `uplink (${up.why})`, fact: routes, span: up });
    for (const { dev, route } of peerRoutes(source))
      add({ dev, what: `uplink (route to ${route.dst})`, fact: routes, span: route });
  }
  const addresses = source.get('addresses');
  const down = new Set(addresses.missing ? [] : addresses.value.devices.filter((d) => !isUp(d)).map((d) => d.name));
  return [...found.values()].filter((i) => !down.has(i.dev));
});

/** A device beside the ingress devices that a route leads to, or may: what containers send there is answered there. */
export interface SideDevice {
  readonly dev: string;
  /** Networks that its routes lead to, as they are written; empty: which ones is not told, for the routes did not come whole. */
  readonly networks: readonly string[];
  readonly fact: Fact<'routes4'> | Fact<'addresses'>;
  readonly span: Span;
}

/**
 * Devices of the host that are up, no bridge's or bond's port, and have routes of their own, though no peer and not the default route is behind
 * them: a LAN, a second default route, a VPN. Whether containers talk there is not told by them. Without all routes it may be any device.
 */
export function sideDevices(source: Source<PodKinds>): readonly SideDevice[] {
  const [addresses, routes] = [source.get('addresses'), source.get('routes4')];
  if (addresses.missing) return [];
  const bridges = containerBridges(source).map((b) => b.name);
  const known = new Set([...bridges, ...ingressDevices(source).map((i) => i.dev)]);
  const side = addresses.value.devices.filter(
    (d) => isUp(d) && d.master === undefined && !known.has(d.name) && !PASSIVE.test(d.name) && d.kind !== 'dummy',
  );
  if (side.length === 0) return [];
  const routesOf = new Map<string, Route[]>(side.map((d) => [d.name, []]));
  if (!routes.missing)
    for (const r of routes.value.routes)
      if (r.type === 'unicast')
        for (const dev of r.nexthops.length > 0 ? r.nexthops.map((hop) => hop.dev) : [r.dev])
          routesOf.get(dev ?? '')?.push(r);
  return side.flatMap((device): SideDevice[] => {
    const { name } = device;
    const own = routesOf.get(name) ?? [];
    const [span] = own;
    if (span !== undefined && !routes.missing)
      return [{ dev: name, networks: [...new Set(own.map((r) => r.dst))], fact: routes, span }];
    const whole = !routes.missing && routes.closed;
    return whole ? [] : [{ dev: name, networks: [], fact: addresses, span: device }];
  });
}

/** Nothing arrives there from another machine. */
const PASSIVE = /^(lo|dummy\d+|kube-ipvs0|nodelocaldns)$/;
