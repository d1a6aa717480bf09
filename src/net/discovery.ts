import { type Addr, formatAddr, isLinkLocal } from './addr.ts';
import type { Device } from './devices.ts';
import type { Doubt, Reason, Truth } from './doubt.ts';
import { runHook } from './hook.ts';
import { ICMP6, makePacket, type Packet, untracked } from './packet.ts';
import { bridgeCallsIptables, type Judged } from './source.ts';
import type { Space } from './space.ts';
import type { Hook, HookWay } from './step.ts';
import { bridgeOf, type Port, peerOf } from './wire.ts';

const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const HOP_LIMIT = 255;
const CONTEXT = { track: untracked, maxWays: 16 };
/** fe80::1 */
const SOMEBODY = (0xfe80n << 112n) | 1n;
const SOLICITED_NODE = 0xff02_0000_0000_0000_0000_0001_ff00_0000n;

/**
 * Neighbour discovery of IPv6 is IPv6: unlike ARP it passes netfilter on both sides and of the bridge between them, untracked. `passes` 0:
 * a rule drops the question or the answer.
 */
export function discovers(
  asker: Port,
  target: Port,
  addr: Addr,
  source: Addr | null,
): { passes: Truth; because: string; reason: Reason } {
  const none: Reason = { because: '', evidence: [] };
  if (typeof addr !== 'bigint') return { passes: 1, because: '', reason: none };
  const own = source ?? linkLocal(asker) ?? SOMEBODY;
  const between = bridgeBetween(asker, target);
  const stages = exchange(asker, target, own, addr, between);
  let doubt: Doubt | undefined;
  for (const [port, hook, packet] of stages) {
    const ways = runHook(port.space, hook, packet, [], CONTEXT);
    const dropped = ways.filter((w) => w.verdict === 'drop' || w.verdict === 'reject');
    const spoilt = ways.filter((w) => w.verdict === 'accept' && !isHeard(w));
    if (spoilt.length > 0) {
      const because = `a rule at ${hook} of ${port.space.label} changes the hop limit of neighbour discovery, which must be ${HOP_LIMIT}`;
      const sure = spoilt.length === ways.length && port === asker && !asksFirst(target, asker, addr, own);
      return { passes: sure ? 0 : null, because, reason: { because, evidence: [] } };
    }
    if (ways.length > 0 && dropped.length === ways.length) {
      const because = `neighbour discovery is dropped at ${hook} of ${port.space.label}: ${dropped[0]?.because ?? ''}`;
      const calls = port.space === between?.space ? between.calls : null;
      if (calls?.truth === null) return { passes: null, because, reason: calls.reason };
      if (asksFirst(target, asker, addr, own)) return { passes: null, because, reason: knownWhenItAsks(because) };
      const other = otherSource(asker, target, own, addr, between);
      return other === null
        ? { passes: 0, because, reason: none }
        : { passes: null, because, reason: { because: `${because}; ${other}`, evidence: [] } };
    }
    if (dropped.length > 0 || ways.some((w) => w.verdict === 'unknown')) doubt ??= ways.flatMap((w) => w.doubts)[0];
  }
  if (doubt === undefined) return { passes: 1, because: '', reason: none };
  return { passes: null, because: doubt.because, reason: { because: doubt.because, evidence: doubt.evidence } };
}

/** The hooks that the question passes, and the answer. */
function exchange(asker: Port, target: Port, own: Addr, addr: bigint, between: Between | null): readonly Stage[] {
  const tell = message(ADVERTISEMENT, addr, own);
  return [
    ...question(asker, target, own, addr, between),
    [target, 'output', { ...tell, oif: target.device.name }],
    [target, 'postrouting', { ...tell, oif: target.device.name }],
    ...bridged(between, tell, true),
    [asker, 'prerouting', { ...tell, iif: asker.device.name }],
    [asker, 'input', { ...tell, iif: asker.device.name }],
  ];
}

/**
 * Measured: who forwards asks from its link-local address, who sends by itself from the address that it sends from, and a neighbour that the one
 * found is known to the other. As a clause; null: no address of the device's own gets an answer.
 */
function otherSource(asker: Port, target: Port, own: Addr, addr: bigint, between: Between | null): string | null {
  for (const { addr: other, dad } of asker.device.addresses) {
    if (typeof other !== 'bigint' || other === own || dad !== null) continue;
    const heard = exchange(asker, target, other, addr, between).every(([at, hook, packet]) =>
      runHook(at.space, hook, packet, [], CONTEXT).some((w) => w.verdict === 'unknown' || isHeard(w)),
    );
    if (heard) return `it is known for a while once ${asker.space.label} asks from ${formatAddr(other)}`;
  }
  return null;
}

