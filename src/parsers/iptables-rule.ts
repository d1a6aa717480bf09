import type { IptMatch, IptOption, IptRule, Negatable } from '../facts/firewall.ts';
import { SAVED_STRINGS, type Token, tokenize, writeValue } from './iptables-tokens.ts';

/** Options with more than one value; all others have at most one. */
const MANY_VALUES = new Map([
  ['--tcp-flags', 2],
  ['--match-set', 2],
  ['--add-set', 2],
  ['--del-set', 2],
  ['--map-set', 2],
  ['--chunk-types', 2],
]);

type Selector = 'source' | 'destination' | 'inDevice' | 'outDevice' | 'protocol';
const SELECTORS = new Map<string, Selector>([
  ['-s', 'source'],
  ['--source', 'source'],
  ['--src', 'source'],
  ['-d', 'destination'],
  ['--destination', 'destination'],
  ['--dst', 'destination'],
  ['-i', 'inDevice'],
  ['--in-interface', 'inDevice'],
  ['-o', 'outDevice'],
  ['--out-interface', 'outDevice'],
  ['-p', 'protocol'],
  ['--protocol', 'protocol'],
  ['--proto', 'protocol'],
]);

/** Targets that take no option: what follows them belongs to the protocol's match, or nowhere. */
const VERDICTS = new Set(['ACCEPT', 'DROP', 'RETURN', 'QUEUE']);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Draft = Mutable<IptRule>;
type OptionDraft = { flag: string; negated: boolean; values: string[]; written?: string[] };

/** One `-A` line (`text` without counters, starting at `-A`). Never throws: what fits nowhere is in `unplaced`. */
export function readRule(text: string, line: number, packets: number | undefined, bytes: number | undefined): IptRule {
  const { tokens, open } = tokenize(text);
  const matches: { name: string; options: OptionDraft[] }[] = [];
  const rule: Draft = { line, chain: tokens[1]?.text ?? '', text, matches: matches as IptMatch[] };
  if (packets !== undefined) rule.packets = packets;
  if (bytes !== undefined) rule.bytes = bytes;
  const unplaced: string[] = [];
  let target: { kind: 'jump' | 'goto'; name: string; options: OptionDraft[] } | null = null;
  let options: OptionDraft[] | null = null;
  let current: OptionDraft | null = null;
  let negated = false;

  let protocolOptions: OptionDraft[] | null = null;
  const protocolMatch = (): OptionDraft[] | null => {
    const name = rule.protocol?.value;
    if (protocolOptions !== null || name === undefined || rule.protocol?.negated) return protocolOptions;
    const match = matches.find((m) => m.name === name) ?? { name, options: [] };
    if (!matches.includes(match)) matches.push(match);
    protocolOptions = match.options;
    return protocolOptions;
  };

  const isOption = (t: Token) =>
    !t.quoted &&
    t.text.charCodeAt(0) === 45 &&
    t.text.length > 1 &&
    !(t.text.charCodeAt(1) < 58 && t.text.charCodeAt(1) > 47);
  for (let i = 2; i < tokens.length; i += 1) {
    const token = tokens[i]!;
    const word = token.text;
    // iptables writes `--comment -j` without quotes: a string option takes the next word whatever it looks like
    const owed = current !== null && current.values.length === 0 && SAVED_STRINGS.has(current.flag);
    if (!owed && !token.quoted && word === '!') {
      const next = tokens[i + 1];
      // the old inside form: `-i ! docker0`, `--dport ! 80`
      if (next !== undefined && !isOption(next) && current !== null && current.values.length === 0)
        current.negated = true;
      else if (next !== undefined && isOption(next) && !negated) negated = true;
      else unplaced.push(word);
      continue;
    }
    if (owed || !isOption(token)) {
      const room = current === null ? 0 : (MANY_VALUES.get(current.flag) ?? 1);
      if (current === null || current.values.length >= room || word === '[unsupported') {
        unplaced.push(word);
        if (word === '[unsupported') current = null;
        continue;
      }
      current.values.push(word);
      if (token.raw !== writeValue(current.flag, word)) {
        current.written ??= current.values.slice(0, -1).map((v) => writeValue(current!.flag, v));
        current.written.push(token.raw);
      } else current.written?.push(token.raw);
      continue;
    }
    current = null;
    const was: boolean = negated;
    negated = false;
    const selector = options !== null && word === '--proto' ? undefined : SELECTORS.get(word);
    if (selector !== undefined) {
      let not = was;
      if (tokens[i + 1]?.text === '!' && !tokens[i + 1]!.quoted) {
        not = !not;
        i += 1;
      }
      const value = tokens[i + 1];
      if (value === undefined || isOption(value) || rule[selector] !== undefined) {
        unplaced.push(word);
        continue;
      }
      rule[selector] = { negated: not, value: value.text };
      i += 1;
    } else if (word === '-f' || word === '--fragment') {
      rule.fragment = { negated: was, value: true } satisfies Negatable<true>;
    } else if (word === '-m' || word === '--match') {
      const name = tokens[i + 1];
      if (name === undefined || isOption(name) || was) {
        unplaced.push(word);
        continue;
      }
      options = [];
      matches.push({ name: name.text, options });
      i += 1;
    } else if (word === '-j' || word === '--jump' || word === '-g' || word === '--goto') {
      const name = tokens[i + 1];
      if (name === undefined || isOption(name) || was || target !== null) {
        unplaced.push(word);
        continue;
      }
      target = { kind: word === '-g' || word === '--goto' ? 'goto' : 'jump', name: name.text, options: [] };
      options = target.options;
      i += 1;
    } else if (word === '-c' || word === '--set-counters') {
      const [p, b] = [Number(tokens[i + 1]?.text), Number(tokens[i + 2]?.text)];
      if (!Number.isSafeInteger(p) || !Number.isSafeInteger(b)) {
        unplaced.push(word);
        continue;
      }
      rule.packets = p;
      rule.bytes = b;
      i += 2;
    } else {
      const home: OptionDraft[] | null =
        options === null || (target !== null && options === target.options && VERDICTS.has(target.name))
          ? protocolMatch()
          : options;
      current = { flag: word, negated: was, values: [] };
      if (home === null) {
        unplaced.push(word);
        current = null;
      } else home.push(current);
    }
  }
  if (negated) unplaced.push('!');
  if (open) unplaced.push('"');
  if (target !== null) rule.target = target as { kind: 'jump' | 'goto'; name: string; options: IptOption[] };
  const comment = matches.find((m) => m.name === 'comment')?.options.find((o) => o.flag === '--comment')?.values[0];
  if (comment !== undefined) rule.comment = comment;
  if (unplaced.length > 0) rule.unplaced = unplaced;
  return rule;
}
