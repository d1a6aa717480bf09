import { type Addr, formatAddr } from './addr.ts';
import type { NetCluster } from './cluster.ts';
import type { Device } from './devices.ts';
import type { Absence, Cite, Doubt, Reason } from './doubt.ts';
import { runHook } from './hook.ts';
import { ICMP, inverse, type Packet, sameTuple, tupleOf } from './packet.ts';
import type { Space } from './space.ts';
import type { Hook, HookPart } from './step.ts';
import type { Watch } from './watch.ts';
import { add, behind, type End, type Flow, newConnection, step, type Verdict, type Way } from './way.ts';
import type { Port } from './wire.ts';

/** An IP packet inside a tunnel's packet. */
export interface Inner {
  readonly packet: Packet;
  readonly mac: string;
  readonly vni: number;
  /** The tunnel's device where it was wrapped. */
  readonly dev: string;
  readonly inner: Inner | null;
}

/** A packet on a wire. */
export interface Frame {
  readonly packet: Packet;
  /** Destination hardware address; null: nobody's evidence shows it, `to` says whose it is. */
  readonly mac: string | null;
  /** The device that answered for the next hop; null: by hardware address only. */
  readonly to: Port | null;
  readonly nexthop: Addr;
  readonly inner: Inner | null;
}

/** What the pieces of the walk share. Each continues with the others through it, so that every piece is a file of its own. */
export interface Run {
  readonly cluster: NetCluster;
  readonly maxWays: number;
  /** Hooks that may still be run before the walk gives up. */
  readonly budget: { left: number };
  /** Who is told of the tests of a hook; `answering`: in the second half. */
  readonly watch?: (space: Space, answering: boolean, hook: Hook, packet: Packet) => Watch;
  /** A frame arrives at a device from its wire. */
  receive(way: Way, port: Port, frame: Frame): readonly End[];
  /** A packet arrives at layer 3 by a device; `hooked`: the bridge ran PREROUTING already. */
  receivePacket(way: Way, port: Port, packet: Packet, inner: Inner | null, hooked: boolean): readonly End[];
  /** A packet of the namespace itself; `src` null lets the kernel choose. */
  send(
    way: Way,
    space: Space,
    packet: Packet,
    inner: Inner | null,
    source: Addr | null,
    oif: string | null,
  ): readonly End[];
  /** A routed packet leaves by a device to a next hop. */
  transmit(way: Way, port: Port, packet: Packet, nexthop: Addr, inner: Inner | null): readonly End[];
  /** A frame leaves by a port: veth, network card. */
  emit(way: Way, port: Port, frame: Frame): readonly End[];
  bridgeReceive(way: Way, port: Port, bridge: Device, frame: Frame): readonly End[];
  bridgeTransmit(way: Way, port: Port, frame: Frame): readonly End[];
  tunnel(way: Way, port: Port, frame: Frame): readonly End[];
  /** ipvs has chosen a real server, which is the packet's destination now; `here`: it is the namespace itself. */
  toRealServer(
    way: Way,
    space: Space,
    packet: Packet,
    inner: Inner | null,
    here: (way: Way, packet: Packet) => readonly End[],
  ): readonly End[];
  /** A packet for this namespace itself, behind INPUT. */
  deliver(way: Way, port: Port, packet: Packet, inner: Inner | null): readonly End[];
}

export function end(
  way: Way,
  verdict: Verdict,
  because: string,
  space: Space | null,
  packet: Packet,
  place?: string,
  cites: readonly (Cite | Absence | null | undefined)[] = [],
): readonly End[] {
  const action =
    verdict === 'dropped'
      ? 'drop'
      : verdict === 'rejected'
        ? 'reject'
        : verdict === 'delivered'
          ? 'deliver'
          : 'unknown';
  const last = place === undefined || space === null ? way : add(way, step(space, place, action, because, cites));
  return [{ verdict, because, way: last, packet, space }];
}

/** What happens from here on is not known. */
export function lost(way: Way, reason: Reason, space: Space | null, packet: Packet, place: string): readonly End[] {
  const asked = reason.node === undefined && space !== null ? { ...reason, node: space.node.id } : reason;
  return end(way, 'unknown', reason.because, space, packet, place).map((e) => ({ ...e, reason: asked }));
}

