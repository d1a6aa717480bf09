import { defineParser, type Parsed } from '../facts/parser.ts';
import type { TextLines } from '../facts/settings.ts';

/** /etc/resolv.conf, line by line; comments and blank lines are left out, they say nothing to a resolver. */
function readResolvConf(text: string): Parsed<TextLines> {
  const lines = text
    .split('\n')
    .map((raw, i) => ({ line: i + 1, text: raw.trim() }))
    .filter(({ text: t }) => t !== '' && !t.startsWith('#') && !t.startsWith(';'));
  return { ok: true, value: { lines }, skipped: [] };
}

export const parsers = [
  defineParser({ fact: 'resolvConf', evidence: ['sys.resolv-conf'], version: 1, parse: readResolvConf }),
  defineParser({ fact: 'netnsResolvConf', evidence: ['netns.resolv-conf'], version: 1, parse: readResolvConf }),
];
