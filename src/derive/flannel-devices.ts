import { type Prefix, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, LinkDevice, Route } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { hasCarrier, isUp } from './devices.ts';

/** flannel's vxlan devices: not flannel-wg, flannel.ipip or flannel0, which other backends make. */
export const isFlannelVxlan = (name: string): boolean => /^flannel(-v6)?\.\d+$/.test(name);

/** A device as one list of them shows it. */
export interface Shown {
  readonly device: LinkDevice;
  readonly fact: Fact<'addresses'> | Fact<'links'>;
}

export interface FlannelDevices {
  /** Lists of devices, the one with details first. */
  readonly lists: readonly (Fact<'addresses'> | Fact<'links'>)[];
  /** A device in each list that has it. */
  shown(name: string): readonly Shown[];
  readonly names: readonly string[];
  /** Devices that routes lead into by a gateway, with the first such route. */
  readonly used: ReadonlyMap<string, { readonly fact: Fact<'routes4'> | Fact<'routes6'>; readonly route: Route }>;
  /** Addresses of other nodes' tunnel ends in the forwarding table; null: not collected. */
  remotes(name: string): readonly Prefix[] | null;
}

type Kinds = 'addresses' | 'links' | 'routes4' | 'routes6' | 'fdb';

export function flannelDevices(source: Source<Kinds>): FlannelDevices {
  const lists = (['links', 'addresses'] as const).flatMap((kind) => {
    const fact = source.get(kind);
    return fact.missing ? [] : [fact];
  });
  const names = lists.flatMap((fact) =>
    fact.value.devices.filter((d) => isFlannelVxlan(d.name) && (d.kind ?? 'vxlan') === 'vxlan').map((d) => d.name),
  );
  const used = new Map<string, { fact: Fact<'routes4'> | Fact<'routes6'>; route: Route }>();
  // routes go with their device: without one for IPv6 there are none of it
  const six = names.some((name) => name.startsWith('flannel-v6.')) || !lists.every((fact) => fact.closed);
  for (const kind of six ? (['routes4', 'routes6'] as const) : (['routes4'] as const)) {
    const fact = source.get(kind);
    if (fact.missing) continue;
    for (const route of fact.value.routes) {
      const { via, dev } = route;
      if (via !== undefined && dev !== undefined && isFlannelVxlan(dev) && !used.has(dev))
        used.set(dev, { fact, route });
    }
  }
  return {
    lists,
    names: [...new Set(names)],
    used,
    shown: (name) =>
      lists.flatMap((fact) => fact.value.devices.filter((d) => d.name === name).map((device) => ({ device, fact }))),
    remotes(name) {
      const fdb = source.get('fdb');
      if (fdb.missing) return null;
      return fdb.value.entries.flatMap((e) => {
        const remote = e.dev === name && e.dst !== undefined ? parsePrefix(e.dst) : null;
        return remote === null ? [] : [remote];
      });
    },
  };
}

/** The kernel routes a tunnel's packets like any other: a route to a remote by a device other than `lower` that works. */
export function otherWay(
  routes: Fact<'routes4'>,
  { shown }: FlannelDevices,
  remotes: readonly Prefix[],
  lower: string,
): (Route & { readonly dev: string }) | null {
  for (const route of routes.value.routes) {
    const { dev, dst, type } = route;
    if (type !== 'unicast' || dev === undefined || dev === lower || isFlannelVxlan(dev)) continue;
    const prefix = parsePrefix(dst);
    if (prefix === null || !remotes.some((r) => prefixCovers(prefix, r))) continue;
    if (shown(dev).every(({ device }) => isUp(device) && hasCarrier(device))) return { ...route, dev };
  }
  return null;
}

/** The VTEP's MAC that flannel announces of this very node: only a vxlan backend has one. */
export function announcedMac(
  fact: Fact<'k8sNodes'>,
  hostname: string | null,
): (Span & { readonly value: string }) | null {
  const { nodes } = fact.value;
  const self = nodes.find((n) => n.name === hostname) ?? (fact.evidence === 'k8s.node' ? nodes[0] : undefined);
  return self?.vtepMac ?? null;
}
