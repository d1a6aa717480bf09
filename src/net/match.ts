import { parseIp4 } from '../core/address.ts';
import type { IptMatch, IptRule, Negatable } from '../facts/index.ts';
import { type Addr, parseNet } from './addr.ts';
import type { Quick, Test } from './chain.ts';
import { truth } from './doubt.ts';
import { CONNTRACK_MATCHES } from './match-conntrack.ts';
import { HEADER_MATCHES } from './match-header.ts';
import { deviceIs, type MatchReader, readMasked, unanswered } from './match-options.ts';
import { STATE_MATCHES } from './match-state.ts';
import { TRANSPORT_MATCHES } from './match-transport.ts';
import { type Packet, protocolNumber } from './packet.ts';
import { looking } from './watch.ts';

const selector = (n: Negatable<string>, holds: (p: Packet) => boolean): Test =>
  n.negated ? (p) => truth(!holds(p)) : (p) => truth(holds(p));

const isAny = (proto: string): boolean => proto === 'all' || proto === '0';

/** The rule's own selectors, before its matches. */
function readSelectors(rule: IptRule, family: 4 | 6): Test[] {
  const tests: Test[] = [];
  const { source, destination, inDevice, outDevice, protocol, fragment } = rule;
  const address = (n: Negatable<string> | undefined, at: 'src' | 'dst', of: (p: Packet) => Addr) => {
    if (n === undefined) return;
    const holds = readMasked(n.value, family);
    const test = holds === null ? unanswered(`address ${n.value} is not understood`) : selector(n, (p) => holds(of(p)));
    const net = parseNet(n.value, family);
    tests.push(net === null ? test : looking(test, { at, net }));
  };
  if (protocol !== undefined && !(isAny(protocol.value) && !protocol.negated)) {
    const number = protocolNumber(protocol.value);
    tests.push(
      number === null || isAny(protocol.value)
        ? unanswered(`protocol ${protocol.value} is not understood`)
        : looking(selector(protocol, (p) => p.proto === number)),
    );
  }
  address(destination, 'dst', (p) => p.dst);
  address(source, 'src', (p) => p.src);
  if (inDevice !== undefined) {
    const is = deviceIs(inDevice.value);
    tests.push(looking(selector(inDevice, (p) => is(p.iif))));
  }
  if (outDevice !== undefined) {
    const is = deviceIs(outDevice.value);
    tests.push(looking(selector(outDevice, (p) => is(p.oif))));
  }
  // packets here are whole, or first fragments
  if (fragment !== undefined) tests.push(looking(() => truth(fragment.negated)));
  return tests;
}

const READERS = new Map<string, MatchReader>(
  Object.entries({ ...HEADER_MATCHES, ...TRANSPORT_MATCHES, ...CONNTRACK_MATCHES, ...STATE_MATCHES }),
);

/** Matches that look at no address. */
const BLIND = new Set([
  'tcp',
  'udp',
  'icmp',
  'icmp6',
  'multiport',
  'comment',
  'mark',
  'statistic',
  'physdev',
  'state',
  'length',
  'ttl',
]);

function readMatch(match: IptMatch, rule: IptRule): readonly Test[] {
  const reader = READERS.get(match.name);
  if (reader === undefined) return [unanswered(`match ${match.name} is not one that netcase evaluates`)];
  const tests = reader(match, rule) ?? [unanswered(`an option of match ${match.name} is not understood`)];
  if (match.name === 'addrtype') return tests.map((t) => looking(t, { at: 'types' }));
  const blind =
    BLIND.has(match.name) || (match.name === 'conntrack' && match.options.every((o) => o.flag === '--ctstate'));
  return blind ? tests.map((t) => looking(t)) : tests;
}

/** All tests of a rule: it matches when all of them hold. What is not understood of it is a test that is unknown. */
export function readTests(rule: IptRule, family: 4 | 6): readonly Test[] {
  const tests = readSelectors(rule, family);
  for (const match of rule.matches) tests.push(...readMatch(match, rule));
  if (rule.unplaced !== undefined) tests.push(unanswered(`"${rule.unplaced.join(' ')}" is not understood`));
  return tests;
}

const NET = String.raw`(\d+\.\d+\.\d+\.\d+)(?:/(\d+))?(?= |$)`;
const COMMENT = String.raw`(?: -m comment --comment (?:"(?:[^"\\]|\\.)*"|[^ "]+))?`;
const PORTS = String.raw`(?: -m (?:tcp|udp) --dport (\d+)(?::(\d+))?(?= |$))?`;
/** What iptables-save writes first, in its order. */
const HEAD = new RegExp(
  `^-A [^ ]+(?: -s ${NET}| ! -s [^ ]+)?(?: -d ${NET}| ! -d [^ ]+)?(?:(?: !)? -i [^ ]+)?(?:(?: !)? -o [^ ]+)?(?: -p ([^ ]+)(?= |$)${COMMENT}${PORTS})?`,
);

function quickNet(address: string | undefined, length: string | undefined): readonly [number, number] {
  const base = address === undefined ? null : parseIp4(address);
  const bits = length === undefined ? 32 : Number(length);
  if (base === null || bits > 32) return [0, 0];
  const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
  return [(base & mask) >>> 0, mask];
}

/** The plain selectors of a rule as numbers, without tokenising it: what they exclude needs no further look. null: it has none. */
export function readQuick(text: string, family: 4 | 6): Quick | null {
  const m = family === 6 ? null : HEAD.exec(text);
  if (m === null) return null;
  const [src, srcMask] = quickNet(m[1], m[2]);
  const [dst, dstMask] = quickNet(m[3], m[4]);
  const proto = m[5] === undefined || isAny(m[5]) ? -1 : (protocolNumber(m[5]) ?? -1);
  if (srcMask === 0 && dstMask === 0 && proto < 0) return null;
  const ported = m[6] !== undefined && (proto === 6 || proto === 17);
  const [low, high] = ported ? [Number(m[6]), Number(m[7] ?? m[6])] : [0, -1];
  return { src, srcMask, dst, dstMask, proto, low, high };
}
