import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hostOf, packet, run } from './hook-nodes.ts';

const text = readFileSync(join(import.meta.dirname, '../../fixtures/evidence/fw.nft-json/ruleset.txt'), 'utf8');
const JUNK: readonly unknown[] = [
  null,
  -1,
  1e300,
  '',
  '*',
  '@nothing',
  [],
  [[]],
  {},
  { set: 5 },
  { concat: [1] },
  { range: [9] },
  { prefix: {} },
  true,
];
const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;

/** The JSON with one value inside a rule or set exchanged; null when there is no such value. */
function exchanged(index: number, junk: unknown): unknown {
  let at = -1;
  const visit = (json: unknown, inside: boolean): unknown => {
    if (inside) {
      at += 1;
      if (at === index) return junk;
    }
    if (Array.isArray(json)) return json.map((item) => visit(item, inside));
    if (typeof json !== 'object' || json === null) return json;
    return Object.fromEntries(
      Object.entries(json).map(([key, value]) => [key, visit(value, inside || key === 'expr' || key === 'elem')]),
    );
  };
  const whole = visit(JSON.parse(text), false);
  return at < index ? null : whole;
}

describe('odd nft JSON', () => {
  it('never throws, and loses no packet', () => {
    const p = packet({ src: '10.244.1.10', dst: '10.96.0.1', dport: 443, iif: 'cni0', oif: 'eth0' });
    for (let index = 0, n = 0; ; index += 1 + (n % 5), n += 1) {
      const json = exchanged(index, JUNK[n % JUNK.length]);
      if (json === null) break;
      const space = hostOf({ 'fw.nft-json': JSON.stringify(json) });
      for (const hook of HOOKS)
        expect(run(space, hook, hook === 'output' ? { ...p, iif: '' } : p).length).toBeGreaterThan(0);
    }
  });
});
