import type { Qdiscs } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { readRecords, skipRecord } from './json-records.ts';
import { filledLines } from './line-index.ts';

const WHY = 'no queueing discipline';

/** `tc -j qdisc` with any of -s -d, and its text, of which statistics and options are indented. */
function readQdiscs(text: string): Parsed<Qdiscs> {
  const entries: Qdiscs['entries'][number][] = [];
  const json = /^\s*\[/.test(text) ? readRecords(text) : null;
  if (typeof json === 'string') return { ok: false, why: json };
  const skipped: Skipped[] = [...(json?.skipped ?? [])];
  for (const record of json?.records ?? []) {
    const [dev, kind] = [record.text('dev'), record.text('kind')];
    if (dev === undefined || kind === undefined) skipRecord(skipped, record, WHY);
    else entries.push({ dev, kind, ...record.span });
  }
  for (const { line, text: raw } of json === null ? filledLines(text) : []) {
    const [, kind, dev] = /^qdisc (\S+) \S+ dev (\S+)/.exec(raw) ?? [];
    const last = entries.at(-1);
    if (kind !== undefined && dev !== undefined) entries.push({ dev, kind, line });
    else if (last !== undefined && /^\s/.test(raw)) entries[entries.length - 1] = { ...last, endLine: line };
    else skipped.push({ line, why: WHY });
  }
  if (entries.length === 0 && skipped.length > 0) return { ok: false, why: WHY };
  return { ok: true, value: { entries }, skipped };
}

export const parsers = [defineParser({ fact: 'qdiscs', evidence: ['tc.qdisc-json'], version: 1, parse: readQdiscs })];
