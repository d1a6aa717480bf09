import type { IptMatch } from '../facts/index.ts';
import { type Addr, isMulticast, parseAddr } from './addr.ts';
import { type Look, type Test, unknown } from './chain.ts';
import { type Truth, truth } from './doubt.ts';
import { deviceIs, type MatchReader, readOptions, readRange, readValueMask } from './match-options.ts';
import { type Packet, UNSIZED } from './packet.ts';

const numberTest = (of: (p: Packet) => number, holds: (n: number, v: number) => boolean) => (text: string) => {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  const value = Number(text);
  return (p: Packet): Truth => truth(holds(of(p), value));
};

/** Types of addresses by the routing tables, as `-m addrtype` names them. */
export const ADDRESS_TYPES = [
  'UNSPEC',
  'UNICAST',
  'LOCAL',
  'BROADCAST',
  'ANYCAST',
  'MULTICAST',
  'BLACKHOLE',
  'UNREACHABLE',
  'PROHIBIT',
  'THROW',
  'NAT',
  'XRESOLVE',
] as const;
const TYPES: ReadonlySet<string> = new Set(ADDRESS_TYPES);

/** What the routing tables say of an address, compared with a list of types. */
export function typeIn(look: Look, addr: Addr, dev: string | undefined, types: ReadonlySet<string>): Truth {
  const routing = look.space.routing(typeof addr === 'number' ? 4 : 6);
  const { type, reason } = dev === undefined ? routing.typeOf(addr) : routing.typeOf(addr, dev);
  if (type !== null) return truth(types.has(type));
  look.why = reason ?? { because: 'the type of an address is not known', evidence: [] };
  return null;
}

function readAddrtype(match: IptMatch): readonly Test[] | null {
  const limit = match.options.find((o) => o.flag.startsWith('--limit-iface-'))?.flag;
  const dev = (p: Packet): string | undefined => {
    const name = limit === '--limit-iface-in' ? p.iif : limit === '--limit-iface-out' ? p.oif : '';
    return name === '' ? undefined : name;
  };
  const typed = (of: (p: Packet) => Addr) => (value: string) => {
    const list = value.toUpperCase().split(',');
    if (!list.every((t) => TYPES.has(t))) return null;
    const types = new Set(list.map((t) => t.toLowerCase()));
    return (p: Packet, look: Look) => typeIn(look, of(p), dev(p), types);
  };
  const always = () => () => 1;
  return readOptions(match.options, {
    '--src-type': typed((p) => p.src),
    '--dst-type': typed((p) => p.dst),
    '--limit-iface-in': always,
    '--limit-iface-out': always,
  });
}

function addressRange(of: (p: Packet) => Addr) {
  return (value: string): Test | null => {
    const [low, high] = value.split('-').map(parseAddr);
    if (low === undefined || low === null) return null;
    const top = high === undefined ? low : high;
    if (top === null || typeof top !== typeof low) return null;
    return (p) => {
      const a = of(p);
      return truth(typeof a === typeof low && a >= low && a <= top);
    };
  };
}

/** Every option against what is known of bridge ports; without any, a match is an option behind `!`. */
function readPhysdev(match: IptMatch): readonly Test[] | null {
  const { options } = match;
  const known = new Set([
    '--physdev-in',
    '--physdev-out',
    '--physdev-is-in',
    '--physdev-is-out',
    '--physdev-is-bridged',
  ]);
  if (!options.every((o) => known.has(o.flag))) return null;
  return options.map((o): Test => {
    const is = deviceIs(o.values[0] ?? '');
    const on = truth(!o.negated);
    const off = truth(o.negated);
    return (p) => {
      if (p.physIn === '' && p.physOut === '') return off;
      switch (o.flag) {
        case '--physdev-is-bridged':
        case '--physdev-is-out':
          return p.physOut === '' ? off : on;
        case '--physdev-is-in':
          return p.physIn === '' ? off : on;
        case '--physdev-in':
          // the kernel skips the comparison when there is no such port
          return p.physIn === '' || is(p.physIn) !== o.negated ? 1 : 0;
        default:
          return p.physOut === '' ? 0 : truth(is(p.physOut) !== o.negated);
      }
    };
  });
}

