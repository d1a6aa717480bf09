import type { IptMatch } from '../facts/index.ts';
import type { Test } from './chain.ts';
import { unknown } from './chain.ts';
import { truth } from './doubt.ts';
import { readSetMatch } from './ipset.ts';
import { typeIn } from './match-header.ts';
import { type MatchReader, unanswered } from './match-options.ts';

/** Chance as a truth: `random` as it says, `nth` one of n because its counter is not in evidence. */
function readStatistic(match: IptMatch): readonly Test[] | null {
  const values = new Map(match.options.map((o) => [o.flag, o]));
  const mode = values.get('--mode')?.values[0];
  const [of, known] =
    mode === 'random'
      ? [values.get('--probability'), ['--mode', '--probability']]
      : mode === 'nth'
        ? [values.get('--every'), ['--mode', '--every', '--packet']]
        : [undefined, []];
  if (of === undefined || !match.options.every((o) => known.includes(o.flag))) return null;
  const value = Number(of.values[0]);
  const p = mode === 'random' ? value : 1 / value;
  if (!(p >= 0 && p <= 1)) return null;
  const share = of.negated ? 1 - p : p;
  return [() => share];
}

/** A match of the sender's process: packets that were not sent by this host have none. */
function readOwner(match: IptMatch): readonly Test[] | null {
  if (match.options.length === 0) return null;
  return match.options.map(
    (o): Test =>
      (p, look) => {
        if (look.hook !== 'output' && p.iif !== '') return truth(o.negated);
        return unknown(look, 'the process that sends the packet is not known');
      },
  );
}

/** A listening socket on every address does not count, so a packet to another host has none when it is the first. */
function readSocket(match: IptMatch): readonly Test[] | null {
  const flags = match.options.map((o) => o.flag);
  if (!flags.every((f) => ['--transparent', '--nowildcard', '--restore-skmark'].includes(f))) return null;
  return [
    (p, look) => {
      const local = typeIn(look, p.dst, undefined, new Set(['local']));
      if (local === 0 && p.ct?.state === 'NEW' && !flags.includes('--nowildcard')) return 0;
      return unknown(look, 'the sockets that the packet could belong to are not known');
    },
  ];
}

/** More packets a second than this hardly any flow sends: such a limit is taken for none. */
const PLENTY = 1000;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Does a limit of so many `per` a time let through what a container sends at work? `5/min`, `1/sec`: 5 and min. */
export const isPlenty = (rate: number, per: string): boolean => rate / (SECONDS[per[0] ?? ''] ?? 1) >= PLENTY;

export const FEW_PASS = 'only some packets a time match the limit, and how many come is not known';

/**
 * At rest every limit has tokens left: the answer is for a packet now and then. But where a rule lets through what keeps the limit, what is
 * beyond it meets the rules that follow.
 */
const readLimit: MatchReader = (match, { target }) => {
  if (!match.options.every((o) => (o.flag === '--limit' || o.flag === '--limit-burst') && !o.negated)) return null;
  // iptables-extensions(8): 3/hour is the default
  const [rate = '', per = ''] = (match.options.find((o) => o.flag === '--limit')?.values[0] ?? '3/hour').split('/');
  const passes = target?.name === 'ACCEPT' || target?.name === 'RETURN';
  return passes && !isPlenty(Number(rate), per) ? [unanswered(FEW_PASS)] : [];
};

const state = (name: string): MatchReader => {
  const tests = [unanswered(`match ${name} depends on state that is not in the evidence`)];
  return () => tests;
};

const DEPENDS = [
  'recent',
  'hashlimit',
  'connlimit',
  'connbytes',
  'connlabel',
  'quota',
  'time',
  'u32',
  'bpf',
  'string',
  'cgroup',
  'rateest',
  'cluster',
  'cpu',
  'policy',
  'realm',
  'devgroup',
  'osf',
  'ipvs',
  'ecn',
  'esp',
  'ah',
];

/** Matches whose answer is chance, a set, or state that no evidence holds. */
export const STATE_MATCHES: Readonly<Record<string, MatchReader>> = {
  statistic: readStatistic,
  limit: readLimit,
  owner: readOwner,
  socket: readSocket,
  set: readSetMatch,
  ...Object.fromEntries(DEPENDS.map((name) => [name, state(name)])),
};
