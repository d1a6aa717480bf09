import { describe, expect, it } from 'vitest';
import { clusterOf, type TraceRequest, trace } from '../../src/net/index.ts';
import { nodeOf, QUIET, save, type Texts } from './hook-nodes.ts';

const ADDR = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.12/24 brd 192.168.50.255 scope global eth0
3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff
    inet 192.168.60.12/24 brd 192.168.60.255 scope global eth1
`;
const ROUTES = `default via 192.168.50.1 dev eth0
192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.12
192.168.60.0/24 dev eth1 proto kernel scope link src 192.168.60.12
local 192.168.50.12 dev eth0 table local proto kernel scope host src 192.168.50.12
local 192.168.60.12 dev eth1 table local proto kernel scope host src 192.168.60.12
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
`;
const LAN: Texts = {
  ...QUIET,
  'ip.addr': ADDR,
  'ip.link': ADDR.replaceAll(/^ {4}inet .*\n/gm, ''),
  'ip.route4': ROUTES,
  'ip.neigh': '',
  'sys.sysctl': `net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.eth0.rp_filter = 0
net.ipv4.conf.eth1.rp_filter = 0
net.ipv4.conf.all.accept_local = 0
net.ipv4.conf.eth0.accept_local = 0
net.ipv4.conf.all.arp_ignore = 0
net.ipv4.conf.eth0.arp_ignore = 0
`,
};
/** The same with the card in a bridge, as hypervisors have it. */
const BRIDGED: Texts = {
  ...LAN,
  'ip.addr': ADDR.replace(': eth0:', ': br0:').replace(' eth0\n', ' br0\n'),
  'ip.link': `${ADDR.replace(': eth0:', ': br0:')
    .replaceAll(/^ {4}inet .*\n/gm, '')
    .replace(
      'brd ff:ff:ff:ff:ff:ff\n',
      'brd ff:ff:ff:ff:ff:ff promiscuity 0\n    bridge forward_delay 1500 vlan_filtering 0\n',
    )}4: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq master br0 state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
