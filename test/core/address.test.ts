import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import { parseIp } from '../../src/core/address.ts';

/** What ipaddr.js reads, as a number. */
function number(text: string): bigint | null {
  if (!ipaddr.IPv6.isValid(text)) return null;
  return ipaddr.IPv6.parse(text)
    .toByteArray()
    .reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

describe('an IPv6 address', () => {
  it('is what ipaddr.js reads, however it is spelt', () => {
    const unit = fc.constantFrom('::', ':', '0', '1', 'fe80', 'FFFF', 'a', '10.0.0.1', '12345', 'g', '0:');
    const spelt = fc.oneof(
      fc.ipV6(),
      fc.string({ unit, minLength: 1, maxLength: 12 }).filter((t) => t.includes(':') && t.length <= 45),
      fc.array(fc.constantFrom('0', '1', 'abcd'), { minLength: 6, maxLength: 9 }).map((groups) => groups.join(':')),
    );
    fc.assert(
      fc.property(spelt, (text) => {
        expect(parseIp(text)?.value ?? null, text).toBe(number(text));
      }),
      { numRuns: 3000 },
    );
  });
});
