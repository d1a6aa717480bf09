import { expect, it } from 'vitest';
import { clusterOf, type TraceRequest, trace } from '../../src/net/index.ts';
import { nodeOf, QUIET, type Texts } from './hook-nodes.ts';

const HEAD = (xdp = '') =>
  `2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 ${xdp}qdisc noqueue state UP group default qlen 1000`;
const ADDR = `    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 brd 192.168.50.255 scope global eth0
`;
const asking = (more: Texts, request: TraceRequest, head = HEAD()) => {
  const addr = `${head}\n${ADDR}`;
  const node = nodeOf({
    ...QUIET,
    'ip.addr': addr,
    'ip.link': addr.replaceAll(/^ {4}inet .*\n/gm, ''),
    'ip.route4': `192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11
local 192.168.50.11 dev eth0 table local proto kernel scope host src 192.168.50.11
`,
    'ip.neigh': '192.168.50.100 dev eth0 lladdr 02:00:00:00:00:99 STALE\n',
    'fw.iptables-save': '',
    ...more,
  });
  return trace(clusterOf([node]), request);
};
const asked = (more: Texts, head = HEAD()) => {
  const request = { from: 'node-a', to: '192.168.50.100', proto: 'icmp' } as const;
  const { verdict, because, reply } = asking(more, request, head);
  return [verdict, verdict === 'delivered' ? (reply?.because ?? '') : because, reply?.verdict];
};
const qdisc = (kind: string): Texts => ({ 'tc.qdisc-json': `[{"kind":"${kind}","handle":"ffff:","dev":"eth0"}]` });
const netdev = (hook: string): Texts => ({
  'fw.nft-json': JSON.stringify({
    nftables: [
      { table: { family: 'netdev', name: 't', handle: 1 } },
      {
        chain: {
          family: 'netdev',
          table: 't',
          name: 'c',
          handle: 1,
          type: 'filter',
          hook,
          prio: 0,
          dev: 'eth0',
          policy: 'drop',
        },
      },
    ],
  }),
});

it.each<[string, Texts, string, string | undefined]>([
  ['nothing', {}, 'delivered', 'delivered'],
  ['a shaper', qdisc('tbf'), 'delivered', 'delivered'],
  ['clsact', qdisc('clsact'), 'unknown', undefined],
  ['netem', qdisc('netem'), 'unknown', undefined],
  ['ingress', qdisc('ingress'), 'delivered', 'unknown'],
  ['an nft chain at egress', netdev('egress'), 'unknown', undefined],
  ['an nft chain at ingress', netdev('ingress'), 'delivered', 'unknown'],
])('%s on the device', (_, texts, verdict, reply) => {
  const [said, because, answer] = asked(texts);
  expect(said, because).toBe(verdict);
  if (reply !== undefined) expect(answer, because).toBe(reply);
});

it('an XDP program sees what comes in', () => {
  const [verdict, because, reply] = asked({}, HEAD('xdp '));
  expect([verdict, reply]).toEqual(['delivered', 'unknown']);
  expect(because).toBe('what the XDP program on eth0 does to packets is not followed');
});

/** As nft 1.0.6 prints a chain of one device: its JSON does not say which. */
const nameless = (dev: string): Texts => ({
  'fw.nft-json': (netdev('ingress')['fw.nft-json'] as string).replace(',"dev":"eth0"', ''),
  'fw.nft': `table netdev t {
\tchain c {
\t\ttype filter hook ingress ${dev} priority filter; policy drop;
\t}
}
`,
});

it.each([
  ['device "eth0"', 'unknown'],
  ['devices = { "eth1", "eth0" }', 'unknown'],
  ['device "eth1"', 'delivered'],
  ['devices = { eth1, eth10 }', 'delivered'],
])('a chain on %s', (dev, reply) => {
  expect(asked(nameless(dev))[2]).toBe(reply);
});

it('what ends for sure is shown, not what a chain may have dropped before', () => {
  const save = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
`;
  const from = { from: '192.168.50.100', to: '192.168.50.11', proto: 'icmp' } as const;
  const { verdict, because } = asking({ ...netdev('ingress'), 'fw.iptables-save': save }, from);
  expect([verdict, because]).toEqual(['dropped', 'policy DROP of filter/INPUT']);
});
