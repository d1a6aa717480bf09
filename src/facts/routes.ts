import type { Span } from '../core/span.ts';

export interface NextHop {
  readonly via?: string;
  readonly dev?: string;
  readonly weight: number;
  /** onlink, dead, linkdown, pervasive ... */
  readonly flags: readonly string[];
}

/** One route. Dump order is kept: among equal prefix and metric the first listed wins. */
export interface Route extends Span {
  readonly family: 4 | 6;
  /** unicast, local, broadcast, multicast, anycast, blackhole, unreachable, prohibit, throw. */
  readonly type: string;
  /** CIDR; `default` is 0.0.0.0/0 or ::/0; a bare address gets /32 or /128. */
  readonly dst: string;
  /** IPv6 source routing: only packets from this prefix. */
  readonly from?: string;
  readonly via?: string;
  readonly dev?: string;
  /** Preferred source of local senders. */
  readonly src?: string;
  /** 0 when not printed (IPv6: 1024 is printed). */
  readonly metric: number;
  /** main, local, default, or the table's number or name. */
  readonly table: string;
  readonly proto?: string;
  readonly scope?: string;
  readonly tos?: string;
  readonly mtu?: number;
  readonly mtuLock?: boolean;
  readonly advmss?: number;
  readonly hopLimit?: number;
  readonly nhid?: number;
  /** Lightweight tunnel (`encap ip`, mpls, seg6 ...): the packet leaves wrapped. */
  readonly encap?: string;
  readonly flags: readonly string[];
  /** ECMP; empty for a single next hop (which is in via/dev). */
  readonly nexthops: readonly NextHop[];
}

export interface Routes {
  readonly routes: readonly Route[];
  /** False when the form shows the main table only (`route -n`, /proc/net/route): other tables are unknown. */
  readonly allTables: boolean;
}

/** `ip rule`. The three default rules are listed like any other; a dump without them means they were deleted. */
export interface PolicyRule extends Span {
  readonly pref: number;
  readonly not: boolean;
  readonly from?: string;
  readonly to?: string;
  readonly iif?: string;
  readonly oif?: string;
  readonly fwmark?: number;
  readonly fwmask?: number;
  readonly tos?: string;
  readonly ipproto?: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly uidrange?: string;
  readonly l3mdev?: boolean;
  readonly action: 'lookup' | 'unreachable' | 'prohibit' | 'blackhole' | 'goto' | 'nop' | 'unknown';
  readonly table?: string;
  readonly goto?: number;
  readonly suppressPrefixLength?: number;
  readonly suppressIfgroup?: string;
  /** Selector words the parser does not know: the rule must be judged unknown. */
  readonly unknown?: readonly string[];
}

export interface PolicyRules {
  readonly rules: readonly PolicyRule[];
}
