import { defineParser } from '../facts/parser.ts';

/** /etc/resolv.conf, line by line; comments and blank lines are left out, they say nothing to a resolver. */
export const parsers = [
  defineParser({
    fact: 'resolvConf',
    evidence: ['sys.resolv-conf'],
    version: 1,
    parse(text) {
      const lines = text
        .split('\n')
        .map((raw, i) => ({ line: i + 1, text: raw.trim() }))
        .filter(({ text: t }) => t !== '' && !t.startsWith('#') && !t.startsWith(';'));
      return { ok: true, value: { lines }, skipped: [] };
    },
  }),
];
