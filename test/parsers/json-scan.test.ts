import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../../src/parsers/json-records.ts';
import { JsonRecord, readRecords } from '../../src/parsers/json-records.ts';
import { scanJson } from '../../src/parsers/json-scan.ts';

const plain = (value: JsonValue | undefined): unknown => {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof JsonRecord) return Object.fromEntries([...value.fields].map(([k, v]) => [k, plain(v)]));
  return value;
};
const scan = (text: string, depth = 64) =>
  scanJson(text, depth, (_o, _l, fields) => new JsonRecord({ line: 1 }, fields));

const json = fc.jsonValue({ maxDepth: 5 }).filter((v) => !JSON.stringify(v).includes('__proto__'));

describe('the fast JSON reader', () => {
  it('reads what JSON.parse reads, or leaves it to the tolerant one', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(0, 1, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        const read = scan(text);
        if (read === undefined) expect(text).toContain('\\');
        else expect(plain(read)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('takes no text that JSON.parse refuses', () => {
    const pieces = fc.constantFrom(
      '[',
      ']',
      '{',
      '}',
      ',',
      ':',
      '"a"',
      '"',
      '1',
      '-',
      '01',
      '.5',
      '1.',
      '1e5',
      'true',
      'nul',
      ' ',
      '\n',
      '\t"',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join('');
        if (scan(text) !== undefined) expect(() => JSON.parse(text)).not.toThrow();
      }),
      { numRuns: 3000 },
    );
  });

  it('gives records with the places that the tolerant reader gives', () => {
    const rows = [{ a: 1, b: { c: ['x'] }, d: [{ e: null }] }, {}, { f: 'y'.repeat(250) }];
    for (const text of [JSON.stringify(rows), JSON.stringify(rows, null, 2)]) {
      // an escape sends the same text to the tolerant reader
      const tolerant = readRecords(text.replace('"x"', '"\\u0078"'));
      const fast = readRecords(text);
      if (typeof tolerant === 'string' || typeof fast === 'string') throw new Error('not read');
      expect(fast.records.map((r) => plain(r))).toEqual(tolerant.records.map((r) => plain(r)));
      expect(fast.records.map((r) => r.span.line)).toEqual(tolerant.records.map((r) => r.span.line));
      expect(fast.records.map((r) => r.span.endLine)).toEqual(tolerant.records.map((r) => r.span.endLine));
    }
  });

  it('keeps the first of equal keys, and refuses what is nested too deep', () => {
    expect(plain(scan('{"a":1,"a":2}'))).toEqual({ a: 1 });
    expect(scan('[[[1]]]', 3)).toEqual([[[1]]]);
    expect(scan('[[[[1]]]]', 3)).toBeUndefined();
  });
});
