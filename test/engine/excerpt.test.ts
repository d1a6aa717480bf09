import { describe, expect, it } from 'vitest';
import { resolveCite } from '../../src/engine/excerpt.ts';

const cite = (line: number, endLine = line) =>
  ({
    kind: 'lines',
    node: 'a',
    evidence: 'fw.iptables-save',
    path: 'host/fw/iptables-save.txt',
    line,
    endLine,
  }) as const;
const textOf = (lines: readonly string[], end: string) => lines.join('\n') + end;

describe('the text of a cite', () => {
  const files: readonly (readonly [string, readonly string[], string])[] = [
    ['a small file', ['one', 'two', 'three', 'four', 'five'], '\n'],
    ['a large file', Array.from({ length: 9000 }, (_, i) => `-A CHAIN${i} -j ACCEPT`), '\n'],
    ['a large file without a last newline', Array.from({ length: 5000 }, (_, i) => `-A CHAIN${i} -j DROP`), ''],
    [
      'a large file with empty lines',
      Array.from({ length: 9000 }, (_, i) => (i % 3 === 0 ? '' : `rule ${i} ${'x'.repeat(20)}`)),
      '\n',
    ],
    ['another large file of the same length', Array.from({ length: 9000 }, (_, i) => `-A CHAIN${i} -j RETURN`), '\n'],
  ];

  it.each(files)('%s: is the lines that stand there', (_, lines, end) => {
    const text = textOf(lines, end);
    const n = lines.length;
    for (const line of [1, 2, 3, 255, 256, 257, 258, 511, 512, 513, 4096, n - 1, n].filter((l) => l >= 1 && l <= n)) {
      const { excerpt } = resolveCite(cite(line), () => text) as { excerpt?: { text: string; context: unknown } };
      expect(excerpt?.text, `line ${line}`).toBe(lines[line - 1]);
      const shown = Array.from({ length: 7 }, (_v, i) => line - 3 + i).filter((l) => l >= 1 && l <= n);
      expect(excerpt?.context).toEqual(shown.map((l) => ({ line: l, text: lines[l - 1], cited: l === line })));
    }
  });

  it.each(files)('%s: has nothing behind its end', (_, lines, end) => {
    const text = textOf(lines, end);
    expect(resolveCite(cite(lines.length + 1), () => text)).not.toHaveProperty('excerpt');
    expect(resolveCite(cite(lines.length + 5000), () => text)).not.toHaveProperty('excerpt');
    expect(resolveCite(cite(1), () => null)).not.toHaveProperty('excerpt');
  });
});
