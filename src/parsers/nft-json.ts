import type { NftJson } from '../facts/firewall.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { depthOf, MAX_DEPTH } from './json-tree.ts';
import { entries, get, list, number, present, text } from './json-value.ts';

type Chain = NftJson['chains'][number];
type Rule = NftJson['rules'][number];
type Elements = NftJson['sets'][number];

/** Objects of `nft -j` that say nothing about verdicts: understood, not kept. */
const OTHER = new Set([
  'metainfo',
  'counter',
  'quota',
  'limit',
  'flowtable',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'synproxy',
  'tunnel',
  'element',
]);

const FLAGS = new Set<unknown>(['dormant', 'owner', 'persist']);

/** Measured: nft 1.0.6 writes any word of its memory where the flag belongs, often the table's own name. */
function dormancy(flags: unknown): { dormant?: true | null } {
  if (flags === undefined) return {};
  const list: readonly unknown[] = Array.isArray(flags) ? flags : [flags];
  if (list.includes('dormant')) return { dormant: true };
  return list.every((f) => FLAGS.has(f)) ? {} : { dormant: null };
}

/** `nft -j list ruleset`. Text that is no whole JSON is no fact: its text form is read instead. */
function readNftJson(source: string): Parsed<NftJson> {
  if (depthOf(source) > MAX_DEPTH) return { ok: false, why: `nested deeper than ${MAX_DEPTH}` };
  let root: unknown;
  try {
    root = JSON.parse(source.replace(/^\uFEFF/, ''));
  } catch (error) {
    return { ok: false, why: `JSON: ${error instanceof Error ? error.message.slice(0, 200) : 'unreadable'}` };
  }
  const objects = get(root, 'nftables');
  if (!Array.isArray(objects)) return { ok: false, why: 'no "nftables" array' };
  const tables: NftJson['tables'][number][] = [];
  const chains: Chain[] = [];
  const rules: Rule[] = [];
  const sets: Elements[] = [];
  const skipped: Skipped[] = [];
  for (const [i, object] of objects.entries()) {
    const [kind = '', body] = entries(object)[0] ?? [];
    const [family, name, handle] = [
      text(get(body, 'family')),
      text(get(body, 'name')),
      number(get(body, 'handle')) ?? 0,
    ];
    const table = text(get(body, 'table'));
    const chain = text(get(body, 'chain'));
    if (kind === 'table' && family !== undefined && name !== undefined)
      tables.push({ family, name, handle, ...dormancy(get(body, 'flags')) });
    else if (kind === 'chain' && family !== undefined && table !== undefined && name !== undefined) {
      const dev = get(body, 'dev');
      chains.push(
        present({
          family,
          table,
          name,
          handle,
          type: text(get(body, 'type')),
          hook: text(get(body, 'hook')),
          priority: number(get(body, 'prio')),
          policy: text(get(body, 'policy')),
          dev: Array.isArray(dev) ? dev.filter((d) => typeof d === 'string').join(',') : text(dev),
        }) as Chain,
      );
    } else if (kind === 'rule' && family !== undefined && table !== undefined && chain !== undefined) {
      rules.push(
        present({
          family,
          table,
          chain,
          handle,
          comment: text(get(body, 'comment')),
          expr: list(get(body, 'expr')),
        }) as Rule,
      );
    } else if (
      (kind === 'set' || kind === 'map') &&
      family !== undefined &&
      table !== undefined &&
      name !== undefined
    ) {
      const flags = get(body, 'flags');
      sets.push({
        family,
        table,
        name,
        map: kind === 'map',
        type: get(body, 'type'),
        flags: (Array.isArray(flags) ? flags : [flags]).filter((f) => typeof f === 'string'),
        elements: list(get(body, 'elem')),
      });
    } else if (!OTHER.has(kind)) skipped.push({ line: 1, why: `nftables[${i}]: unknown object ${kind.slice(0, 40)}` });
  }
  return { ok: true, value: { tables, chains, rules, sets }, skipped };
}

export const parsers = [defineParser({ fact: 'nftJson', evidence: ['fw.nft-json'], version: 2, parse: readNftJson })];
