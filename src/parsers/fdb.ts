import { parseMac } from '../core/address.ts';
import type { Fdb } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { type JsonRecord, readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { arity, count, readKeyed, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';

type Entry = Fdb['entries'][number];

const noEntry = 'no forwarding entry';
const keys = arity('dev dst port vni src_vni via vlan master used link-netnsid nhid state');

/** `bridge fdb show` with any of -d -s -t, and its JSON. A learned entry has no state; `self` is the device's own table, `master` the bridge's. */
function readFdb(text: string): Parsed<Fdb> {
  const entries: Entry[] = [];
  const json = /^\s*\[/.test(text) ? readRecords(text) : null;
  if (typeof json === 'string') return { ok: false, why: json };
  const skipped: Skipped[] = [...(json?.skipped ?? [])];
  for (const record of json?.records ?? []) {
    const entry = entryOfRecord(record);
    if (entry === null) skipRecord(skipped, record, noEntry);
    else entries.push(entry);
  }
  for (const { line, text: raw } of json === null ? filledLines(text) : []) {
    const entry = usualEntry(raw, line) ?? entryOfLine(wordsOf(raw), line);
    if (entry === null) skipped.push({ line, why: noEntry });
    else entries.push(entry);
  }
  if (entries.length === 0 && skipped.length > 0) return { ok: false, why: skipped[0]!.why };
  return { ok: true, value: { entries }, skipped };
}

/** As flannel puts an entry there for each of a thousand nodes. */
const USUAL = /^([0-9a-f]{2}(?::[0-9a-f]{2}){5}) dev (\S+)(?: dst (\d[\d.]*))?(?: used [\d/]+)? self permanent ?$/;

function usualEntry(raw: string, line: number): Entry | null {
  const m = USUAL.exec(raw);
  if (m === null) return null;
  const [, mac = '', dev = '', dst] = m;
  const rest = { self: true, permanent: true, state: 'permanent', line } as const;
  return dst === undefined ? { mac, dev, ...rest } : { mac, dev, dst, ...rest };
}

function entryOfLine(words: readonly string[], line: number): Entry | null {
  const mac = parseMac(words[0] ?? '');
  const { values, bare } = readKeyed(words.slice(1), keys);
  const dev = values.get('dev');
  if (mac === null || dev === undefined) return null;
  const state = bare.find((w) => w === 'permanent' || w === 'static' || w === 'stale') ?? values.get('state');
  return present({
    mac,
    dev,
    dst: values.get('dst'),
    port: count(values.get('port')),
    vni: count(values.get('vni')),
    via: values.get('via'),
    vlan: count(values.get('vlan')),
    master: values.get('master'),
    self: bare.includes('self'),
    permanent: state === 'permanent',
    state,
    line,
  });
}

function entryOfRecord(record: JsonRecord): Entry | null {
  const mac = parseMac(record.text('mac') ?? '');
  const dev = record.text('ifname');
  if (mac === null || dev === undefined) return null;
  const state = record.text('state');
  return present({
    mac,
    dev,
    dst: record.text('dst'),
    port: record.number('port'),
    vni: record.number('vni'),
    via: record.text('viaIf'),
    vlan: record.number('vlan'),
    master: record.text('master'),
    self: record.texts('flags').includes('self'),
    permanent: state === 'permanent',
    state,
    ...record.span,
  });
}

export const parsers = [
  defineParser({ fact: 'fdb', evidence: ['bridge.fdb', 'bridge.fdb-json'], version: 1, parse: readFdb }),
];
