import type { IptMatch, IptOption } from '../facts/index.ts';
import type { Addr } from './addr.ts';
import { type Look, type Test, unknown } from './chain.ts';
import { negate, type Truth, truth } from './doubt.ts';
import { type MatchReader, readMasked, readRange, readValueMask } from './match-options.ts';
import { portInAny } from './match-transport.ts';
import { type CtState, type CtView, inverse, type Packet, protocolNumber, type Tuple } from './packet.ts';

export const CT_STATES: ReadonlySet<string> = new Set([
  'NEW',
  'ESTABLISHED',
  'RELATED',
  'INVALID',
  'UNTRACKED',
  'SNAT',
  'DNAT',
]);

/**
 * What the kernel has for the packet: a connection, or none with the state it then says (before tracking every packet is INVALID).
 * Null, with the reason, when the trace does not know.
 */
export function connection(p: Packet, look: Look): { state: CtState; ct: CtView | null } | null {
  const { ct } = p;
  if (ct === null) {
    if (!look.tracked) return { state: 'INVALID', ct: null };
    return unknown(look, 'what connection tracking knows of the packet is not known');
  }
  return ct.state === 'INVALID' || ct.state === 'UNTRACKED' ? { state: ct.state, ct: null } : { state: ct.state, ct };
}

/** The tuple of the packets that come back; null, with the reason, when it is not known. */
function replyTuple(p: Packet, ct: CtView, look: Look): Tuple | null {
  // nothing of a new connection is translated yet that the packet does not show
  if (ct.state === 'NEW' && !ct.reply) return inverse(p);
  if (!ct.snat && !ct.dnat && ct.altered !== true) return inverse(ct.orig);
  return unknown(look, 'the reply side of the translated connection is not known');
}

type CtTest = (p: Packet, ct: CtView, look: Look) => Truth;

function readStatus(text: string): CtTest | null {
  const list = text.split(',');
  const known = ['NONE', 'EXPECTED', 'SEEN_REPLY', 'ASSURED', 'CONFIRMED'];
  if (!list.every((w) => known.includes(w)) || list.includes('NONE')) return null;
  return (_, ct, look) => {
    if (ct.state === 'NEW') return list.includes('SEEN_REPLY') && ct.reply ? 1 : 0;
    if (ct.state === 'ESTABLISHED' && (list.includes('SEEN_REPLY') || list.includes('CONFIRMED'))) return 1;
    return unknown(look, `connection status ${text} is not known`);
  };
}

const addressOf =
  (of: (t: Tuple) => Addr, tuple: (p: Packet, ct: CtView, look: Look) => Tuple | null) =>
  (text: string): CtTest | null => {
    const family = text.includes(':') ? 6 : 4;
    const holds = readMasked(text, family);
    if (holds === null) return null;
    return (p, ct, look) => {
      const t = tuple(p, ct, look);
      return t === null ? null : truth(holds(of(t)));
    };
  };

const portOf =
  (of: (t: Tuple) => Tuple['sport'], tuple: (p: Packet, ct: CtView, look: Look) => Tuple | null) =>
  (text: string): CtTest | null => {
    const range = readRange(text, 0xffff);
    if (range === null) return null;
    return (p, ct, look) => {
      const t = tuple(p, ct, look);
      return t === null ? null : portInAny(look, of(t), [range]);
    };
  };

const orig = (_: Packet, ct: CtView) => ct.orig;

const READERS: Readonly<Record<string, (text: string) => CtTest | null>> = {
  '--ctproto': (text) => {
    const number = protocolNumber(text);
    return number === null ? null : (_, ct) => truth(ct.orig.proto === number);
  },
  '--ctorigsrc': addressOf((t) => t.src, orig),
  '--ctorigdst': addressOf((t) => t.dst, orig),
  '--ctorigsrcport': portOf((t) => t.sport, orig),
  '--ctorigdstport': portOf((t) => t.dport, orig),
  '--ctreplsrc': addressOf((t) => t.src, replyTuple),
  '--ctrepldst': addressOf((t) => t.dst, replyTuple),
  '--ctreplsrcport': portOf((t) => t.sport, replyTuple),
  '--ctrepldstport': portOf((t) => t.dport, replyTuple),
  '--ctstatus': readStatus,
  '--ctdir': (text) =>
    text === 'ORIGINAL' || text === 'REPLY' ? (_, ct) => truth(ct.reply === (text === 'REPLY')) : null,
};

function readState(option: IptOption): Test | null {
  const states = (option.values[0] ?? '').split(',');
  if (!states.every((s) => CT_STATES.has(s))) return null;
  const wanted = new Set(states);
  return (p, look) => {
    const seen = connection(p, look);
    if (seen === null) return null;
    const { state, ct } = seen;
    const holds =
      wanted.has(state) || (ct !== null && ((ct.snat && wanted.has('SNAT')) || (ct.dnat && wanted.has('DNAT'))));
    return truth(holds !== option.negated);
  };
}

function readStates(options: readonly IptOption[]): readonly Test[] | null {
  const tests = options.map((o) => (o.flag === '--state' ? readState(o) : null));
  return tests.includes(null) ? null : (tests as Test[]);
}

/** As xt_conntrack: a packet without connection matches when its state does, whatever else is asked, and never without a state. */
function readConntrack(match: IptMatch): readonly Test[] | null {
  const states = match.options.filter((o) => o.flag === '--ctstate').map(readState);
  if (states.includes(null)) return null;
  const rest: CtTest[] = [];
  for (const option of match.options) {
    if (option.flag === '--ctstate') continue;
    const test = Object.hasOwn(READERS, option.flag) ? READERS[option.flag]!(option.values[0] ?? '') : null;
    if (test === null) return null;
    rest.push(option.negated ? (p, ct, look) => negate(test(p, ct, look), true) : test);
  }
  if (rest.length === 0) return states as Test[];
  const one =
    (test: CtTest): Test =>
    (p, look) => {
      const seen = connection(p, look);
      if (seen === null) return null;
      return seen.ct === null ? truth(states.length > 0) : test(p, seen.ct, look);
    };
  return [...(states as Test[]), ...rest.map(one)];
}

function readHelper(match: IptMatch): readonly Test[] | null {
  const [option, ...more] = match.options;
  if (option?.flag !== '--helper' || more.length > 0) return null;
  return [
    (p, look) => {
      const seen = connection(p, look);
      if (seen === null) return null;
      // followed are connections that somebody opens, not those that a helper of another one expects: nothing stands above them
      return truth(option.negated);
    },
  ];
}

/** The connection's mark as a test of value and mask; no connection never matches. */
export const connmarkTest =
  (value: number, mask: number, negated: boolean): Test =>
  (p, look) => {
    const seen = connection(p, look);
    if (seen === null) return null;
    if (seen.ct === null) return 0;
    if (seen.ct.mark === null) return unknown(look, 'the mark of the connection is not known');
    return truth(((seen.ct.mark & mask) >>> 0 === value) !== negated);
  };

function readConnmark(match: IptMatch): readonly Test[] | null {
  const tests: Test[] = [];
  for (const option of match.options) {
    const v = option.flag === '--mark' ? readValueMask(option.values[0] ?? '') : null;
    if (v === null) return null;
    tests.push(connmarkTest(v[0], v[1], option.negated));
  }
  return tests;
}

/** Matches that ask connection tracking. */
export const CONNTRACK_MATCHES: Readonly<Record<string, MatchReader>> = {
  conntrack: readConntrack,
  state: (m) => readStates(m.options),
  connmark: readConnmark,
  helper: readHelper,
};
