import { formatPrefix } from '../core/address.ts';
import type { Source } from './devices.ts';
import { vteps } from './overlay.ts';
import { perSource } from './per-source.ts';
import { defaultDevice, type LiveSource, OUTSIDE, peerRoutes, podNetworks, pointedRoutes, routedPods } from './pods.ts';

/** Packets that a node has to route for containers, and the device that they have to leave by. */
export interface PodWay {
  /** As `packets from outside to its containers`. */
  readonly name: string;
  /** null: the node itself sends them, and the route decides the source. */
  readonly src: string | null;
  readonly dst: string;
  /** `lo`: the node itself sends them. */
  readonly iif: string;
  readonly oif: string;
  readonly proto: 'tcp' | 'udp';
  /** Prefix of the containers at the end of the way, or the cluster's; null: it ends at another node. */
  readonly range: string | null;
}

type WaySource = LiveSource & Source<'fdb'>;

/** One packet for every kind of traffic to a node's own containers and to other nodes' pods, and those that carry the overlay. */
export const podWays = perSource((source: WaySource): readonly PodWay[] => {
  const [peer] = [...peerRoutes(source), ...pointedRoutes(source)];
  const uplink = defaultDevice(source);
  const ways = [...podNetworks(source), ...routedPods(source)].flatMap((net): PodWay[] => {
    const { name: bridge } = net.bridge;
    const proto = 'tcp' as const;
    const here = { dst: net.sample, oif: bridge, range: formatPrefix(net.prefix), proto };
    const itself = { src: null, iif: 'lo' };
    const found: PodWay[] = [{ name: 'packets of the node itself to its containers', ...itself, ...here }];
    if (uplink !== null && uplink !== bridge)
      found.push({ name: 'packets from outside to its containers', src: OUTSIDE, iif: uplink, ...here });
    if (net.clustered && peer !== undefined) {
      const there = { dst: peer.sample, oif: peer.dev, range: peer.route.dst, proto };
      found.push(
        { name: 'packets of other nodes’ pods to its own', src: peer.sample, iif: peer.dev, ...here },
        { name: 'packets of its pods to those of other nodes', src: net.sample, iif: bridge, ...there },
        { name: 'packets of the node itself to other nodes’ pods', ...itself, ...there },
      );
    }
    return found;
  });
  return [...ways, ...outerWays(source)];
});

/** So many other ends of a tunnel are asked about. */
const MOST_ENDS = 8;

/** The overlay's own packets: the kernel routes them by their destination, whatever device the tunnel was made on [tunnel.ts of src/net]. */
function outerWays(source: WaySource): readonly PodWay[] {
  const [links, fdb] = [source.get('links'), source.get('fdb')];
  if (links.missing || fdb.missing) return [];
  return vteps(source).flatMap(({ dev, local, line }) => {
    const lower = links.value.devices.find((d) => d.line === line)?.vxlan?.dev;
    if (lower === undefined || local === null) return [];
    const ends = new Set(fdb.value.entries.flatMap((e) => (e.dev === dev && e.dst !== undefined ? [e.dst] : [])));
    return [...ends].slice(0, MOST_ENDS).map((dst) => ({
      name: `the packets of ${dev} to other nodes`,
      src: local,
      dst,
      iif: 'lo',
      oif: lower,
      proto: 'udp' as const,
      range: null,
    }));
  });
}
