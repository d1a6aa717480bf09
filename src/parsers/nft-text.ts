import type { NftText } from '../facts/firewall.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { filledLines } from './line-index.ts';
import { readPriority } from './nft-priority.ts';

type Draft<K extends keyof NftText> = { -readonly [P in keyof NftText[K][number]]: NftText[K][number][P] };

/** What braces do on a line, quoted words left out. */
function depthChange(line: string): number {
  let change = 0;
  for (let i = 0; i < line.length; i += 1) {
    const c = line.charCodeAt(i);
    if (c === 34) {
      const close = line.indexOf('"', i + 1);
      if (close < 0) break;
      i = close;
    } else if (c === 123) change += 1;
    else if (c === 125) change -= 1;
  }
  return change;
}

/** `... # handle 12` at the line's end is nft's, not the rule's. */
function splitHandle(line: string): { body: string; handle?: number } {
  const at = line.lastIndexOf('# handle ');
  const digits = at < 0 ? '' : line.slice(at + 9);
  return /^\d{1,15}$/.test(digits) ? { body: line.slice(0, at).trimEnd(), handle: Number(digits) } : { body: line };
}

const HOOK = /^type (\S+) hook (\S+) (?:devices? (?:= )?(.*?) ?)?priority ([^;]+);(?:.* policy (\w+);)?/;

/** `nft [-a] list ruleset`. Understood beside tables, chains and rules: sets and other objects (skipped whole, of maps the place is kept), comments, warnings. */
function readNftText(text: string): Parsed<NftText> {
  const tables: Draft<'tables'>[] = [];
  const chains: Draft<'chains'>[] = [];
  const rules: Draft<'rules'>[] = [];
  const skipped: Skipped[] = [];
  let table: Draft<'tables'> | null = null;
  let chain: Draft<'chains'> | null = null;
  const maps: Draft<'maps'>[] = [];
  /** Braces open in a set or other object of the table; the last map ends with them. */
  let object = 0;
  let map: Draft<'maps'> | null = null;
  let rule: { draft: Draft<'rules'>; depth: number; parts: string[] } | null = null;
  const closeRule = () => {
    if (rule === null) return;
    const { body, handle } = splitHandle(rule.parts.join(' '));
    rules.push({ ...rule.draft, text: body, ...(handle === undefined ? {} : { handle }) });
    rule = null;
  };
  let end = 0;
  for (const { line, text: raw } of filledLines(text)) {
    end = line;
    const word = raw.trim();
    const change = depthChange(word);
    if (rule !== null) {
      const open: { draft: Draft<'rules'>; depth: number; parts: string[] } = rule;
      open.parts.push(word);
      open.draft.endLine = line;
      open.depth += change;
      if (open.depth <= 0) closeRule();
      continue;
    }
    if (object > 0) {
      object = Math.max(0, object + change);
      if (map !== null) map.endLine = line;
      continue;
    }
    if (word.startsWith('#')) continue;
    const { body, handle } = splitHandle(word);
    const known = handle === undefined ? {} : { handle };
    if (table === null) {
      const m = /^table (?:(ip|ip6|inet|arp|bridge|netdev) )?(\S+) \{(?: # progname \S+)?(\s*\})?$/.exec(body);
      if (m === null) {
        skipped.push({ line, why: 'no line of nft list ruleset' });
        continue;
      }
      const opened: Draft<'tables'> = { line, endLine: line, family: m[1] ?? 'ip', name: m[2]!, ...known };
      tables.push(opened);
      if (m[3] === undefined) table = opened;
      continue;
    }
    table.endLine = line;
    if (chain === null) {
      const m = /^chain (\S+) \{(\s*\})?$/.exec(body);
      if (m !== null) {
        const opened: Draft<'chains'> = {
          line,
          endLine: line,
          family: table.family,
          table: table.name,
          name: m[1]!,
          ...known,
        };
        chains.push(opened);
        if (m[2] === undefined) chain = opened;
      } else if (word === '}') table = null;
      else if (change > 0) {
        object = change;
        const name = /^map (\S+) \{$/.exec(body)?.[1];
        map = name === undefined ? null : { line, endLine: line, family: table.family, table: table.name, name };
        if (map !== null) maps.push(map);
      } else if (/^flags .*\bdormant\b/.test(body)) table.dormant = true;
      else if (!/^(comment|flags|(set|map|counter|quota|limit|flowtable|ct|secmark|synproxy) )/.test(body))
        skipped.push({ line, why: 'no object of an nft table' });
      continue;
    }
    chain.endLine = line;
    const hook = body.length > 1024 ? null : HOOK.exec(body);
    if (hook !== null) {
      const priority = readPriority(hook[4]!, table.family);
      Object.assign(chain, { type: hook[1], hook: hook[2], hookLine: line });
      if (priority !== null) chain.priority = priority;
      else skipped.push({ line, why: 'unknown priority' });
      if (hook[3] !== undefined) chain.dev = hook[3].match(/[^\s{},"]+/g)?.join(',') ?? '';
      if (hook[5] !== undefined) chain.policy = hook[5];
    } else if (word === '}') chain = null;
    else if (!/^(comment "|policy \w+;$)/.test(body)) {
      const draft: Draft<'rules'> = { line, family: table.family, table: table.name, chain: chain.name, text: '' };
      rule = { draft, depth: change, parts: [word] };
      if (change <= 0) closeRule();
    }
  }
  closeRule();
  if (table !== null) skipped.push({ line: end, why: 'the text ends inside a table' });
  if (tables.length === 0 && skipped.length > 0) return { ok: false, why: 'no output of nft list ruleset' };
  return { ok: true, value: { tables, chains, rules, maps }, skipped };
}

export const parsers = [defineParser({ fact: 'nftText', evidence: ['fw.nft'], version: 4, parse: readNftText })];
