import type { Absence, Cite, Doubt } from './doubt.ts';
import type { Packet } from './packet.ts';
import type { Space } from './space.ts';
import type { Watch } from './watch.ts';

/** One thing that happened to a packet, and the lines that made it happen. */
export interface Step {
  readonly space: Space;
  /** `filter/FORWARD`, `nft inet firewalld filter_FORWARD`, `route`, `bridge cni0`, `vxlan flannel.1`, `socket` ... */
  readonly place: string;
  /** accept, drop, reject, snat, dnat, masquerade, mark, route, forward, deliver, encapsulate ... */
  readonly action: string;
  /** The rule's own text, or one clause: `10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink`. */
  readonly text: string;
  readonly cites: readonly (Cite | Absence)[];
}

/** The netfilter hooks of the IP families. */
export type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

/**
 * One way in which a packet can leave a hook. The ways of a hook are disjoint: each differs from every other in a doubt or by chance, and
 * the probabilities of the ways with equal doubts add up to 1.
 */
export interface HookWay {
  /** `unknown`: what happens to the packet from here on cannot be followed (the reason is the last doubt). */
  readonly verdict: 'accept' | 'drop' | 'reject' | 'unknown';
  /** As it leaves: rewritten, marked, with `ct.snat` / `ct.dnat` set when a NAT rule chose a mapping. */
  readonly packet: Packet;
  /** Rules that decided or changed something, in order; for an accept also the rule or policy that ended the filter chain. */
  readonly steps: readonly Step[];
  readonly probability: number;
  /** Forks on this way that the evidence does not decide, in order; includes those that it came with. */
  readonly doubts: readonly Doubt[];
  /** One clause: why it was dropped, rejected or is unknown. '' for accept. */
  readonly because: string;
  /** `icmp-port-unreachable`, `tcp-reset` ...; only with reject. */
  readonly rejectWith?: string;
  /** OUTPUT only: mangle (or an nft route chain) changed mark or tos, or nat changed the destination: the kernel routes again. */
  readonly reroute: boolean;
}

/** Some of a hook's chains, by priority: something that is no chain comes between the two parts. */
export interface HookPart {
  readonly from?: number;
  readonly below?: number;
}

export interface HookContext {
  /** Absent: all of it. */
  readonly part?: HookPart;
  /**
   * Connection tracking, at priority -200 of prerouting and output: called once with the packet as the raw tables left it, unless one of
   * them made it untracked. It gives the packet with `ct` set.
   */
  track(packet: Packet): Packet;
  /**
   * Translation of a packet that does not ask the NAT rules (not the first one of its connection), where the kernel does it: at priority
   * -100 of prerouting and output, 100 of input and postrouting. Absent: the packet is left as it is.
   */
  translate?(packet: Packet): Packet;
  /** Accepting rules of NAT chains leave a step too: they keep later rules from translating. */
  readonly tellsNat?: boolean;
  /** Told of every test of the rules. */
  readonly watch?: Watch | undefined;
  /** Most ways that a hook may split into; more is one way with verdict `unknown`. */
  readonly maxWays: number;
}
