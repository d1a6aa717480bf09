import { expect, it } from 'vitest';
import { clusterOf, trace } from '../../src/net/index.ts';
import { probe } from '../../src/net/probe.ts';
import { recordedNodes } from '../support/bundle-nodes.ts';
import { nodeOf, QUIET, save } from './hook-nodes.ts';

const STRANGE = '-A FORWARD -m stranger --at noon -j DROP';
/** The two nodes of a cluster, some with a match in FORWARD that nobody understands. */
const strange = async (...on: readonly string[]) =>
  clusterOf(
    await recordedNodes('healthy-vxlan', (node, path, text) =>
      on.includes(node) && path === 'host/fw/iptables-save.txt'
        ? text.replace(/^(\*filter\n(?::.*\n)+)/m, `$1${STRANGE}\n`)
        : text,
    ),
  );
const request = { from: '10.244.1.10', to: '10.244.2.10', proto: 'icmp' } as const;

it('a reason of a trace over several nodes says on which', async () => {
  const one = trace(await strange('node-b'), request);
  expect(one.verdict).toBe('unknown');
  expect(one.because).toMatch(/^node-b: match stranger/);
  expect(one.missing.map((m) => m.because)).toEqual([one.because]);
  // the sender's node is asked when the answer comes back as well
  const both = trace(await strange('node-a', 'node-b'), request);
  expect(both.because).toMatch(/^node-a, node-b: match stranger/);
  expect(both.missing).toHaveLength(1);
});

it('of one node it goes without saying, and rules fold the reasons of many nodes', async () => {
  const node = nodeOf({ ...QUIET, 'fw.iptables-save': save('filter', STRANGE) });
  const alone = trace(clusterOf([node]), { from: '192.168.50.100', to: '10.244.1.7', proto: 'icmp' });
  expect(alone.because).not.toMatch(/^node/);
  const asked = probe(await strange('node-b'), request, { from: 'node-a', to: 'node-b' });
  expect(asked).toMatchObject({ kind: 'unknown', because: expect.stringMatching(/^match stranger/) });
});
