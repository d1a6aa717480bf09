import { contains, formatAddr } from './addr.ts';
import { type Answer, judge, type Outcome } from './answer.ts';
import { receive } from './arrive.ts';
import { bridgeReceive, bridgeTransmit } from './bridge.ts';
import type { NetCluster } from './cluster.ts';
import { deliver } from './deliver.ts';
import { toRealServer } from './ipvs-send.ts';
import { receivePacket } from './layer3.ts';
import { comeFromOutside, emit, ownersOutside, transmit } from './link.ts';
import { send } from './output.ts';
import { isPrivate } from './outside.ts';
import { ICMP, ICMP6, makePacket, type Packet, TCP, UDP } from './packet.ts';
import { PlaceError, type Start, startOf, type Target, targetOf } from './place.ts';
import { lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import { tunnel } from './tunnel.ts';
import { add, type End, type Leg, START, step, type Way } from './way.ts';

/** One packet to be followed. Places in the words of the command line: `node-a`, `10.244.1.10`, `node-a/container`, `10.96.0.1:443`. */
export interface TraceRequest {
  readonly from: string;
  readonly to: string;
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly port?: number | undefined;
  /** Payload bytes; default: small. */
  readonly size?: number | undefined;
  readonly df?: boolean | undefined;
}

export interface Traced {
  readonly answer: Answer;
  readonly outcomes: readonly Outcome[];
  readonly packet: Packet;
}

/** Ports that a client's kernel takes from. */
const EPHEMERAL: readonly [number, number] = [32768, 60999];
const HEADERS: Readonly<Record<TraceRequest['proto'], number>> = { tcp: 40, udp: 28, icmp: 28 };
const MAX_WAYS = 64;
const MAX_HOOKS = 4000;

export function newRun(cluster: NetCluster, watch?: Run['watch']): Run {
  const run: Run = {
    cluster,
    maxWays: MAX_WAYS,
    budget: { left: MAX_HOOKS },
    ...(watch === undefined ? {} : { watch }),
    receive: (way, port, frame) => receive(run, way, port, frame),
    receivePacket: (way, port, packet, inner, hooked) => receivePacket(run, way, port, packet, inner, hooked),
    send: (way, space, packet, inner, source, oif) => send(run, way, space, packet, inner, source, oif),
    transmit: (way, port, packet, nexthop, inner) => transmit(run, way, port, packet, nexthop, inner),
    emit: (way, port, frame) => emit(run, way, port, frame),
    bridgeReceive: (way, port, bridge, frame) => bridgeReceive(run, way, port, bridge, frame),
    bridgeTransmit: (way, port, frame) => bridgeTransmit(run, way, port, frame),
    tunnel: (way, port, frame) => tunnel(run, way, port, frame),
    toRealServer: (way, space, packet, inner, here) => toRealServer(run, way, space, packet, inner, here),
    deliver: (way, port, packet, inner) => deliver(run, way, port, packet, inner),
  };
  return run;
}

/** Follows the first packet of a connection and its answer. Throws PlaceError for a place that is none. */
export function follow(cluster: NetCluster, request: TraceRequest): Traced {
  return followWith(cluster, request);
}

/** The same; `watch` is told of every hook on the way. */
export function followWith(cluster: NetCluster, request: TraceRequest, watch?: NonNullable<Run['watch']>): Traced {
  const start = startOf(cluster, request.from);
  const target = targetOf(cluster, request.to);
  if (start.source !== null && typeof start.source !== typeof target.addr)
    throw new PlaceError(
      `no packet goes from ${request.from} to ${request.to}: one is an IPv4 address and one an IPv6 address; give two of a kind, or name the sender NODE/CONTAINER`,
    );
  const packet = firstPacket(request, start, target);
  const run = newRun(cluster, watch);
  const leg: Leg = { client: start.space, sent: packet, named: start.source !== null, server: null, seen: packet };
  const way = { ...START, legs: [leg] };
  const requests = begin(run, way, start, packet);
  const outcomes = requests.flatMap((request) => answersTo(run, request));
  return { answer: judge(outcomes), outcomes, packet };
}

function firstPacket(request: TraceRequest, start: Start, target: Target): Packet {
  const six = typeof target.addr === 'bigint';
  const proto = request.proto === 'tcp' ? TCP : request.proto === 'udp' ? UDP : six ? ICMP6 : ICMP;
  const ports = request.proto !== 'icmp';
  const port = request.port ?? target.port ?? (request.proto === 'tcp' ? 80 : 53);
  return makePacket({
    src: start.source ?? target.addr,
    dst: target.addr,
    proto,
    sport: ports ? EPHEMERAL : null,
    dport: ports ? port : null,
    size: (request.size === undefined ? 60 : request.size + HEADERS[request.proto]) + (six ? 20 : 0),
    df: request.df ?? request.proto === 'tcp',
  });
}

function begin(run: Run, way: Way, start: Start, packet: Packet): readonly End[] {
  if (start.space !== null) {
    return run.send(way, start.space, packet, null, start.source, null);
  }
  return fromOutside(run, way, packet);
}

/** Somebody outside sends: the evidence tells only what happens once the packet is with the owner of its destination. */
function fromOutside(run: Run, way: Way, sent: Packet): readonly End[] {
  const far = {
    because: `with which TTL packets of ${formatAddr(sent.src)} come is not in the evidence`,
    evidence: [],
  };
  const packet: Packet = { ...sent, ttlGap: far };
  const owners = ownersOutside(run, packet.dst, null);
  const [first, ...more] = owners;
  if (first === undefined) {
    const because = `by which node ${formatAddr(packet.src)}, which was not collected, sends to ${formatAddr(packet.dst)} is not in the evidence`;
    return lost(way, { because, evidence: [] }, null, packet, 'outside');
  }
  if (more.length > 0) {
    const because = `${formatAddr(packet.dst)} is on ${owners.length} nodes; which one gets the packet is not in the evidence`;
    return lost(way, { because, evidence: [] }, first.space, packet, 'outside');
  }
  const { space, device } = first;
  // of one network with the address that it asks for: what else it has routes for is not known
  const beside = device.addresses.some((a) => contains(a.net, packet.src) && contains(a.net, packet.dst));
  if (way.answering === null && isPrivate(packet.src) && !beside) {
    const because = `${formatAddr(packet.src)} was not collected: by which way, and with which source, its packets come to ${space.label} is not in the evidence`;
    return lost(way, { because, evidence: [] }, space, packet, 'outside');
  }
  return comeFromOutside(run, way, first, packet);
}

/** The answers to a request that arrived, back through every connection that a proxy took over from. */
function answersTo(run: Run, request: End): readonly Outcome[] {
  const plain: Outcome = { request, reply: null, probability: request.way.probability, doubts: request.way.doubts };
  if (request.verdict !== 'delivered') return [plain];
  const start: Way = { ...request.way, trail: null, passed: 0, routed: [] };
  const replies = back(run, start, start.legs.length - 1, 'synack');
  const whole =
    request.packet.proto === TCP
      ? replies.flatMap((reply) => onwards(run, reply, 0)).flatMap((reply) => furtherAnswer(run, reply))
      : replies;
  return whole.map((reply) => ({
    request,
    reply,
    probability: reply.way.probability,
    doubts: reply.way.doubts,
  }));
}

/** What the servers of the connections up to `at` say, the last one first. */
function back(run: Run, way: Way, at: number, tcp: 'synack' | 'ack'): readonly End[] {
  const leg = way.legs[at];
  if (leg === undefined) return [];
  const { seen } = leg;
  const answer = makePacket({
    src: seen.dst,
    dst: seen.src,
    proto: seen.proto,
    sport: seen.dport,
    dport: seen.sport,
    tcp: seen.proto === TCP ? tcp : null,
    icmp: seen.proto === ICMP ? { type: 0, code: 0 } : seen.proto === ICMP6 ? { type: 129, code: 0 } : null,
    // an echo comes back whole; how much a server says to a datagram nobody knows, here as little as to a connection
    size: seen.proto === ICMP || seen.proto === ICMP6 ? seen.size : typeof seen.dst === 'bigint' ? 80 : 60,
    anySize: seen.proto === UDP || tcp === 'ack',
    df: seen.proto === TCP,
  });
  const going = { ...way, answering: leg };
  const ends =
    leg.server === null
      ? fromOutside(run, going, answer)
      : run.send(going, leg.server, answer, null, leg.anySource === true ? null : answer.src, null);
  return ends.flatMap((e) => (e.verdict === 'delivered' && at > 0 ? back(run, e.way, at - 1, tcp) : [e]));
}

/**
 * What a TCP server says next. Where its first answer was of no connection, this one begins a connection of its own
 * (nf_conntrack_tcp_loose): rules for new connections are asked, and addresses translated, as for no packet before [V85]. Where the first one
 * left another mark on its connection, rules see that.
 */
function furtherAnswer(run: Run, reply: End): readonly End[] {
  const { strayed, marked } = reply.way;
  if (reply.verdict !== 'delivered' || !(strayed || marked)) return [reply];
  const { trail } = reply.way;
  const at = reply.way.legs.length - 1;
  const way = goesOn({ ...reply.way, passed: 0, routed: [] }, reply.way.legs[at]?.server ?? null, 'the server');
  const ends = back(run, way, at, 'ack');
  return ends.map((e) => {
    if (e.verdict === 'delivered') return { ...reply, way: { ...e.way, trail } };
    const because = `the first answer arrives, but what the server sends next does not: ${e.because}`;
    if (!strayed || e.way.trail?.step.place === 'client address' || e.verdict === 'unknown') return { ...e, because };
    // a FIN begins no connection (tcp_conntracks), and a closing server puts it on what it could not send
    const open = `${because}; a segment that ends the connection as well passes as the first answer did`;
    return { ...e, verdict: 'unknown' as const, because: open, reason: { because: open, evidence: [] } };
  });
}

/** What a TCP client sends once it is answered: to firewalls it is ESTABLISHED, and INPUT sees no other packet of that kind. */
function onwards(run: Run, reply: End, at: number): readonly End[] {
  const leg = reply.way.legs[at];
  if (reply.verdict !== 'delivered' || leg === undefined) return [reply];
  const { trail } = reply.way;
  const packet = makePacket({ ...leg.sent, tcp: 'ack', ct: null, df: true, anySize: true });
  const next: Way = { ...reply.way, passed: 0, routed: [], answering: null, following: leg };
  const going = goesOn(next, leg.client, 'the client');
  // a connected IPv6 socket keeps the route by which its source was chosen (ip6_dst_lookup_tail)
  const source = leg.unbound === true && typeof packet.src === 'bigint' ? null : packet.src;
  const ends =
    leg.client === null ? fromOutside(run, going, packet) : run.send(going, leg.client, packet, null, source, null);
  return ends.flatMap((e) =>
    e.verdict === 'delivered'
      ? onwards(run, { ...reply, way: { ...e.way, trail, following: null } }, at + 1)
      : [{ ...e, because: `the answer arrives, but what the client sends next does not: ${e.because}` }],
  );
}

/** The list of hops goes on with another packet: says so, for who reads it when that one is lost. */
const goesOn = (way: Way, space: Space | null, who: string): Way =>
  space === null ? way : add(way, step(space, 'socket', 'send', `the next packet of ${who}`));
