import { expect, it } from 'vitest';
import { percent } from '../../src/core/percent.ts';
import { resultShare } from '../../src/net/result.ts';

it('a share is told once rounded, not twice', () => {
  for (let n = 1; n <= 200; n += 1) expect(percent(resultShare(1 / n)), `1/${n}`).toBe(percent(1 / n));
  expect(percent(1 / 22)).toBe('4.5 %');
  expect(percent(0.5)).toBe('50 %');
});
