import type { IptMatch, IptOption, IptRule } from '../facts/index.ts';
import { type Addr, familyOf, parseAddr, parseNet } from './addr.ts';
import { type Test, unknown } from './chain.ts';
import { negate } from './doubt.ts';
import { looking } from './watch.ts';

/** Reads one match of a rule; null: not understood, and then the whole match is unknown. */
export type MatchReader = (match: IptMatch, rule: IptRule) => readonly Test[] | null;

/** A test that nobody can answer from the evidence. */
export const unanswered = (because: string, ...evidence: string[]): Test =>
  looking((_, look) => unknown(look, because, ...evidence));

/** The tests of options, each by its reader; an option without reader, or one that its reader refuses, makes the match unknown. */
export function readOptions(
  options: readonly IptOption[],
  readers: Readonly<Record<string, (value: string, option: IptOption) => Test | null>>,
): readonly Test[] | null {
  const tests: Test[] = [];
  for (const option of options) {
    const reader = Object.hasOwn(readers, option.flag) ? readers[option.flag] : undefined;
    const test = reader?.(option.values[0] ?? '', option);
    if (test === undefined || test === null) return null;
    tests.push(option.negated ? (p, look) => negate(test(p, look), true) : test);
  }
  return tests;
}

/** An address with a mask, which iptables allows to have holes. */
export function readMasked(text: string, family: 4 | 6): ((addr: Addr) => boolean) | null {
  const net = parseNet(text, family);
  if (net !== null) {
    if (familyOf(net.base) !== family) return null;
    if (family === 4) {
      const [mask, base] = [net.length === 0 ? 0 : (0xffffffff << (32 - net.length)) >>> 0, net.base as number];
      return (addr) => typeof addr === 'number' && (addr & mask) >>> 0 === base;
    }
    const [shift, base] = [BigInt(128 - net.length), (net.base as bigint) >> BigInt(128 - net.length)];
    return (addr) => typeof addr === 'bigint' && addr >> shift === base;
  }
  const slash = text.indexOf('/');
  const [addr, mask] = slash < 0 ? [null, null] : [parseAddr(text.slice(0, slash)), parseAddr(text.slice(slash + 1))];
  if (typeof addr === 'number' && typeof mask === 'number' && family === 4)
    return (a) => typeof a === 'number' && ((a ^ addr) & mask) === 0;
  if (typeof addr === 'bigint' && typeof mask === 'bigint' && family === 6)
    return (a) => typeof a === 'bigint' && ((a ^ addr) & mask) === 0n;
  return null;
}

/** A device name as iptables compares it: `eth+` is a prefix. No name equals the empty one of a hook without that device. */
export function deviceIs(pattern: string): (name: string) => boolean {
  if (!pattern.endsWith('+')) return (name) => name === pattern;
  const prefix = pattern.slice(0, -1);
  return (name) => name.startsWith(prefix);
}

/** `0x4000/0x4000`, `7` as value and mask of 32 bits; null: not understood. */
export function readValueMask(text: string, full = 0xffffffff): readonly [value: number, mask: number] | null {
  const m = /^(0x[0-9a-f]{1,8}|\d{1,10})(?:\/(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.exec(text);
  if (m === null) return null;
  const [value, mask] = [Number(m[1]), m[2] === undefined ? full : Number(m[2])];
  return value <= full && mask <= full ? [value, mask] : null;
}

/** `10`, `10:20`, `:20`, `10:` as a closed range. */
export function readRange(text: string, most = 0xffffffff): readonly [low: number, high: number] | null {
  const m = /^(\d{0,10})(:)?(\d{0,10})$/.exec(text);
  if (m === null || (m[1] === '' && m[3] === '')) return null;
  const low = m[1] === '' ? 0 : Number(m[1]);
  return [low, m[2] === undefined ? low : m[3] === '' ? most : Number(m[3])];
}
