import { expect, it } from 'vitest';
import { clusterOf, trace } from '../../src/net/index.ts';
import { nodeOf, QUIET, type Texts } from './hook-nodes.ts';

const texts = (flags: string, state: string, route = ''): Texts => {
  const addr = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
2: eth0: <${flags}> mtu 1500 qdisc noqueue state ${state} group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 brd 192.168.50.255 scope global eth0
`;
  return {
    ...QUIET,
    'ip.addr': addr,
    'ip.link': addr.replaceAll(/^ {4}inet .*\n/gm, ''),
    'ip.route4': `192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11${route}
local 192.168.50.11 dev eth0 table local proto kernel scope host src 192.168.50.11
`,
    'ip.neigh': '192.168.50.100 dev eth0 lladdr 02:00:00:00:00:99 STALE\n',
    'fw.iptables-save': '',
  };
};
const asked = (node: Texts, to: string) => trace(clusterOf([nodeOf(node)]), { from: 'node-a', to, proto: 'icmp' });

// checked by hand on Linux 6.18: with the other end of the wire down not even a packet for a permanent neighbour is counted as sent
it('sends nothing by a device without carrier', () => {
  const cut = texts('NO-CARRIER,BROADCAST,MULTICAST,UP', 'DOWN', ' linkdown');
  const answer = asked(cut, '192.168.50.100');
  expect(answer.verdict).toBe('dropped');
  expect(answer.because).toBe('eth0 has no carrier: nothing is at the other end of its wire, or that is down');
  const own = asked(cut, '192.168.50.11');
  expect(own.verdict, own.because).toBe('delivered');
  expect(asked(texts('BROADCAST,MULTICAST,UP,LOWER_UP', 'UP'), '192.168.50.100').verdict).toBe('delivered');
});
