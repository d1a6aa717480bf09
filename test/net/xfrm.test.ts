import { expect, it } from 'vitest';
import { clusterOf, type TraceRequest, trace } from '../../src/net/index.ts';
import { nodeOf, QUIET, type Texts } from './hook-nodes.ts';

const SYSCTL = `net/ipv4/ip_forward:1
net/ipv4/conf/all/forwarding:1
net/ipv4/conf/eth0/forwarding:1
net/ipv4/conf/eth1/forwarding:1
net/ipv4/conf/all/rp_filter:0
net/ipv4/conf/eth0/rp_filter:0
net/ipv4/conf/eth1/rp_filter:0
`;
const ADDR = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 brd 192.168.50.255 scope global eth0
`;
const asking = (policies: string, request: Partial<TraceRequest> = {}, more: Texts = {}) => {
  const node = nodeOf({
    ...QUIET,
    'ip.addr': ADDR,
    'ip.link': ADDR.replaceAll(/^ {4}inet .*\n/gm, ''),
    'ip.route4': `192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11
local 192.168.50.11 dev eth0 table local proto kernel scope host src 192.168.50.11
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
`,
    'ip.neigh': '192.168.50.100 dev eth0 lladdr 02:00:00:00:00:99 STALE\n',
    'fw.iptables-save': '',
    'sys.sysctl': SYSCTL,
    'ip.xfrm-policy': policies,
    ...more,
  });
  return trace(clusterOf([node]), { from: 'node-a', to: '192.168.50.100', proto: 'tcp', port: 443, ...request });
};

/** Verdict of the request; where it was delivered, that of the answer behind it. */
const said = (...args: Parameters<typeof asking>) => {
  const { verdict, reply } = asking(...args);
  return verdict === 'delivered' ? `delivered, ${reply?.verdict}` : verdict;
};

const block = (selector: string, body: string) => `src ${selector} \n\tdir ${body} ptype main \n`;

it.each([
  ['none', '', 'delivered, delivered'],
  ['one that blocks', block('0.0.0.0/0 dst 0.0.0.0/0', 'out action block priority 0'), 'dropped'],
  ['of another direction', block('0.0.0.0/0 dst 0.0.0.0/0', 'fwd action block priority 0'), 'delivered, delivered'],
  ['for answers', block('192.168.50.100/32 dst 0.0.0.0/0', 'in action block priority 0'), 'delivered, dropped'],
  ['for others', block('10.0.0.0/8 dst 0.0.0.0/0', 'out action block priority 0'), 'delivered, delivered'],
  ['for the port', block('0.0.0.0/0 dst 0.0.0.0/0 proto tcp dport 443', 'out action block priority 0'), 'dropped'],
  [
    'for another port',
    block('0.0.0.0/0 dst 0.0.0.0/0 proto tcp dport 80', 'out action block priority 0'),
    'delivered, delivered',
  ],
  [
    'for ICMP',
    block('0.0.0.0/0 dst 0.0.0.0/0 proto icmp type 8 code 0', 'out action block priority 0'),
    'delivered, delivered',
  ],
  [
    'one that lets it pass before',
    block('0.0.0.0/0 dst 0.0.0.0/0', 'out action block priority 20') +
      block('0.0.0.0/0 dst 192.168.50.100/32', 'out priority 10'),
    'delivered, delivered',
  ],
  [
    'two of one priority that say otherwise',
    block('0.0.0.0/0 dst 0.0.0.0/0', 'out action block priority 10') +
      block('0.0.0.0/0 dst 192.168.50.100/32', 'out priority 10'),
    'unknown',
  ],
  [
    'one with a transformation',
    `${block('0.0.0.0/0 dst 0.0.0.0/0', 'out priority 0')}\ttmpl src 0.0.0.0 dst 0.0.0.0\n\t\tproto esp reqid 0 mode transport\n`,
    'unknown',
  ],
  [
    'a mark that the packet does not have',
    `${block('0.0.0.0/0 dst 0.0.0.0/0', 'out action block priority 0')}\tmark 0x1/0xff \n`,
    'delivered, delivered',
  ],
  [
    'the interface of another',
    `${block('0.0.0.0/0 dst 0.0.0.0/0', 'out action block priority 0')}\tif_id 0x7\n`,
    'delivered, delivered',
  ],
  ['a device', block('0.0.0.0/0 dst 0.0.0.0/0 dev eth0', 'out action block priority 0'), 'unknown'],
  ['of a socket', 'src 0.0.0.0/0 dst 0.0.0.0/0 \n\tsocket out priority 0 ptype main \n', 'delivered, delivered'],
  ['IPv6', block('::/0 dst ::/0', 'out action block priority 0'), 'delivered, delivered'],
])('a policy of IPsec: %s', (_, policies, verdict) => {
  expect(said(policies)).toBe(verdict);
});

it('cites the policy', () => {
  const other = block('10.9.0.0/16 dst 0.0.0.0/0', 'out priority 0');
  const { because, hops } = asking(other + block('0.0.0.0/0 dst 192.168.50.0/24', 'out action block priority 0'));
  expect(because).toBe('the IPsec policy src 0.0.0.0/0 dst 192.168.50.0/24 blocks it (ip xfrm policy, dir out)');
  expect(hops.at(-1)).toMatchObject({ place: 'xfrm out', action: 'drop' });
  expect(hops.at(-1)?.cites).toMatchObject([{ path: 'ip.xfrm-policy', line: 3 }]);
});

it('which devices IPv6 exempts is not collected: what a policy blocks is unknown there, on lo as well', () => {
  const six = `${ADDR.replace('    inet 127.0.0.1/8 scope host lo\n', '$&    inet6 ::1/128 scope host \n')}`;
  const more: Texts = {
    'ip.addr': six,
    'ip.route6': 'local ::1 dev lo table local proto kernel metric 0 pref medium\n',
    'fw.ip6tables-save': '',
    'fw.ip6tables-legacy-save': '',
    'ip.rule6': '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n',
    'sys.sysctl': `${SYSCTL}net/ipv4/conf/eth0/disable_xfrm:1\n`,
  };
  const self = { to: '::1', proto: 'icmp' } as const;
  const open = asking(block('::/0 dst ::/0', 'out action block priority 0'), self, more);
  expect(said('', self, more)).toBe('delivered, delivered');
  expect(open.verdict).toBe('unknown');
  expect(open.because).toMatch(/^whether a policy of IPsec on node-a blocks the packet is not known/);
});

it('devices are exempt: lo by itself, others where they are told to be', () => {
  const all = block('0.0.0.0/0 dst 0.0.0.0/0', 'out action block priority 0');
  const self = { to: '192.168.50.11', proto: 'icmp' } as const;
  expect(said(all, self)).toBe('delivered, delivered');
  const set = (line: string): Texts => ({ 'sys.sysctl': `${SYSCTL}${line}\n` });
  expect(said(all, self, set('net/ipv4/conf/lo/disable_xfrm:0'))).toBe('dropped');
  expect(said(all, {}, set('net/ipv4/conf/eth0/disable_xfrm:1'))).toBe('delivered, delivered');
  expect(said(all, {}, set('net/ipv4/conf/all/disable_xfrm:1'))).toBe('delivered, delivered');
});
