import { type Addr, formatAddr } from './addr.ts';
import type { Reason } from './doubt.ts';

/** A port, or the range it was chosen from by the kernel: what nobody asked for is not known exactly. */
export type Port = number | readonly [low: number, high: number];

export type CtState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';

/** Addresses and ports of one direction of a flow. */
export interface Tuple {
  readonly src: Addr;
  readonly dst: Addr;
  readonly proto: number;
  readonly sport: Port | null;
  readonly dport: Port | null;
}

/** What connection tracking of the namespace says of the packet. */
export interface CtView {
  readonly state: CtState;
  readonly reply: boolean;
  /** Status bits: translated connections keep them in both directions. */
  readonly snat: boolean;
  readonly dnat: boolean;
  /** First packet's addresses as they entered the namespace. */
  readonly orig: Tuple;
  /** Connection mark; null: not known. */
  readonly mark: number | null;
  /** ipvs has changed what the answers look like, without a translation that connection tracking knows of. */
  readonly altered?: boolean;
  /** The mapping of the destination (PREROUTING, OUTPUT) or source (POSTROUTING, INPUT) is chosen already, perhaps to be none. */
  readonly dstDone?: boolean;
  readonly srcDone?: boolean;
}

/** An IP packet at one point of its way. Never changed in place: a rewrite makes a new one. */
export interface Packet extends Tuple {
  readonly icmp: { readonly type: number; readonly code: number } | null;
  readonly tcp: 'syn' | 'synack' | 'ack' | null;
  /** Bytes of the IP packet. */
  readonly size: number;
  /** The largest fragment, once a sender or router has made some: who puts them together again makes none larger (frag_max_size). */
  readonly piece?: number;
  /** The size is only a guess: rules that look at it cannot be answered. */
  readonly anySize?: boolean;
  readonly df: boolean;
  readonly mark: number;
  readonly ttl: number;
  /** Set: the TTL is only a guess, and why. Undefined: whoever sends the packet chooses it. */
  readonly ttlGap?: Reason | null;
  readonly tos: number;
  /** '' where the hook has no such device. */
  readonly iif: string;
  readonly oif: string;
  /** Bridge ports, when the packet is on a bridge with br_netfilter, or entered by one. */
  readonly physIn: string;
  readonly physOut: string;
  readonly bridged: boolean;
  /** Neighbour that the packet is sent to: what MASQUERADE chooses its source for. */
  readonly nexthop: Addr | null;
  readonly ct: CtView | null;
  readonly srcMac: string | null;
  /** ipvs has had it in this namespace and takes it no more (skb->ipvs_property). */
  readonly balanced?: boolean;
}

/** Bytes of the largest part in which it travels. */
export const pieceOf = ({ size, piece }: Packet): number => Math.min(size, piece ?? size);

/** What does not fit is sent in pieces, if it may be. */
export const inPieces = (packet: Packet, mtu: number | null): Packet =>
  packet.df || mtu === null || pieceOf(packet) <= mtu ? packet : { ...packet, piece: mtu };

/** The same packet as one that connection tracking was told not to track. */
export function untracked(packet: Packet): Packet {
  const ct = { state: 'UNTRACKED', reply: false, snat: false, dnat: false, orig: tupleOf(packet), mark: null } as const;
  return { ...packet, ct };
}

/** Why a rule about a packet's size has no answer. */
export const UNSIZED = 'how large the packet is is not known';

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMP6 = 58;

const NUMBERS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipencap: 4,
  ipip: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  'ipv6-icmp': 58,
  vrrp: 112,
  sctp: 132,
  udplite: 136,
};
const NAMES = new Map(Object.entries(NUMBERS).map(([name, number]) => [number, name]));

/** `tcp` or `6`; null for a word that is no protocol we know. */
export function protocolNumber(text: string): number | null {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  return NUMBERS[text] ?? null;
}