function readRpfilter(match: IptMatch): readonly Test[] | null {
  const known = new Set(['--loose', '--validmark', '--accept-local', '--invert']);
  const flags = new Set(match.options.map((o) => o.flag));
  if (match.options.some((o) => !known.has(o.flag) || o.negated || o.values.length > 0)) return null;
  const invert = flags.has('--invert');
  return [
    (p, look) => {
      if (look.space.device(p.iif)?.kind === 'lo') return truth(!invert);
      if (isMulticast(p.dst) && (p.src === 0 || p.src === 0n)) return truth(!invert);
      if (flags.has('--accept-local') && look.space.owns(p.src))
        return flags.has('--loose') ? truth(!invert) : unknown(look, 'rpfilter --accept-local of an own address');
      const how = { loose: flags.has('--loose'), mark: flags.has('--validmark') };
      const { passes, reason } = look.space.routing(typeof p.dst === 'number' ? 4 : 6).reversePath(p, p.iif, how);
      if (passes === null) look.why = reason;
      return passes === null ? null : invert ? 1 - passes : passes;
    },
  ];
}

function readPkttype(match: IptMatch): readonly Test[] | null {
  return readOptions(match.options, {
    '--pkt-type': (value) => {
      if (!['unicast', 'host', 'broadcast', 'multicast'].includes(value)) return null;
      return (p, look) => {
        const { type, reason } = look.space.routing(typeof p.dst === 'number' ? 4 : 6).typeOf(p.dst);
        if (type === 'local' || (type !== null && type !== 'broadcast' && type !== 'multicast'))
          return truth(value === 'unicast' || value === 'host');
        look.why = reason ?? { because: 'the frame of a packet to many is not known', evidence: [] };
        return null;
      };
    },
  });
}

function readMac(match: IptMatch): readonly Test[] | null {
  return match.options.length === 1 && match.options[0]!.flag === '--mac-source'
    ? match.options.map((o): Test => {
        const mac = (o.values[0] ?? '').toLowerCase();
        return (p, look) => {
          if (p.iif === '') return 0;
          if (p.srcMac === null) return unknown(look, 'the sender of the frame is not known');
          return truth((p.srcMac.toLowerCase() === mac) !== o.negated);
        };
      })
    : null;
}

const always: MatchReader = () => [];

/** Matches that look at the IP header, at addresses and at devices. */
export const HEADER_MATCHES: Readonly<Record<string, MatchReader>> = {
  comment: always,
  nfacct: always,
  addrtype: readAddrtype,
  physdev: readPhysdev,
  rpfilter: readRpfilter,
  pkttype: readPkttype,
  mac: readMac,
  iprange: (m) =>
    readOptions(m.options, { '--src-range': addressRange((p) => p.src), '--dst-range': addressRange((p) => p.dst) }),
  mark: (m) =>
    readOptions(m.options, {
      '--mark': (text) => {
        const v = readValueMask(text);
        return v === null ? null : (p) => truth((p.mark & v[1]) >>> 0 === v[0]);
      },
    }),
  length: (m) =>
    readOptions(m.options, {
      '--length': (text) => {
        const r = readRange(text, 0xffff);
        if (r === null) return null;
        return (p, look) => (p.anySize === true ? unknown(look, UNSIZED) : truth(p.size >= r[0] && p.size <= r[1]));
      },
    }),
  ttl: (m) => readOptions(m.options, readHops('--ttl')),
  hl: (m) => readOptions(m.options, readHops('--hl')),
  dscp: (m) =>
    readOptions(m.options, {
      '--dscp': numberTest(
        (p) => p.tos >> 2,
        (a, b) => a === b,
      ),
    }),
  tos: (m) =>
    readOptions(m.options, {
      '--tos': (text) => {
        const v = readValueMask(text, 0xff);
        return v === null ? null : (p) => truth((p.tos & v[1]) === v[0]);
      },
    }),
};

function readHops(flag: string) {
  const test = (holds: (n: number, v: number) => boolean) => {
    const read = numberTest((p) => p.ttl, holds);
    return (text: string): Test | null => {
      const known = read(text);
      return known === null
        ? null
        : (p, look) => (p.ttlGap ? unknown(look, p.ttlGap.because, ...p.ttlGap.evidence) : known(p));
    };
  };
  return {
    [`${flag}-eq`]: test((a, b) => a === b),
    [`${flag}-lt`]: test((a, b) => a < b),
    [`${flag}-gt`]: test((a, b) => a > b),
  };
}
