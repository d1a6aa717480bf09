import { beforeAll, describe, expect, it } from 'vitest';
import type { ReadBundle } from '../../src/bundle/index.ts';
import type { Analysis } from '../../src/report/index.ts';
import { analysisOf, recorded } from '../report/fleet.ts';

/**
 * Bundles of two customers in one case, who numbered everything alike (192.168.50.0/24, 10.244.0.0/16): only MACs, names and machine ids differ.
 * What is said of the one must not depend on the other.
 */
const MAC = /\b([0-9a-f]{2}:[0-9a-f]{2}):[0-9a-f]{2}(:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2})\b/g;
const FIXED = /^(00:00|ff:ff|01:00|33:33|0a:58)/;

type Memory = Parameters<Parameters<typeof analysisOf>[0]>[0];

function add(memory: Memory, bundles: readonly ReadBundle[], customer: string, code: string): void {
  const macs = (text: string) =>
    text.replace(MAC, (mac, head, tail) => (FIXED.test(mac) ? mac : `${head}:${code}${tail}`));
  for (const bundle of bundles)
    memory.add(bundle, bundle.nodeName.replace('node', customer), (text) =>
      macs(text).replaceAll('node-', `${customer}-`),
    );
}

const serious = ({ findings }: Analysis) => findings.filter((f) => f.severity !== 'info').map((f) => f.id);

let healthy: readonly ReadBundle[];
let faulty: readonly ReadBundle[];
beforeAll(async () => {
  healthy = await recorded('healthy-vxlan');
  faulty = await recorded('demo');
});

describe('two customers who numbered everything alike', () => {
  it('a healthy one and a faulty one: the faults are those of the faulty one alone', () => {
    const alone = analysisOf((m) => add(m, faulty, 'y', '77'));
    const both = analysisOf((m) => {
      add(m, healthy, 'x', '11');
      add(m, faulty, 'y', '77');
    });
    expect(serious(alone).length).toBeGreaterThan(3);
    expect(serious(both)).toEqual(serious(alone));
    // one machine twice, or two networks: that is all that is less known than of each alone
    const other = analysisOf((m) => add(m, healthy, 'x', '11'));
    const known = new Set([...alone.unknown, ...other.unknown].map((u) => `${u.rule} ${u.because}`));
    const more = both.unknown.filter((u) => !known.has(`${u.rule} ${u.because}`));
    expect([...new Set(more.map((u) => u.rule))]).toEqual(['duplicate-node-address']);
  });

  it('two healthy ones', () => {
    const both = analysisOf((m) => {
      add(m, healthy, 'x', '11');
      add(m, healthy, 'y', '77');
    });
    expect(serious(both)).toEqual([]);
    expect(both.matrix['trace-pod-to-pod']).toEqual(
      Object.fromEntries(['x-a', 'x-b', 'x-c', 'y-a', 'y-b', 'y-c'].map((n) => [n, 'pass'])),
    );
  });

  it.each(['healthy-vxlan', 'healthy-host-gw'])(
    'one node of the one beside the other, and one of each (%s)',
    async (lab) => {
      const bundles = await recorded(lab);
      for (const others of [bundles, bundles.slice(1, 2)]) {
        const both = analysisOf((m) => {
          add(m, bundles.slice(0, 1), 'x', '11');
          add(m, others, 'y', '77');
        });
        expect(serious(both), `${others.length} others`).toEqual([]);
      }
    },
  );
});
