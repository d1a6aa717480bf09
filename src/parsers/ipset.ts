import type { IpSets } from '../facts/firewall.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { filledLines } from './line-index.ts';

type Set = IpSets['sets'][number];
type Draft = Omit<Set, 'entries' | 'family' | 'type' | 'masks'> & {
  type: string;
  family: 4 | 6;
  masks?: string;
  entries: Set['entries'][number][];
};

/** Options of `create` that change what is looked up. */
const masksOf = (options: string): { masks?: string } => {
  const found = options.match(/ (?:netmask|bitmask|markmask) \S+/g);
  return found === null ? {} : { masks: found.join('').trim() };
};

/** An element with its options: `10.0.0.0/8 timeout 99 nomatch comment "a b"`. */
function readEntry(raw: string, line: number): Set['entries'][number] {
  const m = /^(\S+)(.*)$/.exec(raw.trim());
  // words inside a comment are no options
  const options = (m?.[2] ?? '').replace(/"[^"]*"/g, '""');
  const timeout = / timeout (\d{1,10})(?: |$)/.exec(options);
  return {
    line,
    text: m?.[1] ?? '',
    nomatch: / nomatch(?: |$)/.test(options),
    ...(timeout === null ? {} : { timeout: Number(timeout[1]) }),
  };
}

/** `ipset save` (create, add) and `ipset list` (Name:, Type:, Header:, Members:). The list's other titles are understood, not kept. */
function readSets(text: string): Parsed<IpSets> {
  const sets = new Map<string, Draft>();
  const skipped: Skipped[] = [];
  let current: Draft | null = null;
  let members = false;
  /** How many members the list says that the set has; those of sets with timeouts may have gone since. */
  let counted = 0;
  let timeouts = false;
  const open = (name: string, type: string, options: string, line: number): Draft => {
    const set: Draft = {
      line,
      endLine: line,
      name,
      type,
      family: / family inet6( |$)/.test(options) ? 6 : 4,
      ...masksOf(options),
      entries: [],
    };
    sets.set(name, set);
    return set;
  };
  for (const { line, text: raw } of filledLines(text)) {
    const word = raw.trim();
    const [verb, name = '', third = ''] = word.split(/\s+/, 3);
    const set = verb === 'add' ? sets.get(name) : undefined;
    if (verb === 'create' && third !== '') open(name, third, word, line);
    else if (set !== undefined && third !== '') {
      set.entries.push(readEntry(word.slice(word.indexOf(name, 3) + name.length), line));
      Object.assign(set, { endLine: line });
    } else if (/^Name: \S/.test(word)) {
      current = open(word.slice(6).trim(), '', '', line);
      members = false;
      counted = 0;
    } else if (current === null)
      skipped.push({ line, why: verb === 'add' ? 'element of an unknown set' : 'no line of ipset' });
    else if (/^Type: \S/.test(word)) current.type = word.slice(6).trim();
    else if (/^Header:/.test(word)) {
      Object.assign(current, { family: / family inet6( |$)/.test(word) ? 6 : 4, ...masksOf(word) });
      timeouts = / timeout /.test(word);
    } else if (/^Members:/.test(word)) members = true;
    else if (members) {
      current.entries.push(readEntry(word, line));
      Object.assign(current, { endLine: line });
    } else if (/^Number of entries: \d{1,9}$/.test(word)) counted = Number(word.slice(19));
    else if (!/^(Revision|Size in memory|References|Default):/.test(word))
      skipped.push({ line, why: 'no line of ipset list' });
  }
  if (current !== null && !timeouts && current.entries.length < counted)
    skipped.push({ line: current.endLine ?? current.line, why: `the text ends before the last of ${counted} members` });
  if (sets.size === 0 && skipped.length > 0) return { ok: false, why: 'no output of ipset' };
  return { ok: true, value: { sets: [...sets.values()] }, skipped };
}

export const parsers = [defineParser({ fact: 'ipsets', evidence: ['fw.ipset-save'], version: 3, parse: readSets })];
