import { describe, expect, it } from 'vitest';
import { clusterOf, trace } from '../../src/net/index.ts';
import { recordedNodes } from '../support/bundle-nodes.ts';
import { nodeOf, type Texts } from './hook-nodes.ts';

/** `ip -d link` and `ip addr` of a device; `peer`: `@if3` of a veth. */
const device = (
  index: number,
  name: string,
  peer: string,
  more: string,
  address: string,
) => `${index}: ${name}${peer}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue ${more} state UP group default
    link/ether 02:00:00:00:00:0${index} brd ff:ff:ff:ff:ff:ff link-netnsid 0${peer === '' ? '\n    bridge forward_delay 1500 vlan_filtering 0' : '\n    veth'}
${address === '' ? '' : `    inet ${address} scope global ${name}\n`}`;
const LO = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
`;
const json = (address: string, peer: number) =>
  `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"operstate":"UNKNOWN","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},{"ifindex":2,"link_index":${peer},"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"operstate":"UP","address":"0a:00:00:00:00:0${peer}","link_netnsid":0,"linkinfo":{"info_kind":"veth"},"addr_info":[{"family":"inet","local":"${address}","prefixlen":24,"scope":"global"}]}]`;
const routes = (address: string) => `10.79.0.0/24 dev eth0 proto kernel scope link src ${address}
local ${address} dev eth0 table local proto kernel scope host src ${address}
`;
const SYSCTL = ['all', 'br7', 'v2', 'eth0']
  .flatMap((dev) => [
    `net.ipv4.conf.${dev}.forwarding = 1`,
    ...['proxy_arp', 'rp_filter', 'arp_ignore', 'arp_filter', 'accept_local', 'route_localnet'].map(
      (name) => `net.ipv4.conf.${dev}.${name} = 0`,
    ),
  ])
  .join('\n');
const ADDR = `${LO}${device(2, 'br7', '', '', '10.79.0.1/24')}${device(3, 'v1', '@if2', 'master br7', '')}${device(4, 'v2', '@if2', '', '')}`;

/** The lab of `ip neigh add proxy 10.79.0.99 dev br7`: a container in br7, and one behind v2 whose address is of that network. */
const LAB: Texts = {
  'ip.addr': ADDR,
  'ip.link': ADDR,
  'ip.route4': `10.79.0.0/24 dev br7 proto kernel scope link src 10.79.0.1
10.79.0.99 dev v2 scope link
local 10.79.0.1 dev br7 table local proto kernel scope host src 10.79.0.1
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
`,
  'ip.rule4': '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n',
  'ip.neigh': '',
  'sys.sysctl': `${SYSCTL}\nnet.bridge.bridge-nf-call-iptables = 0\n`,
  'fw.iptables-legacy-save': '',
  'fw.ip-tables-names': '',
  'fw.nft-json': '{"nftables": []}',
  'netns.addr-json@1': json('10.79.0.5', 3),
  'netns.link-json@1': json('10.79.0.5', 3),
  'netns.route4@1': routes('10.79.0.5'),
  'netns.rule4-json@1': '[{"priority":0,"src":"all","table":"local"},{"priority":32766,"src":"all","table":"main"}]',
  'netns.sysctl@1': `${SYSCTL.replaceAll('forwarding = 1', 'forwarding = 0')}\n`,
  'netns.iptables-legacy-save@1': '',
  'netns.iptables-nft-save@1': '',
  'netns.neigh-json@1': '[]',
};
const asked = (more: Texts, to = '10.79.0.99') =>
  trace(clusterOf([nodeOf({ ...LAB, ...more })]), { from: '10.79.0.5', to, proto: 'icmp' });

describe('a node that answers for others by `ip neigh add proxy`', () => {
  const last = (more: Texts, to?: string) => {
    const answer = asked(more, to);
    return [answer.verdict, answer.hops.findLast((h) => h.place.startsWith('neighbour'))?.text ?? answer.because];
  };

  it('is not known to keep silent while its entries were not collected', () => {
    expect(asked({}).because).toBe('whether node-a answers for 10.79.0.99 on br7 (ip neigh show proxy) is not known');
  });

  it('gets the frame', () => {
    const answer = asked({ 'ip.neigh-proxy': '10.79.0.99 dev br7 proxy \n' });
    expect(answer.hops.some((h) => h.at === 'host')).toBe(true);
  });

  it.each([
    ['', '10.79.0.99'],
    ['10.79.0.99 dev v2 proxy \n', '10.79.0.99'],
    // nobody forwards by the way it came
    ['10.79.0.98 dev br7 proxy \n', '10.79.0.98'],
  ])('keeps silent: %j', (entries, to) => {
    expect(last({ 'ip.neigh-proxy': entries }, to)).toEqual(['dropped', `nobody answers for ${to} on eth0`]);
  });

  it('nor does what failed when it was collected', () => {
    const entry = '[{"dst":"10.79.0.99","dev":"eth0","state":["FAILED"]}]';
    expect(last({ 'netns.neigh-json@1': entry })[0]).toBe('dropped');
  });
});

it('an empty table of a node that has not talked yet: it asks', () => {
  const answer = asked({ 'ip.neigh-proxy': '' }, '10.79.0.1');
  expect(answer.verdict).toBe('delivered');
});

it('a container whose port the list of devices lacks may be the one', () => {
  const cut = ADDR.slice(0, ADDR.indexOf('3: v1'));
  const answer = trace(clusterOf([nodeOf({ ...LAB, 'ip.addr': `${cut}garbage\n`, 'ip.link': cut })]), {
    from: 'node-a',
    to: '10.79.0.5',
    proto: 'icmp',
  });
  expect([answer.verdict, answer.because]).toEqual(['unknown', 'ip.addr was not collected whole']);
});

describe('a tunnel without the neighbour', () => {
  const over = async (edits: Readonly<Record<string, (text: string) => string>>) =>
    trace(
      clusterOf(
        await recordedNodes('healthy-vxlan', (node, path, text) =>
          node === 'node-a' ? (edits[path]?.(text) ?? text) : text,
        ),
      ),
      { from: '10.244.1.10', to: '10.244.2.10', proto: 'icmp' },
    );
  const without = (text: string) => text.replaceAll(/^.*flannel\.1.*\n/gm, '');

  it('has nobody to ask', async () => {
    expect((await over({ 'host/ip/neigh.txt': without })).because).toContain('the tunnel has nobody to ask');
  });

  it('may have somebody, where not all forwarding entries are known', async () => {
    const answer = await over({
      'host/ip/neigh.txt': without,
      'host/bridge/fdb.json': () => '[',
      'host/bridge/fdb.txt': (text) => `${without(text)}00:00:00:00:00:00 dev\n`,
    });
    expect(answer.verdict).toBe('unknown');
    expect(answer.because).toContain('forwarding entries of node-a were not collected whole');
  });

  it('is told by a process what it misses', async () => {
    const misses = (text: string) => text.replace('nolearning', 'nolearning l2miss l3miss');
    const answer = await over({ 'host/ip/neigh.txt': without, 'host/ip/link.txt': misses });
    expect(answer.because).toContain('flannel.1 of node-a tells a process what it misses');
  });
});