export const protocolName = (proto: number): string => (proto === ICMP6 ? 'icmp' : (NAMES.get(proto) ?? String(proto)));
export const hasPorts = (proto: number): boolean =>
  proto === TCP || proto === UDP || proto === 132 || proto === 33 || proto === 136;

/** Are all possible values of the port inside the range? null: some are. */
export function portIn(port: Port | null, low: number, high: number): 0 | 1 | null {
  if (port === null) return 0;
  if (typeof port === 'number') return port >= low && port <= high ? 1 : 0;
  if (port[0] >= low && port[1] <= high) return 1;
  return port[1] < low || port[0] > high ? 0 : null;
}

export const formatPort = (port: Port | null): string | null =>
  port === null ? null : typeof port === 'number' ? String(port) : `${port[0]}-${port[1]}`;

/** Two ports are the same when both are known and equal, or were chosen together from the same range. */
export function samePort(a: Port | null, b: Port | null): boolean {
  return formatPort(a) === formatPort(b);
}

export function tupleOf(p: Tuple): Tuple {
  return { src: p.src, dst: p.dst, proto: p.proto, sport: p.sport, dport: p.dport };
}

export function inverse(t: Tuple): Tuple {
  return { src: t.dst, dst: t.src, proto: t.proto, sport: t.dport, dport: t.sport };
}

export function sameTuple(a: Tuple, b: Tuple): boolean {
  return (
    a.src === b.src &&
    a.dst === b.dst &&
    a.proto === b.proto &&
    samePort(a.sport, b.sport) &&
    samePort(a.dport, b.dport)
  );
}

/** `10.0.0.1:80`, or the address alone. */
export function endpoint(addr: Addr, port: Port | null): string {
  const text = formatAddr(addr);
  const p = formatPort(port);
  if (p === null) return text;
  return typeof addr === 'number' ? `${text}:${p}` : `[${text}]:${p}`;
}

/** `10.244.1.10 -> 10.244.2.10:80 tcp`: ports that the kernel chose are left out. */
export function describe(p: Tuple): string {
  const sport = typeof p.sport === 'number' ? p.sport : null;
  return `${endpoint(p.src, sport)} -> ${endpoint(p.dst, p.dport)} ${protocolName(p.proto)}`;
}

/** Everything that a later rule could see: equal keys can be treated as one packet. */
export function packetKey(p: Packet): string {
  const ct =
    p.ct === null
      ? '-'
      : `${p.ct.state}${p.ct.reply ? 'r' : 'o'}${p.ct.snat ? 's' : ''}${p.ct.dnat ? 'd' : ''}${p.ct.mark}`;
  return `${p.src} ${formatPort(p.sport)} ${p.dst} ${formatPort(p.dport)} ${p.mark} ${p.tos} ${p.ttl}${p.ttlGap ? '?' : ''} ${p.oif} ${p.size}${p.anySize === true ? '?' : ''} ${ct}`;
}

/** What a kernel notes about a packet while it has it. */
const NOTHING_NOTED = {
  mark: 0,
  ct: null,
  iif: '',
  oif: '',
  physIn: '',
  physOut: '',
  bridged: false,
  nexthop: null,
  balanced: false,
} as const;

/** A packet with everything unsaid at its usual value. */
export function makePacket(p: Pick<Packet, 'src' | 'dst' | 'proto'> & Partial<Packet>): Packet {
  return {
    sport: null,
    dport: null,
    icmp: p.proto === ICMP ? { type: 8, code: 0 } : p.proto === ICMP6 ? { type: 128, code: 0 } : null,
    tcp: p.proto === TCP ? 'syn' : null,
    size: 60,
    df: false,
    ttl: 64,
    tos: 0,
    srcMac: null,
    ...NOTHING_NOTED,
    ...p,
  };
}

/** A packet as it reaches another namespace, or itself out of a tunnel: nothing that this kernel noted about it goes along. */
export const offTheWire = (p: Packet): Packet => ({ ...p, ...NOTHING_NOTED });
