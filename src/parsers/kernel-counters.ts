import type { KernelCounters } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { filledLines } from './line-index.ts';

/**
 * /proc/net/stat/*: names, then a row of hexadecimal numbers for every processor. `conntrack -S`: `cpu=0  found=0 ... drop=0`, in decimal.
 */
function readCounters(text: string): Parsed<KernelCounters> {
  const rows: KernelCounters['rows'][number][] = [];
  const skipped: Skipped[] = [];
  let names: readonly string[] | null = null;
  for (const { line, text: raw } of filledLines(text)) {
    const words = raw.trim().split(/\s+/);
    if (words.every((w) => /^\w+=\d+$/.test(w))) {
      const pairs = words.map((w) => w.split('=') as [string, string]);
      rows.push({ line, form: 'tool', values: Object.fromEntries(pairs.map(([k, v]) => [k, Number(v)])) });
    } else if (names !== null && words.length === names.length && words.every((w) => /^[0-9a-f]{8,16}$/.test(w)))
      rows.push({
        line,
        form: 'proc',
        values: Object.fromEntries(names.map((n, i) => [n, Number.parseInt(words[i] as string, 16)])),
      });
    else if (words[0] === 'entries' && words.every((w) => /^[a-z]\w*$/.test(w))) names = words;
    else skipped.push({ line, why: 'no counters' });
  }
  if (rows.length === 0 && skipped.length > 0) return { ok: false, why: 'no counters' };
  return { ok: true, value: { rows }, skipped };
}

export const parsers = [
  defineParser({ fact: 'conntrackCounters', evidence: ['ct.stat'], version: 1, parse: readCounters }),
  defineParser({ fact: 'neighbourCounters', evidence: ['proc.arp-cache'], version: 1, parse: readCounters }),
];
