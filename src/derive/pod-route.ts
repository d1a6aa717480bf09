import { OWN_BASE, piecesOver, prefixOf, type RouteMap, type RoutePiece } from '../core/route-map.ts';

/** Another node's pod subnet, and how flannel's backends reach it: by its first address over vxlan, by the node's own address else. */
export interface PodTarget {
  readonly first: number;
  /** Addresses of the node that can be a next hop. */
  readonly underlay: ReadonlySet<number>;
  /** No other address of it is one. */
  readonly whole: boolean;
  /** It has no flannel device, at which a tunnel could end. */
  readonly endless: boolean;
}

/** Devices whose other end is not another node, or one that no evidence shows. */
export interface RouteDevices {
  readonly bridges: readonly string[];
  readonly tunnels: readonly string[];
  /** Names that routes have, but no device. */
  readonly unlisted: readonly string[];
}

/**
 * `missing`: something wider takes the packets, or nothing. `rejected`: a blackhole or its like. `astray`: a route for the very subnet, to another
 * next hop. `other`: an address or a bridge of the asking node itself. `open`: not known.
 */
export type PodRoute = { readonly piece: RoutePiece } & (
  | { readonly kind: 'right' | 'other' | 'missing' | 'rejected' }
  | { readonly kind: 'astray'; readonly dev: string; readonly via: number | null }
  | { readonly kind: 'open'; readonly because: string; readonly evidence: readonly string[] }
);

const VXLAN = /^flannel\.\d+$/;
/** udp and wireguard have one device for all nodes: the program or the keys behind it find the node. */
const ONE_DEVICE = /^flannel(0$|-wg)/;

/** Where a node sends packets for the subnet; of several answers the one for most pods, else the first that is not right (`part`). */
export function podRoute(
  map: RouteMap,
  target: PodTarget,
  length: number,
  devices: RouteDevices,
): PodRoute & { readonly part: boolean } {
  const size = 2 ** (32 - length);
  const last = target.first + size - 1;
  const pieces = piecesOver(map, target.first, last);
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return { ...judge(only, target, length, devices), part: false };
  // CNI plugins and docker hand addresses out from the start
  const sample = target.first + (size > 16 ? 10 : Math.min(2, size - 1));
  const judged = pieces.map((piece) => judge(piece, target, length, devices));
  const main = judged.find(({ piece }) => piece.first <= sample && sample <= piece.last);
  if (main === undefined) {
    const piece = { first: target.first, last, base: target.first, dst: null, length: 0, line: 0 };
    const way = { type: 'unknown', hops: [], dst: null, length: 0 } as const;
    return {
      kind: 'open',
      piece: { ...piece, way },
      because: 'no route is known',
      evidence: ['ip.route4'],
      part: false,
    };
  }
  if (main.kind !== 'right') return { ...main, part: false };
  // nobody has the first and the last address of a subnet
  const partly = judged.find(
    (j) => !/^(right|other)$/.test(j.kind) && j.piece.last > target.first && j.piece.first < last,
  );
  return partly === undefined ? { ...main, part: false } : { ...partly, part: true };
}

function judge(piece: RoutePiece, target: PodTarget, length: number, devices: RouteDevices): PodRoute {
  const { way } = piece;
  if (way.type === 'unknown')
    return { kind: 'open', piece, because: way.because ?? '', evidence: way.evidence ?? ['ip.route4'] };
  if (way.type === 'none') return { kind: 'missing', piece };
  if (/^(blackhole|unreachable|prohibit)$/.test(way.type))
    return { kind: piece.length >= length ? 'rejected' : 'missing', piece };
  if (way.type !== 'unicast') return { kind: 'other', piece };
  for (const [dev, said] of way.hops) {
    const via = typeof said === 'number' ? said : said === OWN_BASE ? piece.base : null;
    const answer = judgeHop(dev, via, piece, target, length, devices);
    // each next hop gets connections of its own
    if (answer.kind !== 'right') return answer;
  }
  return { kind: 'right', piece };
}

function judgeHop(
  dev: string,
  via: number | null,
  piece: RoutePiece,
  target: PodTarget,
  length: number,
  { bridges, tunnels, unlisted }: RouteDevices,
): PodRoute {
  const open = (because: string, evidence: string): PodRoute => ({
    kind: 'open',
    piece,
    because,
    evidence: [evidence],
  });
  const vxlan = VXLAN.test(dev);
  const byTunnel = (): PodRoute =>
    target.endless
      ? open(
          `the route to ${prefixOf(piece)} leads into ${dev}, and the node that has the subnet has no flannel device`,
          'flannel.net-conf',
        )
      : { kind: 'right', piece };
  if (ONE_DEVICE.test(dev)) return byTunnel();
  if (vxlan && via === target.first) return byTunnel();
  if (!vxlan && via !== null && target.underlay.has(via) && !bridges.includes(dev)) return { kind: 'right', piece };
  // flannel before 0.9 asked its own program for each address
  if (vxlan && via === null) return open(`a route without next hop sends ${prefixOf(piece)} over ${dev}`, 'ip.neigh');
  // a pod of its own, by a veth
  if (via === null && piece.length === 32) return { kind: 'other', piece };
  if (piece.length < length) return { kind: 'missing', piece };
  if (bridges.includes(dev))
    return via === null
      ? { kind: 'other', piece }
      : open(`the route to ${prefixOf(piece)} leads to a container on ${dev}`, 'netns.addr-json');
  if (tunnels.includes(dev))
    return open(`where ${dev} leads, by the route to ${prefixOf(piece)}, is not known`, 'ip.link');
  if (unlisted.includes(dev))
    return open(`${dev} of the route to ${prefixOf(piece)} is not among the node’s devices`, 'ip.addr');
  if (!vxlan && via !== null && !target.whole)
    return open(`whose address the next hop of ${prefixOf(piece)} is, is not known`, 'ip.addr');
  return { kind: 'astray', piece, dev, via };
}
