import type { IptMatch, IptRule } from '../facts/index.ts';
import { type Look, type Test, unknown } from './chain.ts';
import { type Truth, truth } from './doubt.ts';
import { type MatchReader, readOptions, readRange } from './match-options.ts';
import { hasPorts, ICMP, ICMP6, type Packet, type Port, portIn, TCP } from './packet.ts';

/** Is the port in one of the ranges? Null, with the reason, when only some of its possible values are. */
export function portInAny(look: Look, port: Port | null, ranges: readonly (readonly [number, number])[]): Truth {
  let some = false;
  for (const [low, high] of ranges) {
    const t = portIn(port, low, high);
    if (t === 1) return 1;
    some ||= t === null;
  }
  return some ? unknown(look, 'the port that the kernel chose is not known') : 0;
}

function readPorts(text: string): readonly (readonly [number, number])[] | null {
  const ranges: (readonly [number, number])[] = [];
  for (const part of text.split(',')) {
    const range = readRange(part, 0xffff);
    if (range === null || range[1] > 0xffff) return null;
    ranges.push(range);
  }
  return ranges;
}

const portTest = (of: (p: Packet) => Port | null) => (text: string) => {
  const ranges = text.includes(',') ? null : readPorts(text);
  return ranges === null ? null : (p: Packet, look: Look) => portInAny(look, of(p), ranges);
};

const PORTS = {
  '--sport': portTest((p) => p.sport),
  '--source-port': portTest((p) => p.sport),
  '--dport': portTest((p) => p.dport),
  '--destination-port': portTest((p) => p.dport),
};

const FLAGS: Readonly<Record<string, number>> = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ALL: 63, NONE: 0 };
const SYN_MASK = 1 | 2 | 4 | 16;

function readFlags(text: string | undefined): number | null {
  let bits = 0;
  for (const word of (text ?? '?').split(',')) {
    const bit = Object.hasOwn(FLAGS, word) ? FLAGS[word] : undefined;
    if (bit === undefined) return null;
    bits |= bit;
  }
  return bits;
}

/** TCP flags under a mask; PSH of a packet in the middle of a connection is not known. */
export function flagsUnder(look: Look, p: Packet, mask: number): number | null {
  if (p.tcp === null) return unknown(look, 'the TCP flags of the packet are not known');
  if (p.tcp === 'ack' && (mask & 8) !== 0) return unknown(look, 'whether PSH is set is not known');
  return (p.tcp === 'syn' ? 2 : p.tcp === 'synack' ? 18 : 16) & mask;
}

const flagTest =
  (mask: number, comparison: number): Test =>
  (p, look) => {
    const flags = flagsUnder(look, p, mask);
    return flags === null ? null : truth(flags === comparison);
  };

/** A protocol's own match says nothing of packets of another protocol: it is false, negated or not. */
function ofProtocol(proto: (p: Packet) => boolean, tests: readonly Test[] | null): readonly Test[] | null {
  return tests === null ? null : [(p) => truth(proto(p)), ...tests];
}

function readTcp(match: IptMatch): readonly Test[] | null {
  const tests = readOptions(match.options, {
    ...PORTS,
    '--syn': () => flagTest(SYN_MASK, 2),
    '--tcp-flags': (_, option) => {
      const [mask, comparison] = [readFlags(option.values[0]), readFlags(option.values[1])];
      return mask === null || comparison === null ? null : flagTest(mask, comparison);
    },
    '--tcp-option': () => (_, look) => unknown(look, 'the TCP options of the packet are not known'),
  });
  return ofProtocol((p) => p.proto === TCP, tests);
}

function readMultiport(match: IptMatch): readonly Test[] | null {
  const list =
    (of: (p: Packet, look: Look, ranges: readonly (readonly [number, number])[]) => Truth) => (text: string) => {
      const ranges = readPorts(text);
      return ranges === null ? null : (p: Packet, look: Look) => of(p, look, ranges);
    };
  const source = list((p, look, r) => portInAny(look, p.sport, r));
  const destination = list((p, look, r) => portInAny(look, p.dport, r));
  const any = list((p, look, r) => {
    const [a, b] = [portInAny(look, p.sport, r), portInAny(look, p.dport, r)];
    return a === 1 || b === 1 ? 1 : a === null || b === null ? null : 0;
  });
  const tests = readOptions(match.options, {
    '--sports': source,
    '--source-ports': source,
    '--dports': destination,
    '--destination-ports': destination,
    '--ports': any,
  });
  return ofProtocol((p) => hasPorts(p.proto), tests);
}

const ICMP_NAMES: Readonly<Record<string, string>> = {
  'echo-reply': '0',
  'destination-unreachable': '3',
  'network-unreachable': '3/0',
  'host-unreachable': '3/1',
  'port-unreachable': '3/3',
  'fragmentation-needed': '3/4',
  'source-quench': '4',
  redirect: '5',
  'echo-request': '8',
  'time-exceeded': '11',
};
const ICMP6_NAMES: Readonly<Record<string, string>> = {
  'destination-unreachable': '1',
  'packet-too-big': '2',
  'time-exceeded': '3',
  'parameter-problem': '4',
  'echo-request': '128',
  'echo-reply': '129',
  'router-solicitation': '133',
  'router-advertisement': '134',
  'neighbour-solicitation': '135',
  'neighbor-solicitation': '135',
  'neighbour-advertisement': '136',
  'neighbor-advertisement': '136',
};

const readIcmp =
  (proto: number, flag: string, names: Readonly<Record<string, string>>): MatchReader =>
  (match) =>
    ofProtocol(
      (p) => p.proto === proto,
      readOptions(match.options, {
        [flag]: (text) => {
          if (text === 'any' || (proto === ICMP && text === '255')) return () => 1;
          const m = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(Object.hasOwn(names, text) ? names[text]! : text);
          if (m === null) return null;
          const [type, code] = [Number(m[1]), m[2] === undefined ? null : Number(m[2])];
          return (p, look) => {
            if (p.icmp === null) return unknown(look, 'the ICMP type of the packet is not known');
            return truth(p.icmp.type === type && (code === null || p.icmp.code === code));
          };
        },
      }),
    );

function readTcpmss(match: IptMatch, rule: IptRule): readonly Test[] | null {
  if (rule.protocol?.negated !== false || match.options.length !== 1 || match.options[0]!.flag !== '--mss') return null;
  const negated = match.options[0]!.negated;
  return ofProtocol(
    (p) => p.proto === TCP,
    [(p, look) => (p.tcp === 'ack' ? truth(negated) : unknown(look, 'the MSS option of the packet is not known'))],
  );
}

const readPlain =
  (proto: number): MatchReader =>
  (match) =>
    ofProtocol((p) => p.proto === proto, readOptions(match.options, PORTS));

/** Matches that look at the transport header. */
export const TRANSPORT_MATCHES: Readonly<Record<string, MatchReader>> = {
  tcp: readTcp,
  udp: readPlain(17),
  udplite: readPlain(136),
  sctp: readPlain(132),
  dccp: readPlain(33),
  multiport: readMultiport,
  icmp: readIcmp(ICMP, '--icmp-type', ICMP_NAMES),
  icmp6: readIcmp(ICMP6, '--icmpv6-type', ICMP6_NAMES),
  icmpv6: readIcmp(ICMP6, '--icmpv6-type', ICMP6_NAMES),
  'ipv6-icmp': readIcmp(ICMP6, '--icmpv6-type', ICMP6_NAMES),
  tcpmss: readTcpmss,
};
