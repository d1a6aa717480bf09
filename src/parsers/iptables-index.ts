import type { IptChain, IptRule, IptTable, Ruleset } from '../facts/firewall.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import {
  countersEnd,
  type Marker,
  mendTorn,
  readCounters,
  readHeader,
  readMarker,
  skipSpace,
  wordEnd,
} from './iptables-lines.ts';
import { readRule } from './iptables-rule.ts';

/** Holds where its rules stand: runs of lines, as [offset, line, count] triples, the first without an array: most chains have one. The text is shared. */
class IndexedChain implements IptChain {
  readonly name: string;
  policy: string | null;
  line: number;
  packets?: number;
  bytes?: number;
  ruleCount = 0;
  declared: boolean;
  readonly #text: string;
  #offset = 0;
  #line = 0;
  #count = 0;
  #more: number[] | null = null;
  #lastLine = 0;
  #rules: readonly IptRule[] | null = null;

  constructor(text: string, name: string, policy: string | null, line: number, declared: boolean) {
    this.#text = text;
    this.name = name;
    this.policy = policy;
    this.line = line;
    this.declared = declared;
  }

  add(offset: number, line: number): void {
    if (this.#count === 0) {
      this.#offset = offset;
      this.#line = line;
      this.#count = 1;
    } else if (this.#lastLine + 1 !== line) {
      this.#more ??= [];
      this.#more.push(offset, line, 1);
    } else if (this.#more === null) this.#count += 1;
    else this.#more[this.#more.length - 1]! += 1;
    this.#lastLine = line;
    this.ruleCount += 1;
  }

  rules(): readonly IptRule[] {
    this.#rules ??= this.#more === null ? this.#run() : this.#runs();
    return this.#rules;
  }

  #run(): readonly IptRule[] {
    const at = { text: this.#text, offset: this.#offset, line: this.#line, count: this.#count };
    return at.count < WORTH_KEEPING ? tokenise(at) : (recall(at) ?? keep(at));
  }

  #runs(): readonly IptRule[] {
    const runs = [this.#offset, this.#line, this.#count].concat(this.#more ?? []);
    const rules: IptRule[] = [];
    for (let i = 0; i < runs.length; i += 3)
      rules.push(...tokenise({ text: this.#text, offset: runs[i]!, line: runs[i + 1]!, count: runs[i + 2]! }));
    return rules;
  }
}

/** Rules on lines that follow each other. */
interface Run {
  readonly text: string;
  readonly offset: number;
  readonly line: number;
  readonly count: number;
}

function tokenise({ text, offset, line, count }: Run): IptRule[] {
  const rules: IptRule[] = [];
  let pos = offset;
  for (let n = 0; n < count; n += 1) {
    let stop = text.indexOf('\n', pos);
    if (stop < 0) stop = text.length;
    let at = skipSpace(text, pos, stop);
    pos = stop + 1;
    const counters = readCounters(text, at, stop);
    if (counters !== null) at = skipSpace(text, counters.end, stop);
    const rule = text.slice(at, text.charCodeAt(stop - 1) === 13 ? stop - 1 : stop);
    rules.push(readRule(rule, line + n, counters?.packets, counters?.bytes));
  }
  return rules;
}

/** Nodes of one cluster have the same long chains at the same lines: those read last. */
interface KeptRules {
  /** Whole lines. */
  readonly block: string;
  readonly line: number;
  readonly count: number;
  readonly rules: readonly IptRule[];
}

const WORTH_KEEPING = 24;
const KEPT_CHAINS = 32;
const KEPT_LENGTH = 4 * 1024 * 1024;
let kept: readonly KeptRules[] = [];

function recall({ text, offset, line, count }: Run): readonly IptRule[] | undefined {
  return kept.find((k) => k.line === line && k.count === count && text.startsWith(k.block, offset))?.rules;
}

function keep(run: Run): readonly IptRule[] {
  const { text, offset, line, count } = run;
  let end = offset;
  for (let n = 0; n < count && end > offset - 1; n += 1) end = text.indexOf('\n', end) + 1 || -1;
  if (end < 0 || end - offset > KEPT_LENGTH) return tokenise(run);
  // a copy: slices hold the whole file that they are of
  const block = Buffer.from(text.slice(offset, end)).toString();
  if (!text.startsWith(block, offset)) return tokenise(run);
  const rules = tokenise({ text: block, offset: 0, line, count });
  kept = [{ block, line, count, rules }, ...kept].slice(0, KEPT_CHAINS);
  return rules;
}

type Table = { name: string; line: number; chains: Map<string, IndexedChain>; commitLine: number | null };

/**
 * Indexes the text of one iptables-save in one pass; chains tokenise their rules when asked. Understood beside `*table`, `:chain`, `-A` and
 * COMMIT: blank lines, `#` comments (headers, markers). A second block of one table is left out with a marker: it is another output pasted below.
 */
export function readRuleset(source: string, usual: Ruleset['backend']): Parsed<Ruleset> {
  const text = mendTorn(source);
  const tables = new Map<string, Table>();
  const markers: Marker[] = [];
  const skipped: Skipped[] = [];
  const backends = new Set<'nft' | 'legacy'>();
  let version: string | undefined;
  let table: Table | null = null;
  let chain: IndexedChain | null = null;
  let repeated = false;
  let understood = 0;
  let line = 0;
  for (let pos = 0; pos < text.length; ) {
    line += 1;
    const start = pos;
    let stop = text.indexOf('\n', pos);
    if (stop < 0) stop = text.length;
    pos = stop + 1;
    if (stop > start && text.charCodeAt(stop - 1) === 13) stop -= 1;
    let at = skipSpace(text, start, stop);
    if (line === 1 && text.charCodeAt(at) === 0xfeff) at += 1;
    if (at >= stop) continue;
    let code = text.charCodeAt(at);
    if (code === 91) {
      const end = countersEnd(text, at, stop);
      if (end >= 0) {
        at = skipSpace(text, end, stop);
        code = text.charCodeAt(at);
      }
    }
    if (code === 45 && text.charCodeAt(at + 1) === 65 && text.charCodeAt(at + 2) === 32 && at + 3 < stop) {
      const from = at + 3;
      if (repeated || table === null) {
        skipped.push({ line, why: repeated ? 'rule in a second block of its table' : 'rule outside a table' });
        continue;
      }
      const same: boolean =
        chain !== null &&
        text.startsWith(chain.name, from) &&
        wordEnd(text, from + chain.name.length, stop) === from + chain.name.length;
      if (!same) {
        const name = text.slice(from, wordEnd(text, from, stop));
        chain = table.chains.get(name) ?? null;
        if (chain === null) {
          chain = new IndexedChain(text, name, null, line, false);
          table.chains.set(name, chain);
        }
      }
      chain!.add(start, line);
      continue;
    }
    if (code === 35) {
      const comment = text.slice(at, stop);
      const header = readHeader(comment);
      if (header !== null) {
        backends.add(header.backend);
        version ??= header.version;
        understood += 1;
      } else {
        const marker = readMarker(comment, line);
        if (marker !== null) markers.push(marker);
        understood += 1;
      }
    } else if (repeated && code !== 42) {
      skipped.push({ line, why: 'line in a second block of its table' });
      if (text.startsWith('COMMIT', at)) [table, repeated] = [null, false];
    } else if (code === 58) {
      const nameEnd = wordEnd(text, at + 1, stop);
      const policyAt = skipSpace(text, nameEnd, stop);
      const policyEnd = wordEnd(text, policyAt, stop);
      if (table === null || nameEnd === at + 1 || policyEnd === policyAt) {
        skipped.push({ line, why: table === null ? 'chain outside a table' : 'chain without name or policy' });
        continue;
      }
      const name = text.slice(at + 1, nameEnd);
      const policy = text.charCodeAt(policyAt) === 45 ? null : text.slice(policyAt, policyEnd);
      const known = table.chains.get(name);
      if (known?.declared) {
        skipped.push({ line, why: `chain ${name} declared twice` });
        continue;
      }
      const declared: IndexedChain = known ?? new IndexedChain(text, name, policy, line, true);
      if (known === undefined) table.chains.set(name, declared);
      else Object.assign(known, { policy, line, declared: true });
      const counters = readCounters(text, skipSpace(text, policyEnd, stop), stop);
      if (counters !== null) {
        declared.packets = counters.packets;
        declared.bytes = counters.bytes;
      }
    } else if (code === 42) {
      const name = text.slice(at + 1, wordEnd(text, at + 1, stop));
      chain = null;
      repeated = tables.has(name);
      table = { name, line, chains: new Map(), commitLine: null };
      if (repeated) {
        const text2 = `a second *${name} block, not read`;
        markers.push({ kind: 'other', table: name, text: text2, line });
        skipped.push({ line, why: text2 });
      } else tables.set(name, table);
    } else if (table !== null && text.startsWith('COMMIT', at) && skipSpace(text, at + 6, stop) === stop) {
      table.commitLine = line;
      table = null;
      chain = null;
    } else skipped.push({ line, why: 'no line of iptables-save' });
  }
  // what stood behind the cut is not known, however whole the rest looks
  for (const { name, commitLine } of tables.values())
    if (commitLine === null)
      skipped.push({ line: Math.max(line, 1), why: `*${name} ends without COMMIT: the output was cut` });
  if (tables.size === 0 && understood === 0 && skipped.length > 0)
    return { ok: false, why: 'no line of iptables-save form' };
  const backend = backends.size === 0 ? usual : backends.size === 1 ? [...backends][0]! : 'unknown';
  const value: Ruleset = {
    backend,
    tables: tables as ReadonlyMap<string, IptTable>,
    markers,
    ...(version === undefined ? {} : { version }),
  };
  return { ok: true, value, skipped };
}
