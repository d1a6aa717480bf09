import { isIp } from '../core/address.ts';
import type { NeighbourProxies } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { filledLines } from './line-index.ts';

/** `ip neigh show proxy`, `10.79.0.99 dev br7 proxy`; without a device it is for all of them. Nearly always empty. */
function readProxies(text: string): Parsed<NeighbourProxies> {
  const entries: NeighbourProxies['entries'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const m = /^(\S+)(?: dev (\S+))?(?: +\S+)*? +proxy\b/.exec(raw);
    if (m === null || !isIp(m[1] ?? '')) skipped.push({ line, why: 'no proxy entry' });
    else entries.push(present({ ip: m[1] ?? '', dev: m[2], line }));
  }
  if (entries.length === 0 && skipped.length > 0) return { ok: false, why: 'no proxy entry' };
  return { ok: true, value: { entries }, skipped };
}

export const parsers = [
  defineParser({ fact: 'neighbourProxies', evidence: ['ip.neigh-proxy'], version: 1, parse: readProxies }),
];
