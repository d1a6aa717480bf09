import { formatIp4, parsePrefix } from '../core/address.ts';
import { OF_RUN, type RouteMap, routedStretches } from '../core/route-map.ts';
import { isFlannel } from './devices.ts';
import type { FileOf, PodAsker } from './pod-asker.ts';
import { heldAt, isNear, type PeerInfo, type PodPeer, podPeers, type podPlaces, timeOf } from './pod-peers.ts';
import { type PodRoute, podRoute } from './pod-route.ts';

/** What of a node is kept to compare it with the others of its cluster. */
export interface PodDigest extends PodAsker, ReturnType<typeof podPlaces> {
  readonly ties: readonly string[] | null;
  /** Where packets for pods go; null: not asked. */
  readonly map: RouteMap | null;
  /** A policy rule that takes packets of pods which bear a mark, and where; null: none does. */
  readonly taken: string | null;
}

export interface PodMember {
  readonly node: string;
  readonly collectedAt: string | null;
  readonly machineIdSha256: string | null;
  readonly bootId: string | null;
  readonly digest: PodDigest;
}

/** A pod subnet that a node does not route to its owner. */
export interface Loss {
  readonly peer: PodPeer;
  readonly subnet: string;
  readonly route: PodRoute & { readonly part: boolean };
  /** Other nodes route it well, or its owner was seen, close to the time of this node. */
  readonly near: boolean;
}

/** A node, without its map, which is the large part of its digest. */
export interface Asked {
  readonly node: string;
  readonly time: number | null;
  readonly own: Omit<PodDigest, 'map' | 'ties' | 'announced'>;
  /** How many subnets it routes well. */
  readonly right: number;
  readonly losses: readonly Loss[];
}

type Open = readonly [because: string, evidence: readonly string[]];

/** What can be said of a node. */
export type PodAnswer =
  | { readonly kind: 'none'; readonly because: string }
  /** No other node of its cluster is known. */
  | { readonly kind: 'alone' }
  | { readonly kind: 'open'; readonly open: readonly Open[] }
  | { readonly kind: 'right'; readonly route: FileOf & { readonly line: number }; readonly peer: PodPeer }
  | { readonly kind: 'lost'; readonly asked: Asked };

/** How all nodes of a cluster fare with one subnet. */
interface Fare {
  right: number;
  lost: number;
  /** When nodes that route it well were collected: the first and the last time. */
  times: readonly (number | null)[];
}

/** What is kept of every node at once. */
export interface PodNode extends PeerInfo {
  readonly backend: string | null;
  readonly direct: boolean;
  /** The cluster's pod range; null: not known, or not flannel's. */
  readonly network: string | null;
  readonly taken: string | null;
}

export function podNode({ node, collectedAt, machineIdSha256, bootId, digest }: PodMember): PodNode {
  const { claim, underlay, whole, endless, announced, backend, none, map, range, taken } = digest;
  // host-gw without its configuration: routes for very subnets have a next hop outside of them
  const direct = map?.ways.some(
    (w) =>
      w.dst === null && w.hops.some(([dev, via]) => (via === OF_RUN || typeof via === 'number') && !isFlannel(dev)),
  );
  return {
    node,
    collectedAt,
    machine: machineOf(machineIdSha256, bootId),
    claim: none === null ? claim : null,
    underlay,
    whole,
    endless,
    announced,
    backend,
    direct: direct === true,
    network: range?.network ?? null,
    taken,
  };
}

/** The first and the last address of a prefix. */
function reachOf(text: string): { first: number; last: number; length: number } | null {
  const prefix = parsePrefix(text);
  if (prefix === null || prefix.family !== 4) return null;
  const first = Number(prefix.base);
  return { first, last: first + 2 ** (32 - prefix.length) - 1, length: prefix.length };
}

const machineOf = (id: string | null, bootId: string | null) => (id === null ? null : `${id} ${bootId}`);

/** The nodes of one cluster: who routes whose pod subnet to whom. Maps are read one at a time. */
export class PodSurvey {
  readonly #peers: ReadonlyMap<number, PodPeer>;
  readonly #fares = new Map<number, Fare>();
  readonly #owners = new Map<number, string>();
  readonly #memberOf: (node: string) => PodMember | undefined;
  readonly backend: string | null;
  /** A node routes pods without an overlay. */
  readonly direct: boolean;
  /** How many routes of any node lead where they should. */
  #rights = 0;