/** Runs a hook and goes on with each way that the packet is let through. */
export function hooked(
  run: Run,
  way: Way,
  space: Space,
  hook: Hook,
  packet: Packet,
  next: (way: Way, packet: Packet, reroute: boolean) => readonly End[],
  part: HookPart = {},
): readonly End[] {
  if (run.budget.left <= 0)
    return lost(way, { because: 'there are too many ways to follow', evidence: [] }, space, packet, HOOK_PLACE[hook]);
  run.budget.left -= 1;
  const destination = hook === 'prerouting' || hook === 'output';
  const ways = runHook(space, hook, packet, way.doubts, {
    track: (p) => track(way, space, p),
    translate: (p) => (destination ? followDestination(way, space, p) : followSource(way, space, p)),
    maxWays: run.maxWays,
    part,
    ...(run.watch === undefined ? {} : { watch: run.watch(space, way.answering !== null, hook, packet) }),
  });
  if (ways.length === 0)
    return lost(way, { because: `the rules at ${hook} gave no answer`, evidence: [] }, space, packet, HOOK_PLACE[hook]);
  return ways.flatMap((w) => {
    const after = remarked(behind(way, { ...w, doubts: askedAt(space, w.doubts) }), space, w.packet);
    if (w.verdict === 'accept') return next(after, w.packet, w.reroute);
    const verdict = w.verdict === 'drop' ? 'dropped' : w.verdict === 'reject' ? 'rejected' : 'unknown';
    const last = w.steps.at(-1);
    // the step that dropped it stands in the trail already; an unknown has none
    const place =
      last !== undefined && (last.action === 'drop' || last.action === 'reject') ? undefined : HOOK_PLACE[hook];
    return end(after, verdict, w.because, space, w.packet, place);
  });
}

/** Doubts that arose at a hook know its node. */
function askedAt(space: Space, doubts: readonly Doubt[]): readonly Doubt[] {
  const node = space.node.id;
  return doubts.every((d) => d.node !== undefined)
    ? doubts
    : doubts.map((d) => (d.node === undefined ? { ...d, node } : d));
}

/** What a SYN-ACK leaves behind that the server's next packet meets: no connection where there was none, or another mark on it. */
function remarked(way: Way, space: Space, packet: Packet): Way {
  const { ct } = packet;
  if (packet.tcp !== 'synack' || ct === null) return way;
  if (ct.state === 'INVALID') return { ...way, strayed: true };
  const flow = flowOf(way, space, packet);
  if (flow === undefined || ct.mark === flow.mark) return way;
  return { ...way, marked: true, flows: way.flows.map((f) => (f === flow ? { ...f, mark: ct.mark } : f)) };
}

const HOOK_PLACE: Readonly<Record<Hook, string>> = {
  prerouting: 'PREROUTING',
  input: 'INPUT',
  forward: 'FORWARD',
  output: 'OUTPUT',
  postrouting: 'POSTROUTING',
};

/** Connection tracking of the namespace looks at a packet (section 10 of the packet path, V85). */
export function track(way: Way, space: Space, packet: Packet): Packet {
  if (packet.ct !== null) return packet;
  for (const flow of way.flows) {
    if (flow.space !== space) continue;
    if (sameTuple(flow.reply, packet)) {
      const ct = {
        state: 'ESTABLISHED',
        reply: true,
        snat: flow.snat,
        dnat: flow.dnat,
        orig: flow.orig,
        mark: flow.mark,
        altered: flow.altered,
      } as const;
      return { ...packet, ct: { ...ct, dstDone: true, srcDone: true } };
    }
    if (sameTuple(flow.orig, packet)) {
      // an ACK without the SYN-ACK before it fits no connection that has only begun
      const state = flow.seenReply ? 'ESTABLISHED' : packet.tcp === 'ack' ? 'INVALID' : 'NEW';
      return {
        ...packet,
        ct: {
          state,
          reply: false,
          snat: flow.snat,
          dnat: flow.dnat,
          orig: flow.orig,
          mark: flow.mark,
          altered: flow.altered,
          dstDone: true,
          srcDone: true,
        },
      };
    }
  }
  // an error about a packet of a connection belongs to it, and goes the other way
  if (isError(packet)) {
    const about = way.flows.find((f) => f.space === space && (f.orig.src === packet.dst || f.reply.dst === packet.dst));
    const orig = about?.orig ?? tupleOf(packet);
    return {
      ...packet,
      ct: {
        state: 'RELATED',
        reply: true,
        snat: false,
        dnat: false,
        orig,
        mark: about?.mark ?? 0,
        dstDone: true,
        srcDone: true,
      },
    };
  }
  return { ...packet, ct: { ...newConnection(packet), state: beginsConnection(space, packet) ? 'NEW' : 'INVALID' } };
}

