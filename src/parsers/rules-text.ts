import type { PolicyRule, PolicyRules } from '../facts/index.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { count, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import { tableName } from './routes-text.ts';

/** Words with a value: selectors first, then what is no condition (realms, who made the rule). */
const keys = new Set(
  'from to iif oif fwmark tos dsfield ipproto sport dport uidrange lookup table goto suppress_prefixlength suppress_ifgroup realms proto protocol'.split(
    ' ',
  ),
);
const actions = new Map<string, PolicyRule['action']>([
  ['unreachable', 'unreachable'],
  ['prohibit', 'prohibit'],
  ['blackhole', 'blackhole'],
  ['nop', 'nop'],
]);

/** `ip rule` and busybox's. One rule a line: `PREF: [not] from ... lookup TABLE`. Words that are not known stay with the rule as unknown. */
export function readRuleText(text: string): Parsed<PolicyRules> {
  const rules: PolicyRule[] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const m = /^\s*(\d{1,10}):\s/.exec(raw);
    if (m === null) skipped.push({ line, why: 'no rule' });
    else rules.push(ruleOf(Number(m[1]), wordsOf(raw.slice(m[0].length)), line));
  }
  if (rules.length === 0 && skipped.length > 0) return { ok: false, why: 'no rule' };
  return { ok: true, value: { rules }, skipped };
}

function ruleOf(pref: number, words: readonly string[], line: number): PolicyRule {
  const values = new Map<string, string>();
  const unknown: string[] = [];
  let not = false;
  let l3mdev = false;
  let action: PolicyRule['action'] = 'unknown';
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    const next = words[i + 1];
    if (word === 'not' && i === 0) not = true;
    else if (word === '[detached]' || word === '[unresolved]') continue;
    else if (word === 'lookup' && next === '[l3mdev-table]') {
      l3mdev = true;
      action = 'lookup';
      i += 1;
    } else if (keys.has(word) && next !== undefined) {
      values.set(word, next);
      i += 1;
    } else if (actions.has(word) && action === 'unknown') action = actions.get(word)!;
    else if (next !== undefined && !keys.has(next) && !actions.has(next)) {
      unknown.push(`${word} ${next}`);
      i += 1;
    } else unknown.push(word);
  }
  // busybox prints `lookup unspec` beside every action that is no lookup, and of goto and nop wrong words
  const table = values.get('lookup') ?? values.get('table');
  const jump = count(values.get('goto'));
  if (action === 'unknown' && jump !== undefined) action = 'goto';
  else if (action === 'unknown' && table !== undefined && table !== 'unspec') action = 'lookup';
  const mark = /^(0x[0-9a-f]{1,8}|\d{1,10})(?:\/(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.exec(values.get('fwmark') ?? '');
  if (mark === null && values.has('fwmark')) unknown.push(`fwmark ${values.get('fwmark')}`);
  return present({
    pref,
    not,
    from: selector(values.get('from')),
    to: selector(values.get('to')),
    iif: values.get('iif'),
    oif: values.get('oif'),
    fwmark: mark === null ? undefined : Number(mark[1]),
    fwmask: mark?.[2] === undefined ? undefined : Number(mark[2]),
    tos: values.get('tos') ?? values.get('dsfield'),
    ipproto: values.get('ipproto'),
    sport: values.get('sport'),
    dport: values.get('dport'),
    uidrange: values.get('uidrange'),
    l3mdev: l3mdev ? true : undefined,
    action,
    table: table === undefined || table === 'unspec' ? undefined : tableName(table),
    goto: jump,
    suppressPrefixLength: count(values.get('suppress_prefixlength')),
    suppressIfgroup: values.get('suppress_ifgroup'),
    unknown: unknown.length === 0 ? undefined : unknown,
    line,
  });
}

/** `all` is no condition. */
const selector = (text: string | undefined) => (text === 'all' ? undefined : text);
