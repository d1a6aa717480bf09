import { type Prefix, parseIp, parsePrefix, prefixContains, prefixCovers, prefixesOverlap } from '../core/address.ts';
import { shellWord } from '../core/shell.ts';
import type { DockerNetworks, Fact, Route } from '../facts/index.ts';
import { containerBridges, type DeviceKinds, isFlannel, type Source } from './devices.ts';
import { isDefault } from './range-clash.ts';
import type { Step } from './step.ts';

type Network = DockerNetworks['networks'][number];

/** A network of the node that containers of an overlay network take for their own. */
export interface Hidden {
  readonly network: Network;
  readonly pool: Network['ipam'][number];
  readonly route: Route;
  /** The node itself, its router, or the whole network is in the range; else hosts there may be. */
  readonly sure: boolean;
  /** Something is attached here: docker lists on managers what other nodes use, too. */
  readonly used: boolean;
}

/** Docker's overlay networks that lead out: their containers have the range on a device of their own, the host has no route to it. */
export const overlayNetworks = (networks: Fact<'dockerNetworks'>): readonly Network[] =>
  networks.value.networks.filter((n) => n.driver === 'overlay' && !n.internal);

/**
 * Docker compares an overlay network with the node's routes on kernels before 3.16 alone (`checkOverlap`, in host mode); later it is made, and
 * the network of the node is out of its containers' reach [moby/moby#24220, docker-archive/classicswarm#2232]. Measured with dockerd 20.10: swarm init
 * gives `ingress` the LAN's range without a word, and a container of such a network reaches neither the LAN nor its own node; on another range it
 * does. The default of swarm is 10.0.0.0/8 in pieces of /24, of which `ingress` has the first. A wide route with a next hop does not say that anybody is in the range.
 */
export function hiddenByOverlays(
  source: Source<DeviceKinds>,
  networks: Fact<'dockerNetworks'>,
  routes: Fact<'routes4'>,
  addresses: Fact<'addresses'>,
): readonly Hidden[] {
  const overlays = overlayNetworks(networks);
  if (overlays.length === 0) return [];
  const bridges = new Set(containerBridges(source).map((b) => b.name));
  const nodes = routes.value.routes.flatMap((route) => {
    const { table, type, dev } = route;
    const dst = table === 'main' && type === 'unicast' ? parsePrefix(route.dst) : null;
    if (dst === null || isDefault(dst) || dev === undefined || bridges.has(dev) || isFlannel(dev)) return [];
    return [{ route, dst }];
  });
  const own = addresses.value.devices.flatMap((d) => d.addresses.map((a) => a.address));
  const vital = [...own, ...routes.value.routes.flatMap((r) => r.via ?? [])];
  const holds = (range: Prefix, dst: Prefix) =>
    vital.some((text) => {
      const ip = parseIp(text);
      return ip !== null && prefixContains(range, ip) && prefixContains(dst, ip);
    });
  return overlays.flatMap((network) =>
    network.ipam.flatMap((pool) => {
      const range = parsePrefix(pool.subnet);
      if (range === null) return [];
      return nodes
        .filter(
          ({ route, dst }) => prefixesOverlap(dst, range) && (route.via === undefined || prefixCovers(range, dst)),
        )
        .map(({ route, dst }) => ({
          network,
          pool,
          route,
          sure: prefixCovers(range, dst) || holds(range, dst),
          used: network.containers.length > 0,
        }));
    }),
  );
}

/** Another range for it: one network is made of another by hand, swarm does not change a range in place. */
export function moveOverlay(name: string): Step {
  const ingress = name === 'ingress';
  const range = '<a range apart, as 10.222.0.0/24>';
  return ingress
    ? {
        step: 'Remove the services that publish ports, then the network ingress, on a manager; make it again with another range, and the services after it. Give a new swarm its ranges with docker swarm init --default-addr-pool.',
        run: `docker network rm ingress && docker network create --driver overlay --ingress --subnet ${range} ingress`,
        verify: 'docker network inspect ingress --format "{{json .IPAM.Config}}"',
        undo: 'docker network rm ingress && docker network create --driver overlay --ingress --subnet <old range> ingress',
        risk: 'Published ports of all services are closed meanwhile; docker asks before it removes the network.',
      }
    : {
        step: `Make another overlay network with a range apart, on a manager, and move the services from ${name} to it (of a stack: ipam.config.subnet of its network).`,
        run: `docker network create --driver overlay --subnet ${range} ${shellWord(`${name}-apart`)}; docker service update --network-rm ${shellWord(name)} --network-add ${shellWord(`${name}-apart`)} <service>`,
        verify: `docker network inspect ${shellWord(`${name}-apart`)} --format "{{json .IPAM.Config}}"`,
        undo: `docker service update --network-rm ${shellWord(`${name}-apart`)} --network-add ${shellWord(name)} <service>`,
        risk: 'The tasks of the services are started anew.',
      };
}
