import type { IptTable, Ruleset } from '../facts/firewall.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { IndexedChain } from './iptables-chain.ts';
import { Likeness } from './iptables-likeness.ts';
import {
  countersEnd,
  type Marker,
  mendTorn,
  readDeclaration,
  readHeader,
  readMarker,
  skipSpace,
  wordEnd,
} from './iptables-lines.ts';
import { seekRuleset } from './iptables-sought.ts';

type Table = { name: string; line: number; chains: Map<string, IndexedChain>; commitLine: number | null };

interface Indexed {
  readonly parsed: Parsed<Ruleset>;
  readonly tables: ReadonlyMap<string, Table>;
}

/** Rulesets that others may be told by, the newest first. */
let models: readonly Likeness[] = [];
const MODELS = 3;
const MODELS_LENGTH = 32 * 1024 * 1024;
/** A shorter text is indexed as fast. */
const WORTH_A_MODEL = 16 * 1024;

function keepModel(text: string, usual: Ruleset['backend'], value: Ruleset, tables: ReadonlyMap<string, Table>): void {
  if (text.length < WORTH_A_MODEL || !Likeness.suits(text, value, tables)) return;
  let room = MODELS_LENGTH;
  models = [new Likeness(text, usual, value, tables), ...models].slice(0, MODELS).filter((m) => {
    room -= m.text.length;
    return room >= 0;
  });
}

/** Of so many rulesets only the chains that somebody asks for are read: a packet's path passes few nodes, and a model costs more than those. */
const SOUGHT = 8;
let sought = 0;

/**
 * Reads the text of one iptables-save; chains tokenise their rules when asked. Nodes of one cluster have nearly the same rules: of many
 * nodes, a text that resembles one before it is compared with that, and only what differs is read.
 */
export function readRuleset(source: string, usual: Ruleset['backend']): Parsed<Ruleset> {
  const text = mendTorn(source);
  const whole = () => indexRuleset(text, usual).tables;
  if (text.length >= WORTH_A_MODEL && sought < SOUGHT) {
    const value = seekRuleset(text, usual, whole);
    if (value !== null) {
      sought += 1;
      return { ok: true, value, skipped: [] };
    }
  }
  for (const model of text.length < WORTH_A_MODEL ? [] : models) {
    const value = model.tell(text, usual, whole);
    if (value === null) continue;
    models = [model, ...models.filter((m) => m !== model)];
    return { ok: true, value, skipped: [] };
  }
  const { parsed, tables } = indexRuleset(text, usual);
  if (parsed.ok && parsed.skipped.length === 0) keepModel(text, usual, parsed.value, tables);
  return parsed;
}

/**
 * Indexes the text in one pass. Understood beside `*table`, `:chain`, `-A` and
 * COMMIT: blank lines, `#` comments (headers, markers). A second block of one table is left out with a marker: it is another output pasted below.
 */
export function indexRuleset(text: string, usual: Ruleset['backend']): Indexed {
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
        if (header.backend !== null) backends.add(header.backend);
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
      const said = readDeclaration(text, at, stop);
      if (table === null || said === null) {
        skipped.push({ line, why: table === null ? 'chain outside a table' : 'chain without name or policy' });
        continue;
      }
      const { name, policy } = said;
      const known = table.chains.get(name);
      if (known?.declared) {
        skipped.push({ line, why: `chain ${name} declared twice` });
        continue;
      }
      const declared: IndexedChain = known ?? new IndexedChain(text, name, policy, line, true);
      if (known === undefined) table.chains.set(name, declared);
      else Object.assign(known, { policy, line, declared: true });
      if (said.packets !== undefined) declared.packets = said.packets;
      if (said.bytes !== undefined) declared.bytes = said.bytes;
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
    return { parsed: { ok: false, why: 'no line of iptables-save form' }, tables };
  const backend = backends.size === 0 ? usual : backends.size === 1 ? [...backends][0]! : 'unknown';
  const value: Ruleset = {
    backend,
    tables: tables as ReadonlyMap<string, IptTable>,
    markers,
    ...(version === undefined ? {} : { version }),
  };
  return { parsed: { ok: true, value, skipped }, tables };
}
