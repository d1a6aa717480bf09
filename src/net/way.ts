import type { Addr } from './addr.ts';
import type { Device } from './devices.ts';
import type { Absence, Cite, Doubt, Reason, Truth } from './doubt.ts';
import { type CtView, type Packet, type Port, type Tuple, tupleOf } from './packet.ts';
import type { Space } from './space.ts';
import type { HookWay, Step } from './step.ts';

/** A connection as one namespace tracks it, made by a packet on this way. */
export interface Flow {
  readonly space: Space;
  /** As the first packet came in. */
  readonly orig: Tuple;
  /** What an answer looks like when it comes back. */
  readonly reply: Tuple;
  readonly snat: boolean;
  readonly dnat: boolean;
  readonly mark: number | null;
  readonly altered: boolean;
  readonly seenReply: boolean;
}

/** A connection that ipvs of a namespace has given to a real server (struct ip_vs_conn). */
export interface Balanced {
  readonly space: Space;
  readonly proto: number;
  readonly client: Peer;
  readonly virtual: Peer;
  readonly real: Peer;
  /** Connection tracking follows it as well. */
  readonly tracked: boolean;
  readonly cites: readonly Cite[];
}

/** One side of it. */
interface Peer {
  readonly addr: Addr;
  readonly port: Port | null;
}

/** Who answers a question for its hardware address knows from then on who asked (arp_process, ndisc_recv_ns). */
interface Met {
  readonly knows: Space;
  /** On which of its devices. */
  readonly on: string;
  readonly addr: Addr;
  /** The device that asked. */
  readonly at: { readonly space: Space; readonly device: Device };
}

interface Trail {
  readonly step: Step;
  readonly before: Trail | null;
}

/** One way that a packet can take, as far as it is followed. Never changed in place. */
export interface Way {
  readonly trail: Trail | null;
  readonly doubts: readonly Doubt[];
  readonly probability: number;
  readonly flows: readonly Flow[];
  readonly balanced: readonly Balanced[];
  /** Its share is not known: a scheduler chose by what is not in the evidence. */
  readonly uneven: boolean;
  /** Questions for hardware addresses that were answered on this way. */
  readonly met: readonly Met[];
  /** Devices passed: the guard against loops that no TTL ends. */
  readonly passed: number;
  /** Where routers were given the packet, and as what: the guard against loops that the TTL ends after more steps than a stack has. */
  readonly routed: readonly string[];
  /** Connections of the request: the last one is on its way, a proxy ended the others. */
  readonly legs: readonly Leg[];
  /** The connection whose answer this is; null: the request. */
  readonly answering: Leg | null;
  /** The connection whose later packet this is, once it was answered; null: the first one. */
  readonly following: Leg | null;
  /** A node that tracks connections has passed a SYN-ACK of which it knew no connection. */
  readonly strayed: boolean;
  /** The answer has changed the mark of its connection. */
  readonly marked: boolean;
}

export const START: Way = {
  trail: null,
  doubts: [],
  probability: 1,
  flows: [],
  balanced: [],
  uneven: false,
  met: [],
  passed: 0,
  routed: [],
  legs: [],
  answering: null,
  following: null,
  strayed: false,
  marked: false,
};

export type Verdict = 'delivered' | 'dropped' | 'rejected' | 'unknown';

/** Where a way ends. */
export interface End {
  readonly verdict: Verdict;
  /** One sentence without its full stop. */
  readonly because: string;
  readonly way: Way;
  readonly packet: Packet;
  /** null: outside the evidence. */
  readonly space: Space | null;
  /** Of `unknown`: what would tell. */
  readonly reason?: Reason;
}

/** One connection of the request: who dialled what. A proxy makes the next one. */
export interface Leg {
  /** null: outside the evidence. */
  readonly client: Space | null;
  /** As the client sent it. */
  readonly sent: Packet;
  /** Its source is known: it was asked for, or the kernel has chosen it. */
  readonly named: boolean;
  /** The kernel has chosen it, for the route that it had found. */
  readonly unbound?: boolean;
  /** Where and how it arrived; null while on its way. */
  readonly server: Space | null;
  readonly seen: Packet;
  /** The server's kernel chooses the address that the answer comes from: a proxy's UDP socket on every address. */
  readonly anySource?: boolean;
}

export function stepsOf(way: Way): Step[] {
  const list: Step[] = [];
  for (let t = way.trail; t !== null; t = t.before) list.push(t.step);
  return list.reverse();
}

export function add(way: Way, ...steps: readonly Step[]): Way {
  let { trail } = way;
  for (const step of steps) trail = { step, before: trail };
  return trail === way.trail ? way : { ...way, trail };
}

export function step(
  space: Space,
  place: string,
  action: string,
  text: string,
  cites: readonly (Cite | Absence | null | undefined)[] = [],
): Step {
  return { space, place, action, text, cites: cites.filter((c) => c !== null && c !== undefined) };
}

/** The way behind a hook: its steps, doubts and share. */
export function behind(way: Way, hook: HookWay): Way {
  return add({ ...way, doubts: hook.doubts, probability: way.probability * hook.probability }, ...hook.steps);
}

/**
 * Both ways of a question that the evidence does not answer; one way when it was answered on the way here. The answers must not depend on
 * anything but `key`.
 */
export function fork(
  way: Way,
  space: Space,
  key: string,
  reason: Reason,
): { readonly holds?: Way; readonly fails?: Way } {
  const known = way.doubts.find((d) => d.key === key);
  if (known !== undefined) return known.holds ? { holds: way } : { fails: way };
  const doubt = { ...reason, key, node: reason.node ?? space.node.id };
  return {
    holds: { ...way, doubts: [...way.doubts, { ...doubt, holds: true }] },
    fails: { ...way, doubts: [...way.doubts, { ...doubt, holds: false }] },
  };
}

/** Goes on by a three-valued answer: `yes` and `no` say what comes of either. */
export function either<T>(
  way: Way,
  space: Space,
  truth: Truth,
  key: string,
  reason: Reason,
  yes: (way: Way) => readonly T[],
  no: (way: Way) => readonly T[],
): readonly T[] {
  if (truth === 1) return yes(way);
  if (truth === 0) return no(way);
  const { holds, fails } = fork(way, space, key, reason);
  return [...(holds === undefined ? [] : yes(holds)), ...(fails === undefined ? [] : no(fails))];
}

/** The connection tracking view of an untracked packet's absence: what the first packet of a connection gets. */
export function newConnection(packet: Packet): CtView {
  return { state: 'NEW', reply: false, snat: false, dnat: false, orig: tupleOf(packet), mark: 0 };
}

/** The connection on its way has arrived: `server` null is somebody outside the evidence. */
export function closeLeg(legs: readonly Leg[], server: Space | null, seen: Packet): readonly Leg[] {
  const last = legs.at(-1);
  return last === undefined ? legs : [...legs.slice(0, -1), { ...last, server, seen }];
}
