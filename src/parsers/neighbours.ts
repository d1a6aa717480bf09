import { isIp, parseIp4, parseMac } from '../core/address.ts';
import type { Neighbours } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { type JsonRecord, readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { arity, readKeyed, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';

type Entry = Neighbours['entries'][number];

const keys = arity('dev lladdr nud ref used probes protocol vlan');

/** `ip neigh` (also -s, -s -s, -d, busybox), `ip -j neigh`, `/proc/net/arp`, `arp -an`, `arp -n`: told by the text. */
function readNeighbours(text: string): Parsed<Neighbours> {
  const json = /^\s*\[/.test(text) ? readRecords(text) : null;
  if (typeof json === 'string') return { ok: false, why: json };
  const entries: Entry[] = [];
  const skipped: Skipped[] = [...(json?.skipped ?? [])];
  const add = (entry: Entry | string, line: number) => {
    if (typeof entry === 'string') skipped.push({ line, why: entry });
    else entries.push(entry);
  };
  if (json !== null)
    for (const record of json.records) {
      const entry = entryOfRecord(record);
      if (typeof entry === 'string') skipRecord(skipped, record, entry);
      else entries.push(entry);
    }
  else {
    let row = ipRow;
    for (const { line, text: raw } of filledLines(text)) {
      const usual = usualRow(raw, line);
      if (usual !== null) {
        entries.push(usual);
        continue;
      }
      // the titles of the tables need no place
      if (/^IP address\s+HW type\s/.test(raw)) row = procRow;
      else if (/^Address\s+HWtype\s/.test(raw)) row = arpRow;
      else add(/^\S+ \(\S+\) at /.test(raw) ? arpLine(raw, line) : row(raw, line), line);
    }
  }
  if (entries.length === 0 && skipped.length > 0) return { ok: false, why: skipped[0]!.why };
  return { ok: true, value: { entries }, skipped };
}

function entryOf(ip = '', dev: string | undefined, hw: string | undefined, state: readonly string[], line: number) {
  if (!isIp(ip) || dev === undefined) return 'no neighbour';
  return present({ ip, dev, mac: parseMac(hw ?? '') ?? undefined, state, line });
}

/** An entry as nearly all are; no other form looks like it. */
const USUAL =
  /^(\d[\d.]*) dev (\S+) lladdr ([0-9a-f]{2}(?::[0-9a-f]{2}){5}) +(?:ref \d+ )?(?:used [\d/]+ ?probes \d+ )?([A-Z]{2,}) ?$/;

function usualRow(raw: string, line: number): Entry | null {
  const m = USUAL.exec(raw);
  if (m === null || parseIp4(m[1] ?? '') === null) return null;
  const [, ip = '', dev = '', mac = '', state = ''] = m;
  return { ip, dev, mac, state: [state], line };
}

/** `192.168.56.9 dev eth0 lladdr 02:.. used 8/98/5probes 6 STALE`: with -s -s "probes" is glued to the ages. */
function ipRow(raw: string, line: number): Entry | string {
  const words = wordsOf(raw);
  const { values, bare } = readKeyed(words.slice(1), keys);
  if (bare.includes('proxy')) return 'a proxy entry, no neighbour';
  const states = bare.filter((w) => /^[A-Z]{2,}$/.test(w));
  return entryOf(words[0], values.get('dev'), values.get('lladdr'), states, line);
}

function entryOfRecord(record: JsonRecord): Entry | string {
  if (record.fields.has('proxy')) return 'a proxy entry, no neighbour';
  const states = record.texts('state').map((s) => s.toUpperCase());
  const entry = entryOf(record.text('dst'), record.text('dev'), record.text('lladdr'), states, record.span.line);
  return typeof entry === 'string' ? entry : { ...entry, ...record.span };
}

/** /proc/net/arp: flags 2 complete, 4 permanent, 8 published. Of a complete entry it does not tell REACHABLE from STALE. */
function procRow(raw: string, line: number): Entry | string {
  const words = wordsOf(raw);
  const flags = /^0x[0-9a-f]{1,4}$/i.test(words[2] ?? '') ? Number(words[2]) : null;
  if (flags === null || words.length !== 6) return 'no row of /proc/net/arp';
  if ((flags & 8) !== 0) return 'a proxy entry, no neighbour';
  return entryOf(words[0], words[5], (flags & 2) === 0 ? undefined : words[3], stateOf(flags & 2, flags & 4), line);
}

function stateOf(complete: number | boolean, permanent: number | boolean): string[] {
  if (permanent) return ['PERMANENT'];
  return complete ? [] : ['INCOMPLETE'];
}

/** `? (192.168.56.9) at <incomplete>  on eth0`, `... at 02:.. [ether] PERM on eth0`; PUB (busybox: PUP) is a proxy. */
function arpLine(raw: string, line: number): Entry | string {
  const m = /^\S+ \((\S+)\) at (\S+)\s+(.*)\bon (\S+)\s*$/.exec(raw);
  if (m === null) return 'no neighbour';
  const [, ip, hw = '', flags = '', dev] = m;
  if (/\bPU[BP]\b/.test(flags)) return 'a proxy entry, no neighbour';
  return entryOf(ip, dev, hw, stateOf(parseMac(hw) !== null, flags.includes('PERM')), line);
}

/** `arp -n`: of an incomplete entry three columns only. */
function arpRow(raw: string, line: number): Entry | string {
  const words = wordsOf(raw);
  if (words[1] === '(incomplete)') return entryOf(words[0], words[2], undefined, ['INCOMPLETE'], line);
  if (words.length < 5) return 'no row of arp -n';
  const flags = words[3]!;
  if (flags.includes('P')) return 'a proxy entry, no neighbour';
  return entryOf(words[0], words.at(-1), words[2], stateOf(flags.includes('C'), flags.includes('M')), line);
}

export const parsers = [
  defineParser({
    fact: 'neighbours',
    evidence: ['ip.neigh', 'ip.neigh-json', 'proc.arp'],
    version: 1,
    parse: readNeighbours,
  }),
  defineParser({
    fact: 'netnsNeighbours',
    evidence: ['netns.neigh-json', 'netns.proc-arp'],
    version: 1,
    parse: readNeighbours,
  }),
];
