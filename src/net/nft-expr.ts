import { type Look, unknown } from './chain.ts';
import { flagsUnder } from './match-transport.ts';
import { CT_KEYS } from './nft-conntrack.ts';
import { readFib } from './nft-fib.ts';
import { type Bits, BREAK, entries, get, type Kind, readValue, type Value } from './nft-value.ts';
import { hasPorts, ICMP, ICMP6, type Packet, protocolNumber, TCP, UNSIZED } from './packet.ts';

export type Read = (p: Packet, look: Look) => Value | typeof BREAK | null;

/** An nft expression: how it reads a packet, and how the values that it is compared with are written. */
export interface Expr {
  readonly kinds: readonly Kind[];
  readonly read: Read;
  /** Set: any number from `offset` to `offset + mod - 1`, by chance. */
  readonly chance?: { readonly mod: number; readonly offset: number };
}

const expr = (kind: Kind, read: Read): Expr => ({ kinds: [kind], read });

/** An expression that the evidence does not answer. */
export const unreadable = (what: string): Expr => ({
  kinds: ['word'],
  read: (_, look) => unknown(look, `nft ${what} is not one that netcase evaluates`),
});

const four =
  (of: (p: Packet, look: Look) => Value | null): Read =>
  (p, look) =>
    typeof p.dst === 'number' ? of(p, look) : BREAK;
const six =
  (of: (p: Packet, look: Look) => Value | null): Read =>
  (p, look) =>
    typeof p.dst === 'bigint' ? of(p, look) : BREAK;

const readTtl = (p: Packet, look: Look): number | null =>
  p.ttlGap ? unknown(look, p.ttlGap.because, ...p.ttlGap.evidence) : p.ttl;

const IP: Readonly<Record<string, Expr>> = {
  saddr: expr(
    'addr4',
    four((p) => p.src),
  ),
  daddr: expr(
    'addr4',
    four((p) => p.dst),
  ),
  protocol: expr(
    'proto',
    four((p) => p.proto),
  ),
  ttl: expr('int', four(readTtl)),
  dscp: expr(
    'dscp',
    four((p) => p.tos >> 2),
  ),
  ecn: expr(
    'int',
    four((p) => p.tos & 3),
  ),
  length: expr(
    'int',
    four((p, look) => (p.anySize === true ? unknown(look, UNSIZED) : p.size)),
  ),
  version: expr(
    'int',
    four(() => 4),
  ),
  // packets here are whole, or first fragments
  'frag-off': expr(
    'int',
    four((p) => (p.df ? 0x4000 : 0)),
  ),
};
const IP6: Readonly<Record<string, Expr>> = {
  saddr: expr(
    'addr6',
    six((p) => p.src),
  ),
  daddr: expr(
    'addr6',
    six((p) => p.dst),
  ),
  nexthdr: expr(
    'proto',
    six((p) => p.proto),
  ),
  hoplimit: expr('int', six(readTtl)),
  dscp: expr(
    'dscp',
    six((p) => p.tos >> 2),
  ),
  length: expr(
    'int',
    six((p, look) => (p.anySize === true ? unknown(look, UNSIZED) : Math.max(0, p.size - 40))),
  ),
  version: expr(
    'int',
    six(() => 6),
  ),
};

function transport(protocol: string, field: string): Expr | null {
  const side = field === 'sport' ? 'sport' : field === 'dport' ? 'dport' : null;
  if (protocol === 'th') {
    if (side === null) return null;
    return expr('port', (p, look) =>
      hasPorts(p.proto) ? p[side] : unknown(look, 'the transport header is not one with ports'),
    );
  }
  const proto = protocolNumber(protocol);
  if (proto === null || !hasPorts(proto)) return null;
  if (side !== null) return expr('port', (p) => (p.proto === proto ? (p[side] ?? BREAK) : BREAK));
  if (proto === TCP && field === 'flags') return expr('tcpflags', readFlags);
  return null;
}

function readFlags(p: Packet, look: Look): Bits | typeof BREAK | null {
  if (p.proto !== TCP) return BREAK;
  // PSH of a packet in the middle of a connection is not known
  const known = p.tcp === 'ack' ? ~8 >>> 0 : 0xffffffff;
  const bits = flagsUnder(look, p, 0xff & known);
  return bits === null ? null : { bits, known };
}

function icmp(protocol: string, field: string): Expr | null {
  const proto = protocol === 'icmp' ? ICMP : ICMP6;
  const key = field === 'type' ? 'type' : field === 'code' ? 'code' : null;
  if (key === null) return null;
  const kind: Kind = key === 'code' ? 'icmpcode' : proto === ICMP ? 'icmp' : 'icmp6';
  return expr(kind, (p, look) => {
    if (p.proto !== proto) return BREAK;
    return p.icmp === null ? unknown(look, 'the ICMP type of the packet is not known') : p.icmp[key];
  });
}

function payload(body: unknown): Expr {
  const [protocol, field] = [get(body, 'protocol'), get(body, 'field')];
  if (typeof protocol !== 'string' || typeof field !== 'string') return unreadable('raw payload');
  const found =
    protocol === 'ip'
      ? own(IP, field)
      : protocol === 'ip6'
        ? own(IP6, field)
        : protocol === 'icmp' || protocol === 'icmpv6'
          ? icmp(protocol, field)
          : protocol === 'ether' && field === 'saddr'
            ? expr('word', (p, look) =>
                p.iif === ''
                  ? BREAK
                  : (p.srcMac?.toLowerCase() ?? unknown(look, 'the sender of the frame is not known')),
              )
            : transport(protocol, field);
  return found ?? unreadable(`payload ${protocol} ${field}`);
}