`,
  'ip.route4': ROUTES.replaceAll('eth0', 'br0'),
};

const asked = (texts: Texts, request: Partial<TraceRequest>) =>
  trace(clusterOf([nodeOf(texts)]), { from: '192.168.50.100', to: '192.168.50.12', proto: 'icmp', ...request });
const routed = (line: string): Texts => ({ ...LAN, 'ip.route4': `${line}\n${ROUTES}` });

describe('the answer to somebody outside', () => {
  it('reaches his network', () => {
    expect(asked(LAN, {}).reply?.verdict).toBe('delivered');
  });

  // kernel-check, seed 10059: 192.168.50.77 does not exist
  it('does not reach him by a next hop that nobody has seen', () => {
    const reply = asked(routed('192.168.50.0/25 via 192.168.50.77 dev eth0 metric 99'), {}).reply;
    expect(reply?.verdict).toBe('unknown');
    expect(reply?.because).toBe('whether there is a host 192.168.50.77 on the network of eth0 is not in the evidence');
  });

  it('by a router that is there perhaps', () => {
    const texts = routed('192.168.50.0/25 via 192.168.50.77 dev eth0 metric 99');
    const seen = { ...texts, 'ip.neigh': '192.168.50.77 dev eth0 lladdr 02:00:00:00:00:77 REACHABLE\n' };
    expect(asked(seen, {}).reply?.because).toMatch('whether the router 192.168.50.77 has a way to 192.168.50.100');
    expect(asked({ ...texts, 'ip.neigh': '192.168.50.77 dev eth0  FAILED\n' }, {}).reply?.verdict).toBe('dropped');
  });

  it('by the default gateway, public addresses as well', () => {
    expect(asked(routed('192.168.50.100 via 192.168.50.1 dev eth0'), {}).reply?.verdict).toBe('delivered');
    expect(asked(LAN, { from: '203.0.113.7' }).reply?.verdict).toBe('delivered');
  });

  it('does not reach him on a network that is not his', () => {
    const reply = asked(routed('192.168.50.100 dev eth1 scope link'), {}).reply;
    expect(reply?.because).toBe('whether there is a host 192.168.50.100 on the network of eth1 is not in the evidence');
  });
});

describe('a packet that leaves the evidence', () => {
  it('needs a next hop that is there', () => {
    const request = { from: 'node-a', to: '203.0.113.7' };
    expect(asked(LAN, request).verdict).toBe('delivered');
    const lost = asked(routed('203.0.113.0/24 via 192.168.50.77 dev eth0'), request);
    expect([lost.verdict, lost.because]).toEqual([
      'unknown',
      'whether there is a host 192.168.50.77 on the network of eth0 is not in the evidence',
    ]);
  });

  it('leaves by a bridge with the network card as by the card', () => {
    expect(asked(BRIDGED, { from: 'node-a', to: '203.0.113.7' }).verdict).toBe('delivered');
    expect(asked(BRIDGED, {}).reply?.verdict).toBe('delivered');
    const seen = { ...BRIDGED, 'ip.neigh': '192.168.50.9 dev br0 lladdr 02:00:00:00:00:09 REACHABLE\n' };
    expect(asked(seen, { from: 'node-a', to: '192.168.50.9' }).verdict).toBe('delivered');
    expect(asked(BRIDGED, { from: 'node-a', to: '192.168.50.9' }).verdict).toBe('unknown');
  });
});

describe('a TTL', () => {
  const dropped = (text: string, ttl: string): Texts => ({
    ...LAN,
    'sys.sysctl': `${LAN['sys.sysctl']}${ttl}`,
    'fw.iptables-save': save('filter', `-A OUTPUT ${text} -j DROP`),
  });
  const request = { from: 'node-a', to: '203.0.113.7' };

  it('is the one of the namespace that sends', () => {
    const texts = (n: number) => dropped('-m ttl --ttl-lt 64', `net.ipv4.ip_default_ttl = ${n}\n`);
    expect(asked(texts(64), request).verdict).toBe('delivered');
    expect(asked(texts(63), request).verdict).toBe('dropped');
  });

  it('of a bundle without it is not known to rules', () => {
    const asks = asked(dropped('-m ttl --ttl-lt 64', ''), request);
    expect([asks.verdict, asks.missing?.map((m) => m.evidence)]).toEqual(['unknown', [['sys.sysctl']]]);
    const rules = '-A OUTPUT -j TTL --ttl-set 7\n-A OUTPUT -m ttl --ttl-lt 64 -j DROP';
    expect(asked({ ...LAN, 'fw.iptables-save': save('filter', rules) }, request).verdict).toBe('dropped');
  });

  it('of a route comes first', () => {
    const texts = dropped('-m ttl --ttl-eq 7', 'net.ipv4.ip_default_ttl = 64\n');
    const hop = ROUTES.replace('50.1 dev eth0', '50.1 dev eth0 hoplimit 7');
    expect(asked({ ...texts, 'ip.route4': hop }, request).verdict).toBe('dropped');
  });

  it('of what comes from outside is not known', () => {
    const texts = { ...LAN, 'fw.iptables-save': save('filter', '-A INPUT -m ttl --ttl-lt 10 -j DROP') };
    const asks = asked(texts, {});
    expect([asks.verdict, asks.because]).toEqual(['unknown', expect.stringContaining('with which TTL packets of')]);
  });
});

describe('a default gateway', () => {
  const seen = '192.168.50.1 dev eth0 lladdr 02:00:00:00:00:77 REACHABLE\n';
  const VXLAN = `4: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default
    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
    vxlan id 1 local 192.168.50.12 dev eth0 srcport 0 0 dstport 8472 nolearning
`;
  const tunnelled = (remote: string): Texts => ({
    ...LAN,
    'ip.addr': ADDR + VXLAN,
    'ip.link': LAN['ip.link'] + VXLAN,
    'ip.neigh': seen,
    'bridge.fdb': `0e:00:00:00:00:02 dev flannel.1 dst ${remote} self permanent\n`,
  });
  const out = { from: 'node-a', to: '203.0.113.7' };

  // kernel-check, seeds 80211 and 80215: the gateway 192.168.50.77 does not exist
  it('is taken to be there for what is beyond it; of itself its neighbour entry tells', () => {
    expect(asked(LAN, out).verdict).toBe('delivered');
    const itself = asked(LAN, { ...out, to: '192.168.50.1' });
    expect([itself.verdict, itself.because]).toEqual([
      'unknown',
      'whether there is a host 192.168.50.1 on the network of eth0 is not in the evidence',
    ]);
    expect(asked({ ...LAN, 'ip.neigh': seen }, { ...out, to: '192.168.50.1' }).verdict).toBe('delivered');
  });

  // kernel-check, seed 1044: the gateway is a node whose bundle is missing
  it('at which a tunnel ends is a node of the cluster, whose rules would decide', () => {
    expect(asked(tunnelled('192.168.50.13'), out).verdict).toBe('delivered');
    const peer = asked(tunnelled('192.168.50.1'), out);
    expect([peer.verdict, peer.because]).toEqual([
      'unknown',
      '192.168.50.1, a next hop or tunnel end of node-a, was not collected',
    ]);
  });
});
