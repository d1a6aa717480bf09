import type { Sysctls } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { filledLines } from './line-index.ts';

/**
 * `path:value` (grep -H), `key = value` (sysctl -a), `/proc/sys/... = value`; whichever of `:` and `=` comes first ends the key.
 * sysctl's own rule for keys: the first `.` or `/` is the separator, the other one then stands for the separator within a name.
 */
function readSysctls(text: string): Parsed<Sysctls> {
  const values: Sysctls['values'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const at = raw.search(/[:=]/);
    const key = at < 0 ? null : pathOf(raw.slice(0, at).trim());
    if (key === null) skipped.push({ line, why: 'no sysctl' });
    else values.push({ key, value: raw.slice(at + 1).trim(), line });
  }
  if (values.length === 0 && skipped.length > 0) return { ok: false, why: 'no sysctl' };
  return { ok: true, value: { values }, skipped };
}

function pathOf(key: string): string | null {
  const path = key.startsWith('/proc/sys/') ? key.slice('/proc/sys/'.length) : key;
  const separator = /[./]/.exec(path)?.[0];
  if (separator === undefined || !/^(abi|debug|dev|fs|kernel|net|sunrpc|user|vm)[./][^\s]+$/.test(path)) return null;
  return separator === '/' ? path : path.replace(/[./]/g, (c) => (c === '.' ? '/' : '.'));
}

export const parsers = [
  defineParser({ fact: 'sysctl', evidence: ['sys.sysctl'], version: 1, parse: readSysctls }),
  defineParser({ fact: 'netnsSysctl', evidence: ['netns.sysctl'], version: 1, parse: readSysctls }),
];