const own = <T>(table: Readonly<Record<string, T>>, key: string): T | null =>
  Object.hasOwn(table, key) ? table[key]! : null;

const sender: Read = (p, look) =>
  look.hook !== 'output' && p.iif !== '' ? BREAK : unknown(look, 'the process that sends the packet is not known');

const kindOf =
  (of: (p: Packet) => string): Read =>
  (p, look) =>
    look.space.device(of(p))?.kind || unknown(look, `what kind of device ${of(p)} is is not known`);

const META: Readonly<Record<string, Expr>> = {
  mark: expr('int', (p) => p.mark),
  iif: expr('name', (p) => p.iif),
  iifname: expr('name', (p) => p.iif),
  oif: expr('name', (p) => p.oif),
  oifname: expr('name', (p) => p.oif),
  iifkind: expr(
    'word',
    kindOf((p) => p.iif),
  ),
  oifkind: expr(
    'word',
    kindOf((p) => p.oif),
  ),
  l4proto: expr('proto', (p) => p.proto),
  nfproto: expr('word', (p) => (typeof p.dst === 'number' ? 'ipv4' : 'ipv6')),
  protocol: expr('word', (p) => (typeof p.dst === 'number' ? 'ip' : 'ip6')),
  length: expr('int', (p, look) => (p.anySize === true ? unknown(look, UNSIZED) : p.size)),
  skuid: expr('word', sender),
  skgid: expr('word', sender),
  pkttype: expr('word', readPkttype),
};

function readPkttype(p: Packet, look: Look): Value | null {
  const { type, reason } = look.space.routing(typeof p.dst === 'number' ? 4 : 6).typeOf(p.dst);
  if (type !== null && type !== 'broadcast' && type !== 'multicast') return 'host';
  look.why = reason ?? { because: 'the frame of a packet to many is not known', evidence: [] };
  return null;
}

function bitwise(op: '&' | '|' | '^', body: unknown): Expr {
  if (!Array.isArray(body) || body.length < 2) return unreadable(`operator ${op}`);
  const left = readExpr(body[0]);
  const kind = left.kinds[0]!;
  if (left.kinds.length > 1) return unreadable(`operator ${op}`);
  const right = readValue(body[1], kind);
  const apply = (a: number, b: number) => (op === '&' ? a & b : op === '|' ? a | b : a ^ b) >>> 0;
  return expr(kind, (p, look) => {
    const v = left.read(p, look);
    if (v === BREAK || v === null) return v;
    if (typeof v === 'number' && typeof right === 'number') return apply(v, right);
    if (typeof v === 'bigint' && typeof right === 'bigint')
      return op === '&' ? v & right : op === '|' ? v | right : v ^ right;
    if (typeof v === 'object' && 'bits' in v && right !== null && typeof right === 'object' && 'bits' in right)
      return { bits: apply(v.bits, right.bits), known: op === '&' ? (v.known | ~right.bits) >>> 0 : v.known };
    return unknown(look, `nft operator ${op} is not understood here`);
  });
}

function concat(body: unknown): Expr {
  if (!Array.isArray(body)) return unreadable('concatenation');
  const parts = body.map(readExpr);
  if (parts.some((part) => part.chance !== undefined || part.kinds.length !== 1)) return unreadable('concatenation');
  return {
    kinds: parts.map((part) => part.kinds[0]!),
    read: (p, look) => {
      const values: Value[] = [];
      for (const part of parts) {
        const v = part.read(p, look);
        if (v === BREAK) return BREAK;
        // a part that is not known may still not matter: it is compared as bits of which none is known
        values.push(v ?? { bits: 0, known: 0 });
      }
      return { concat: values };
    },
  };
}

function numgen(body: unknown): Expr {
  const [mod, offset] = [get(body, 'mod'), get(body, 'offset') ?? 0];
  if (typeof mod !== 'number' || typeof offset !== 'number' || mod < 1) return unreadable('numgen');
  return { kinds: ['int'], read: () => BREAK, chance: { mod, offset } };
}

/** Options that only the handshake has are on no later packet; which ones a handshake has is not known. */
function tcpOption(body: unknown): Expr {
  const early = ['maxseg', 'window', 'sack-perm'].includes(String(get(body, 'name')));
  return {
    kinds: ['int'],
    read(p, look) {
      if (p.proto !== TCP || (early && p.tcp === 'ack')) return BREAK;
      return unknown(look, 'the TCP options of the packet are not known');
    },
  };
}

/** An expression of `nft -j`; one that is not understood answers that it is not known. */
export function readExpr(json: unknown): Expr {
  const [name = '', body] = entries(json)[0] ?? [];
  switch (name) {
    case 'payload':
      return payload(body);
    case 'meta':
      return own(META, String(get(body, 'key'))) ?? unreadable(`meta ${String(get(body, 'key')).slice(0, 20)}`);
    case 'ct':
      return CT_KEYS(body) ?? unreadable(`ct ${String(get(body, 'key')).slice(0, 20)}`);
    case 'fib':
      return readFib(body) ?? unreadable('fib');
    case '&':
    case '|':
    case '^':
      return bitwise(name, body);
    case 'concat':
      return concat(body);
    case 'tcp option':
      return tcpOption(body);
    case 'numgen':
    case 'jhash':
    case 'symhash':
      return numgen(body);
    default:
      return unreadable(name === '' ? 'expression' : name.slice(0, 20));
  }
}
