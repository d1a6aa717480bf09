import { expect, it } from 'vitest';
import { kept } from '../../src/core/kept.ts';

it('asks once for each key, also when the answer is undefined, and again once it was dropped', () => {
  const asked: string[] = [];
  const get = kept((key: string) => {
    asked.push(key);
    return key === 'none' ? undefined : key.length;
  });
  expect([get('ab'), get('ab'), get('none'), get('none')]).toEqual([2, 2, undefined, undefined]);
  expect(asked).toEqual(['ab', 'none']);
  expect([get.drop('ab'), get.drop('ab'), get.drop('none'), get.drop('never')]).toEqual([true, false, true, false]);
  expect(get('ab')).toBe(2);
  expect(asked).toEqual(['ab', 'none', 'ab']);
});
