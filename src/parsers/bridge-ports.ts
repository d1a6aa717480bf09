import type { BridgePorts } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { arity, readKeyed, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import { portOfRecord, readPort } from './link-details.ts';
import type { Writable } from './link-text.ts';

type Port = BridgePorts['ports'][number];

const keys = arity('mtu master');

/** `bridge -d link`. What stands behind `@` is left out: bridge looks a veth's peer up in the wrong namespace, in JSON too. */
function readPorts(text: string): Parsed<BridgePorts> {
  return /^\s*\[/.test(text) ? readPortJson(text) : readPortText(text);
}

/** A port's block is its head and the indented lines below. iproute2 before 4.17 prints the link's own state first: `5: veth0 state UP @if4: <...>`. */
function readPortText(text: string): Parsed<BridgePorts> {
  const ports: Writable<Port>[] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const head = /^(\d{1,10}): ([^\s:@]{1,80})[^<>]{0,160}<[^<>]*>(.*)$/.exec(raw);
    const last = ports.at(-1);
    if (head !== null) {
      const words = wordsOf(head[3]!);
      const { values } = readKeyed(words, keys);
      const [ifindex, name] = [Number(head[1]), head[2]!];
      ports.push(present({ ifindex, name, master: values.get('master'), ...readPort(words), line, endLine: line }));
    } else if (last !== undefined && /^\s/.test(raw)) {
      // `state` stands in the head only
      const { state: _, ...flags } = readPort(wordsOf(raw));
      Object.assign(last, flags, { endLine: line });
    } else skipped.push({ line, why: 'no bridge port' });
  }
  if (ports.length === 0 && skipped.length > 0) return { ok: false, why: 'no bridge port' };
  return { ok: true, value: { ports }, skipped };
}

function readPortJson(text: string): Parsed<BridgePorts> {
  const read = readRecords(text);
  if (typeof read === 'string') return { ok: false, why: read };
  const skipped = [...read.skipped];
  const ports: Port[] = [];
  for (const record of read.records) {
    const name = record.text('ifname');
    if (name === undefined) skipRecord(skipped, record, 'no ifname');
    else {
      const [ifindex, master] = [record.number('ifindex'), record.text('master')];
      ports.push(present({ ifindex, name, master, ...portOfRecord(record), ...record.span }));
    }
  }
  if (ports.length === 0 && skipped.length > 0) return { ok: false, why: 'no bridge port' };
  return { ok: true, value: { ports }, skipped };
}

export const parsers = [
  defineParser({ fact: 'bridgePorts', evidence: ['bridge.link', 'bridge.link-json'], version: 1, parse: readPorts }),
];