export const knownWhenItAsks = (because: string): Reason => ({
  because: `${because}; it is known for a while once it asks itself`,
  evidence: [],
});

/** The hooks that the question for an address passes. */
function question(asker: Port, target: Port, source: Addr, addr: bigint, between: Between | null): readonly Stage[] {
  const ask = message(SOLICITATION, source, SOLICITED_NODE | (addr & 0xffffffn));
  return [
    [asker, 'output', { ...ask, oif: asker.device.name }],
    [asker, 'postrouting', { ...ask, oif: asker.device.name }],
    ...bridged(between, ask, false),
    [target, 'prerouting', { ...ask, iif: target.device.name }],
    [target, 'input', { ...ask, iif: target.device.name }],
  ];
}

/**
 * May the other side's own question arrive? RFC 4861: a question tells the hardware address of who asks, so that a neighbour that asked
 * first is known for a while whatever becomes of answers. One that came over a router, by its hop limit, is not believed.
 */
function asksFirst(other: Port, port: Port, theirs: Addr, own: Addr): boolean {
  if (typeof own !== 'bigint') return false;
  return question(other, port, theirs, own, bridgeBetween(other, port)).every(([at, hook, packet]) =>
    runHook(at.space, hook, packet, [], CONTEXT).some((w) => w.verdict === 'unknown' || isHeard(w)),
  );
}

/**
 * Would a neighbour that is not in the evidence find the hardware address of one of the device's own? He may ask from his link-local
 * address, and asks again and again. null: yes; else what stands in the way, as a clause.
 */
export function findsOut(target: Port, addr: Addr): string | null {
  if (typeof addr !== 'bigint') return null;
  const { space, device } = target;
  const ask = message(SOLICITATION, SOMEBODY, SOLICITED_NODE | (addr & 0xffffffn));
  const tell = message(ADVERTISEMENT, addr, SOMEBODY);
  const stages: readonly (readonly [Hook, Packet])[] = [
    ['prerouting', { ...ask, iif: device.name }],
    ['input', { ...ask, iif: device.name }],
    ['output', { ...tell, oif: device.name }],
    ['postrouting', { ...tell, oif: device.name }],
  ];
  for (const [hook, packet] of stages) {
    const ways = runHook(space, hook, packet, [], CONTEXT);
    if (ways.some((w) => !isHeard(w)))
      return `rules at ${hook} of ${space.label} may keep neighbour discovery from link-local addresses away`;
  }
  return null;
}

type Stage = readonly [Port, Hook, Packet];

/** A bridge that hands frames to ip6tables, with its ports towards the two. */
interface Between {
  readonly space: Space;
  readonly bridge: Device;
  readonly ports: readonly [asker: Device, target: Device];
  readonly calls: Judged;
}

function bridgeBetween(asker: Port, target: Port): Between | null {
  const [from, to] = [portOf(asker), portOf(target)];
  const bridge = from === null ? null : bridgeOf(from);
  if (from === null || to === null || bridge === null || from.space !== to.space || bridgeOf(to) !== bridge)
    return null;
  const calls = bridgeCallsIptables(from.space, bridge.name, 6);
  return calls.truth === 0 ? null : { space: from.space, bridge, ports: [from.device, to.device], calls };
}

/** The other end of a pod's wire. */
function portOf(port: Port): Port | null {
  const peer = peerOf(port);
  return peer.kind === 'peer' ? peer.port : null;
}

/** The hooks of the bridge that questions and answers of its neighbours pass, like all that it forwards. */
function bridged(between: Between | null, packet: Packet, back: boolean): readonly Stage[] {
  if (between === null) return [];
  const { space, bridge, ports } = between;
  const [into, out] = back ? [ports[1], ports[0]] : ports;
  const on = { space, device: bridge };
  const { name } = bridge;
  const physIn = into.name;
  return [
    [on, 'prerouting', { ...packet, iif: name, physIn }],
    [on, 'forward', { ...packet, iif: name, oif: name, physIn, physOut: out.name, bridged: true }],
    [on, 'postrouting', { ...packet, oif: name, physIn, physOut: out.name, bridged: true }],
  ];
}

const message = (type: number, src: Addr, dst: Addr): Packet =>
  untracked(makePacket({ src, dst, proto: ICMP6, icmp: { type, code: 0 }, ttl: HOP_LIMIT, size: 72 }));

const isHeard = ({ verdict, packet }: HookWay): boolean => verdict === 'accept' && packet.ttl === HOP_LIMIT;

const linkLocal = ({ device }: Port): Addr | null =>
  device.addresses.find((a) => typeof a.addr === 'bigint' && isLinkLocal(a.addr) && a.dad === null)?.addr ?? null;
