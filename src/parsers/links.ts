import type { Links, NetnsIds } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { isIfconfig, readIfconfig } from './ifconfig.ts';
import { readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { count } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import { readLinkJson } from './link-json.ts';
import { readLinkText } from './link-text.ts';

/** The form is told by the text, not by the file's name: collectors fall back from ip to ifconfig or busybox. */
function readLinks(text: string): Parsed<Links> {
  if (/^\s*\[/.test(text)) return readLinkJson(text);
  return isIfconfig(text) ? readIfconfig(text) : readLinkText(text);
}

/** `ip -j netns list-id`, or its text: `nsid 0 (iproute2 netns name: a)`. Blank: no ids. */
function readNetnsIds(text: string): Parsed<NetnsIds> {
  const ids: NetnsIds['ids'][number][] = [];
  if (/^\s*\[/.test(text)) {
    const read = readRecords(text);
    if (typeof read === 'string') return { ok: false, why: read };
    const skipped = [...read.skipped];
    for (const record of read.records) {
      const nsid = record.number('nsid');
      if (nsid === undefined) skipRecord(skipped, record, 'no nsid');
      else ids.push(present({ nsid, name: record.text('name'), ...record.span }));
    }
    return { ok: true, value: { ids }, skipped };
  }
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const m = /^nsid (\d+)(?: .*\(iproute2 netns name: (.*)\))?/.exec(raw.replace(/ \(/, '  ('));
    const nsid = count(m?.[1]);
    if (nsid === undefined) skipped.push({ line, why: 'no nsid' });
    else ids.push(present({ nsid, name: m?.[2], line }));
  }
  if (ids.length === 0 && skipped.length > 0) return { ok: false, why: 'no nsid' };
  return { ok: true, value: { ids }, skipped };
}

export const parsers = [
  defineParser({
    fact: 'addresses',
    evidence: ['ip.addr', 'ip.addr-json', 'ip.ifconfig'],
    version: 1,
    parse: readLinks,
  }),
  defineParser({ fact: 'links', evidence: ['ip.link', 'ip.link-json'], version: 1, parse: readLinks }),
  defineParser({ fact: 'linksJson', evidence: ['ip.link-json'], version: 1, parse: readLinkJson }),
  defineParser({ fact: 'netnsAddresses', evidence: ['netns.addr-json'], version: 1, parse: readLinks }),
  defineParser({ fact: 'netnsLinks', evidence: ['netns.link-json'], version: 1, parse: readLinks }),
  defineParser({ fact: 'netnsIds', evidence: ['ip.nsid-json'], version: 1, parse: readNetnsIds }),
];