  constructor(nodes: readonly PodNode[], memberOf: (node: string) => PodMember | undefined) {
    this.#memberOf = memberOf;
    this.#peers = podPeers(nodes);
    for (const n of nodes) for (const a of n.underlay) this.#owners.set(a, n.node);
    for (const p of this.#peers.values()) this.#owners.set(p.first, p.name);
    this.direct = nodes.some((n) => n.direct);
    this.backend = nodes.find((n) => n.backend !== null)?.backend ?? (this.direct ? 'host-gw' : null);
  }

  /** Follows a node's routes to every pod subnet of its cluster. */
  ask(node: string): PodAnswer {
    const member = this.#memberOf(node);
    if (member === undefined) return { kind: 'none', because: 'it was not collected' };
    const { map, ties: _ties, announced: _announced, ...own } = member.digest;
    if (own.none !== null) return { kind: 'none', because: own.none };
    const network = own.range === null ? null : reachOf(own.range.network);
    const mine = own.range === null ? null : reachOf(own.range.own);
    const machine = machineOf(member.machineIdSha256, member.bootId);
    if (map === null || network === null || mine === null)
      return open('the pod subnet that flannel leased to this node is not known', 'flannel.subnet-env');
    if ((own.backend ?? this.backend) === null) {
      const others = [...this.#peers.values()].some((p) => p.node !== node);
      if (!others) return { kind: 'alone' };
      return open('which backend of flannel carries packets to other nodes is not known', 'flannel.net-conf');
    }
    const time = timeOf(member.collectedAt);
    const losses: Loss[] = [];
    const opens = new Map<string, readonly string[]>();
    let proof: { route: number; peer: PodPeer } | null = null;
    let right = 0;
    let led = 0;
    for (const peer of this.#peers.values()) {
      const { first } = peer;
      const length = peer.length ?? mine.length;
      const last = first + 2 ** (32 - length) - 1;
      // two bundles of one machine are one node
      const twin = machine !== null && peer.machine === machine;
      if (peer.node === node || twin || (first <= mine.last && last >= mine.first)) continue;
      if (peer.disputed || first < network.first || last > network.last) {
        const why = peer.disputed ? 'more than one node claims' : `the pod range ${own.range?.network} does not hold`;
        opens.set(`${why} ${formatIp4(first)}/${length}`, ['flannel.subnet-env']);
        continue;
      }
      const route = podRoute(map, peer, length, own);
      const fare = this.#fareOf(peer);
      if (route.kind !== 'missing' && route.kind !== 'rejected') led += 1;
      if (route.kind === 'right') {
        right += 1;
        fare.right += 1;
        this.#rights += 1;
        fare.times = ends(fare.times, time);
        proof ??= { route: route.piece.line, peer };
      } else if (route.kind === 'open') opens.set(route.because, route.evidence);
      else if (route.kind === 'other')
        opens.set(`${formatIp4(first)}/${length} of ${peer.name} meets an address or a bridge of this node`, [
          'flannel.subnet-env',
        ]);
      else {
        fare.lost += 1;
        losses.push({ peer, subnet: `${formatIp4(first)}/${length}`, route, near: false });
      }
    }
    if (losses.length > 0) return { kind: 'lost', asked: { node, time, own, right, losses } };
    if (opens.size > 0) return { kind: 'open', open: [...opens].slice(0, 3) };
    const strangers = routedStretches(map, network.length) - led;
    if (strangers > 0)
      return open(
        strangers === 1
          ? 'a route leads to a pod subnet of which nothing tells whose it is'
          : `${strangers} routes lead to pod subnets of which nothing tells whose they are`,
        'flannel.subnet-env',
      );
    if (proof === null) return { kind: 'alone' };
    return { kind: 'right', route: { ...own.routesAt, line: proof.route }, peer: proof.peer };
  }

  #fareOf(peer: PodPeer): Fare {
    let fare = this.#fares.get(peer.first);
    if (fare === undefined) {
      fare = { right: 0, lost: 0, times: [] };
      this.#fares.set(peer.first, fare);
    }
    return fare;
  }

  /** Once all nodes were asked: a loss that is one; text: why it may be none. */
  weigh({ node, time, own }: Asked, loss: Loss): Loss | string {
    const { peer, subnet } = loss;
    if (own.doubt !== null) return `whether ${node} routes ${subnet} to ${peer.name} is not known: ${own.doubt}`;
    if (!own.configured && this.#rights === 0)
      return `no node routes any pods, and whether flannel’s backend writes routes here is not known: ${node} lacks its configuration`;
    const fare = this.#fareOf(peer);
    const near = isNear(time, peer.times) || isNear(time, fare.times);
    if (fare.right > 0 && heldAt(time, fare.times) === true) return { ...loss, near };
    const apart = `that ${peer.name} had the pod subnet ${subnet} when ${node} was collected is not known`;
    if (heldAt(time, peer.times) === false) return `${apart}: it was seen later only, or on another day`;
    if (this.#alone(loss) && time !== null && !peer.times.includes(null) && !near)
      return `${apart}: no node routes it there, and it may have left`;
    return { ...loss, near };
  }

  /** A subnet that several nodes lack and none has. */
  #alone({ peer, route }: Loss): boolean {
    const { right, lost } = this.#fareOf(peer);
    return route.kind === 'missing' && right === 0 && lost > 1;
  }

  /** The node routes others well, and nobody routes this one: its owner is where to look. */
  isOwners(asked: Asked, loss: Loss): boolean {
    return asked.right > 0 && this.#alone(loss);
  }

  /** Who has the address of a next hop, and whether packets for the subnet find their way from there; null: not known. */
  behind(via: number, { peer, subnet }: Loss): { readonly name: string; readonly onward: boolean | null } | null {
    const name = this.#owners.get(via);
    if (name === undefined || name === peer.name) return null;
    const digest = this.#memberOf(name)?.digest;
    if (digest === undefined || digest.map === null) return { name, onward: null };
    const route = podRoute(digest.map, peer, Number(subnet.split('/')[1]), digest);
    return { name, onward: route.kind === 'open' ? null : route.kind === 'right' };
  }
}

const open = (because: string, evidence: string): PodAnswer => ({ kind: 'open', open: [[because, [evidence]]] });

function ends(times: Fare['times'], time: number | null): Fare['times'] {
  const [earliest, latest] = times;
  if (earliest != null && latest != null && time !== null && time >= earliest && time <= latest) return times;
  const known = [...times, time].filter((t) => t !== null);
  const untimed = time === null || times.includes(null) ? [null] : [];
  return known.length === 0 ? untimed : [...untimed, Math.min(...known), Math.max(...known)];
}
