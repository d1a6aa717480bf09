import { expect, it } from 'vitest';
import { clusterOf, trace } from '../../src/net/index.ts';
import { nodeOf, QUIET } from './hook-nodes.ts';

const pod = (...addresses: readonly string[]) =>
  JSON.stringify([
    {
      ifindex: 1,
      ifname: 'lo',
      flags: ['LOOPBACK', 'UP', 'LOWER_UP'],
      addr_info: addresses.map((local) => ({ family: 'inet', local, prefixlen: 32, scope: 'global' })),
    },
  ]);
const cluster = clusterOf([
  nodeOf({ ...QUIET, 'netns.addr-json@11': pod('10.79.0.5', '10.79.0.6'), 'netns.addr-json@12': pod('10.79.0.6') }),
]);
const from = (place: string) => trace(cluster, { from: place, to: '10.79.0.5', proto: 'icmp' });

// a namespace may have the address of another one on lo
it('an address in two namespaces of a node names neither', () => {
  const both = '2 namespaces: node-a/11, node-a/12; name one of them';
  expect(() => from('node-a/10.79.0.6')).toThrow(`node-a/10.79.0.6 may be any of ${both}`);
  expect(from('node-a/11').hops[0]?.at).toBe('10.79.0.5');
  expect(from('node-a/10.79.0.5').hops[0]?.at).toBe('10.79.0.5');
});