/** A TCP packet in the middle of a connection does, if nf_conntrack_tcp_loose is as by default; the second of a handshake does not [V85]. */
function beginsConnection(space: Space, { tcp, icmp }: Packet): boolean {
  if (tcp === 'ack') return space.sysctl('net/netfilter/nf_conntrack_tcp_loose').value !== 0;
  return tcp !== 'synack' && icmp?.type !== 0 && icmp?.type !== 129;
}

const ERRORS = new Set([3, 11, 12]);
const ERRORS6 = new Set([1, 2, 3, 4]);

const isError = ({ icmp, proto }: Packet): boolean =>
  icmp !== null && (proto === ICMP ? ERRORS : ERRORS6).has(icmp.type);

/** The connection that a tracked packet belongs to. */
export function flowOf(way: Way, space: Space, { ct }: Packet): Flow | undefined {
  if (ct === null || ct.state === 'INVALID' || ct.state === 'UNTRACKED') return undefined;
  return way.flows.find((f) => f.space === space && sameTuple(f.orig, ct.orig));
}

/** What was chosen for the connection's first packet: an answer to a translated source gets its true destination back [V86]. */
function followDestination(way: Way, space: Space, packet: Packet): Packet {
  const flow = flowOf(way, space, packet);
  if (flow === undefined) return packet;
  if (packet.ct?.reply === true) return flow.snat ? { ...packet, dst: flow.orig.src, dport: flow.orig.sport } : packet;
  return flow.dnat ? { ...packet, dst: flow.reply.src, dport: flow.reply.sport } : packet;
}

/** The same for sources: an answer from a translated destination gets the address that was dialled back. */
function followSource(way: Way, space: Space, packet: Packet): Packet {
  const flow = flowOf(way, space, packet);
  if (flow === undefined) return packet;
  if (packet.ct?.reply === true) return flow.dnat ? { ...packet, src: flow.orig.dst, sport: flow.orig.dport } : packet;
  return flow.snat ? { ...packet, src: flow.reply.dst, sport: flow.reply.dport } : packet;
}

/** Behind PREROUTING and OUTPUT: notes the answer, and what was translated back. */
export function restoreDestination(
  way: Way,
  space: Space,
  packet: Packet,
  before: Packet,
): { way: Way; packet: Packet } {
  const flow = flowOf(way, space, packet);
  if (flow === undefined || packet.ct?.reply !== true) return { way, packet: chosen(packet, 'dstDone') };
  const seen = { ...way, flows: way.flows.map((f) => (f === flow ? { ...f, seenReply: true } : f)) };
  if (packet.dst === before.dst) return { way: seen, packet };
  const text = `${formatAddr(before.dst)} -> ${formatAddr(packet.dst)} (reverse of the source NAT)`;
  return { way: add(seen, step(space, 'conntrack', 'un-snat', text)), packet };
}

/** Behind POSTROUTING and INPUT. */
export function restoreSource(way: Way, space: Space, packet: Packet, before: Packet): { way: Way; packet: Packet } {
  if (packet.ct?.reply !== true || packet.src === before.src) return { way, packet };
  const text = `${formatAddr(before.src)} -> ${formatAddr(packet.src)} (reverse of the destination NAT)`;
  return { way: add(way, step(space, 'conntrack', 'un-dnat', text)), packet };
}

function chosen(packet: Packet, which: 'dstDone' | 'srcDone'): Packet {
  return packet.ct === null || packet.ct[which] === true ? packet : { ...packet, ct: { ...packet.ct, [which]: true } };
}

/** The packet leaves POSTROUTING or INPUT: the connection is kept as it now is. */
export function confirm(way: Way, space: Space, packet: Packet): { way: Way; packet: Packet } {
  const { ct } = packet;
  if (
    ct === null ||
    ct.state !== 'NEW' ||
    ct.reply ||
    way.flows.some((f) => f.space === space && sameTuple(f.orig, ct.orig))
  )
    return { way, packet };
  const flow: Flow = {
    space,
    orig: ct.orig,
    reply: inverse(tupleOf(packet)),
    snat: ct.snat,
    dnat: ct.dnat,
    mark: ct.mark,
    altered: ct.altered === true,
    seenReply: false,
  };
  return { way: { ...way, flows: [...way.flows, flow] }, packet: chosen(packet, 'srcDone') };
}
