import { type Addr, parseAddr } from './addr.ts';
import { type Port, protocolNumber } from './packet.ts';

/** Bits of which only those under `known` are known. */
export interface Bits {
  readonly bits: number;
  readonly known: number;
}

/** What an nft expression gives: a number, an address, a name, a port that may be one of a range, bits, or several of these. */
export type Value = Addr | string | Port | Bits | { readonly concat: readonly Value[] };

/** The kernel leaves the rule when an expression has no value: another protocol, no connection. */
export const BREAK = Symbol('break');

export type Kind =
  | 'addr4'
  | 'addr6'
  | 'port'
  | 'proto'
  | 'name'
  | 'int'
  | 'ctstate'
  | 'ctstatus'
  | 'ctdir'
  | 'tcpflags'
  | 'icmp'
  | 'icmp6'
  | 'icmpcode'
  | 'dscp'
  | 'word'
  | 'bool';

const BITS: Partial<Record<Kind, Readonly<Record<string, number>>>> = {
  ctstate: { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 },
  ctstatus: { expected: 1, 'seen-reply': 2, assured: 4, confirmed: 8, snat: 16, dnat: 32, dying: 512 },
  tcpflags: { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ecn: 64, cwr: 128 },
};

const NUMBERS: Partial<Record<Kind, Readonly<Record<string, number>>>> = {
  ctdir: { original: 0, reply: 1 },
  icmp: {
    'echo-reply': 0,
    'destination-unreachable': 3,
    'source-quench': 4,
    redirect: 5,
    'echo-request': 8,
    'router-advertisement': 9,
    'router-solicitation': 10,
    'time-exceeded': 11,
    'parameter-problem': 12,
    'timestamp-request': 13,
    'timestamp-reply': 14,
  },
  icmp6: {
    'destination-unreachable': 1,
    'packet-too-big': 2,
    'time-exceeded': 3,
    'parameter-problem': 4,
    'echo-request': 128,
    'echo-reply': 129,
    'mld-listener-query': 130,
    'mld-listener-report': 131,
    'mld-listener-done': 132,
    'mld-listener-reduction': 132,
    'nd-router-solicit': 133,
    'nd-router-advert': 134,
    'nd-neighbor-solicit': 135,
    'nd-neighbor-advert': 136,
    'nd-redirect': 137,
  },
  icmpcode: {
    'net-unreachable': 0,
    'host-unreachable': 1,
    'prot-unreachable': 2,
    'port-unreachable': 3,
    'frag-needed': 4,
    'net-prohibited': 9,
    'host-prohibited': 10,
    'admin-prohibited': 13,
  },
  dscp: {
    cs0: 0,
    cs1: 8,
    cs2: 16,
    cs3: 24,
    cs4: 32,
    cs5: 40,
    cs6: 48,
    cs7: 56,
    df: 0,
    be: 0,
    lephb: 1,
    af11: 10,
    af12: 12,
    af13: 14,
    af21: 18,
    af22: 20,
    af23: 22,
    af31: 26,
    af32: 28,
    af33: 30,
    af41: 34,
    af42: 36,
    af43: 38,
    va: 44,
    ef: 46,
  },
};

/** Names that nft prints for the marks, classes and numbers of other kinds are in files of the host: not understood here. */
export function readValue(json: unknown, kind: Kind): Value | null {
  if (kind === 'bool') return typeof json === 'boolean' ? Number(json) : json === '0' || json === 0 ? 0 : null;
  const bits = BITS[kind];
  if (bits !== undefined) return readBits(json, bits);
  if (typeof json === 'number')
    return kind === 'addr4' || kind === 'name' || kind === 'word' ? readPlain(json, kind) : json;
  if (typeof json !== 'string') return null;
  if (kind === 'addr4' || kind === 'addr6') {
    const addr = parseAddr(json);
    return addr !== null && (typeof addr === 'number') === (kind === 'addr4') ? addr : null;
  }
  if (kind === 'name' || kind === 'word') return json;
  const names = NUMBERS[kind];
  if (names !== undefined && Object.hasOwn(names, json)) return names[json]!;
  if (kind === 'proto') return protocolNumber(json);
  return /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(json) ? Number(json) : null;
}

function readPlain(json: number, kind: Kind): Value | null {
  return kind === 'addr4' ? json >>> 0 : kind === 'word' ? String(json) : null;
}

/** `"new"`, `["snat", "dnat"]`, `{"|": ["syn", "ack"]}`, `8`. */
function readBits(json: unknown, names: Readonly<Record<string, number>>): Bits | null {
  const all = 0xffffffff;
  if (typeof json === 'number') return { bits: json, known: all };
  if (typeof json === 'string') {
    const bit = Object.hasOwn(names, json) ? names[json] : /^0x[0-9a-f]{1,8}$/i.test(json) ? Number(json) : undefined;
    return bit === undefined ? null : { bits: bit, known: all };
  }
  const list = Array.isArray(json) ? json : (json as { '|'?: unknown } | null)?.['|'];
  if (!Array.isArray(list)) return null;
  let bits = 0;
  for (const item of list) {
    const one = readBits(item, names);
    if (one === null) return null;
    bits |= one.bits;
  }
  return { bits, known: all };
}

export const isBits = (v: Value): v is Bits => typeof v === 'object' && 'bits' in v;
export const isConcat = (v: Value): v is { readonly concat: readonly Value[] } =>
  typeof v === 'object' && !Array.isArray(v) && 'concat' in v;

/** The number of a plain value, null for one that is none. */
export const numberOf = (v: Value): number | bigint | null =>
  typeof v === 'number' || typeof v === 'bigint' ? v : null;

/** An own property of a JSON object. */
export function get(json: unknown, key: string): unknown {
  return typeof json === 'object' && json !== null && Object.hasOwn(json, key)
    ? (json as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

/** Names and values of a JSON object; nothing of anything else. */
export function entries(json: unknown): [string, unknown][] {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? Object.entries(json) : [];
}
