import type { PolicyRule, PolicyRules } from '../facts/index.ts';
import { defineParser, type Parsed } from '../facts/parser.ts';
import { type JsonRecord, readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { tableName } from './routes-text.ts';
import { readRuleText } from './rules-text.ts';

const known = new Set(
  'priority not src srclen dst dstlen tos dsfield fwmark fwmask iif iif_detached oif oif_detached l3mdev uid_start uid_end ipproto sport sport_start sport_end dport dport_start dport_end table suppress_prefixlen suppress_ifgroup flow_from flow_to goto unresolved nop action protocol'.split(
    ' ',
  ),
);
const actions = new Set<string>(['unreachable', 'prohibit', 'blackhole', 'nop']);

/** `ip -j rule`: marks and tables are texts, switches are null. */
function readRuleJson(text: string): Parsed<PolicyRules> {
  const read = readRecords(text);
  if (typeof read === 'string') return { ok: false, why: read };
  const skipped = [...read.skipped];
  const rules: PolicyRule[] = [];
  for (const record of read.records) {
    const pref = record.number('priority');
    if (pref === undefined) skipRecord(skipped, record, 'no priority');
    else rules.push(ruleOf(pref, record));
  }
  if (rules.length === 0 && skipped.length > 0) return { ok: false, why: 'no rule' };
  return { ok: true, value: { rules }, skipped };
}

function ruleOf(pref: number, record: JsonRecord): PolicyRule {
  const jump = record.number('goto');
  const table = word(record, 'table');
  const l3mdev = record.fields.has('l3mdev');
  const said = record.fields.has('nop') ? 'nop' : (record.text('action') ?? '');
  let action: PolicyRule['action'] = actions.has(said) ? (said as PolicyRule['action']) : 'unknown';
  if (action === 'unknown' && said === '' && jump !== undefined) action = 'goto';
  else if (action === 'unknown' && said === '' && (table !== undefined || l3mdev)) action = 'lookup';
  const unknown: string[] = [];
  for (const key of record.fields.keys()) if (!known.has(key)) unknown.push(`${key} ${word(record, key) ?? ''}`.trim());
  if (action === 'unknown' && said !== '') unknown.push(said);
  const [mark, mask] = [markOf(record, 'fwmark'), markOf(record, 'fwmask')];
  if ((mark === undefined && record.fields.has('fwmark')) || (mask === undefined && record.fields.has('fwmask')))
    unknown.push('fwmark');
  return present({
    pref,
    not: record.fields.has('not'),
    from: prefix(record, 'src'),
    to: prefix(record, 'dst'),
    iif: record.text('iif'),
    oif: record.text('oif'),
    fwmark: mark,
    fwmask: mask,
    tos: word(record, 'tos') ?? word(record, 'dsfield'),
    ipproto: word(record, 'ipproto'),
    sport: range(record, 'sport', 'sport_start', 'sport_end'),
    dport: range(record, 'dport', 'dport_start', 'dport_end'),
    uidrange: range(record, 'uidrange', 'uid_start', 'uid_end'),
    l3mdev: l3mdev ? true : undefined,
    action,
    table: table === undefined ? undefined : tableName(table),
    goto: jump,
    suppressPrefixLength: record.number('suppress_prefixlen'),
    suppressIfgroup: word(record, 'suppress_ifgroup'),
    unknown: unknown.length === 0 ? undefined : unknown,
    ...record.span,
  });
}

function word(record: JsonRecord, key: string): string | undefined {
  const value = record.fields.get(key);
  return typeof value === 'number' || (typeof value === 'string' && value !== '') ? String(value) : undefined;
}

function markOf(record: JsonRecord, key: string): number | undefined {
  const text = word(record, key) ?? '';
  return /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) ? Number(text) : undefined;
}

function prefix(record: JsonRecord, key: 'src' | 'dst'): string | undefined {
  const address = record.text(key);
  if (address === undefined || address === 'all') return undefined;
  const length = record.number(`${key}len`);
  return length === undefined ? address : `${address}/${length}`;
}

function range(record: JsonRecord, one: string, low: string, high: string): string | undefined {
  const [start, end] = [word(record, low), word(record, high)];
  return start === undefined || end === undefined ? word(record, one) : `${start}-${end}`;
}

const readRules = (text: string) => (/^\s*\[/.test(text) ? readRuleJson(text) : readRuleText(text));

export const parsers = [
  defineParser({ fact: 'rules4', evidence: ['ip.rule4', 'ip.rule4-json'], version: 1, parse: readRules }),
  defineParser({ fact: 'rules6', evidence: ['ip.rule6', 'ip.rule6-json'], version: 1, parse: readRules }),
  defineParser({ fact: 'netnsRules4', evidence: ['netns.rule4-json'], version: 1, parse: readRules }),
];
