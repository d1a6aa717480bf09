import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byNumber, thousands } from '../../src/report/names.ts';

const english = (a: string, b: string) => a.localeCompare(b, 'en', { numeric: true }) || (a < b ? -1 : a > b ? 1 : 0);

describe('names of nodes', () => {
  it('have the order of English, numbers by their value', () => {
    const unit = fc.constantFrom(...'ab1z02.9-', 'node-', '00', '10.20.', 'A', '_', 'é');
    const name = fc.string({ unit, maxLength: 9 });
    fc.assert(
      fc.property(name, name, (a, b) => {
        expect(Math.sign(byNumber(a, b)), `${a} ${b}`).toBe(Math.sign(english(a, b)));
      }),
      { numRuns: 3000 },
    );
  });

  it('are sorted as people count', () => {
    const sorted = ['node-10', 'node-2', '10.20.1.10', '10.20.1.9', 'db.example', 'db-1', 'node-02'].sort(byNumber);
    expect(sorted).toEqual(['10.20.1.9', '10.20.1.10', 'db-1', 'db.example', 'node-02', 'node-2', 'node-10']);
  });
});

describe('thousands', () => {
  it('are parted by commas', () => {
    for (const n of [0, 7, 999, 1000, 12_345, 999_999, 1_000_000, 2 ** 53 - 1])
      expect(thousands(n)).toBe(n.toLocaleString('en-US'));
  });
});
