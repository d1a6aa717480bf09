import { expect, it } from 'vitest';
import { rule } from '../../../rules/forwarding/ipv6-forward-disabled.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { SIX_ONLY } from './nodes.ts';

const TEXTS = overlayNode({ n: 1, peers: [2] }).files;
const text = (path: string) => TEXTS[path] as string;

/** `ip -6 -d route show table all` of iproute2 6.1, of a node with cni0 fd00:10:244:1::/64. */
const ROUTES = [
  'unicast 2001:db8:1::/64 dev eth0 table main proto kernel scope global metric 256 pref medium',
  'unicast fd00:10:244:1::/64 dev cni0 table main proto kernel scope global metric 256 pref medium',
  'unicast fe80::/64 dev cni0 table main proto kernel scope global metric 256 pref medium',
  'unicast fe80::/64 dev eth0 table main proto kernel scope global metric 256 pref medium',
  'unicast default via 2001:db8:1::1 dev eth0 table main proto boot scope global metric 1024 pref medium',
  'local 2001:db8:1::11 dev eth0 table local proto kernel scope global metric 0 pref medium',
  'local fd00:10:244:1::1 dev cni0 table local proto kernel scope global metric 0 pref medium',
  'multicast ff00::/8 dev cni0 table local proto kernel scope global metric 256 pref medium',
  'multicast ff00::/8 dev eth0 table local proto kernel scope global metric 256 pref medium',
];
const list = (lines: readonly string[]) => lines.map((l) => `${l}\n`).join('');
const only = (...keep: readonly RegExp[]) => list(ROUTES.filter((l) => keep.some((k) => k.test(l))));
const NOWHERE = only(/dev cni0/, /fe80/, /^multicast/);

const sysctls = (values: Readonly<Record<string, string>>) =>
  text('host/sys/sysctl.txt') +
  Object.entries(values)
    .map(([key, value]) => `net/ipv6/conf/${key}:${value}\n`)
    .join('');

/** The dual-stack twin of a flannel node. */
function dual(values: Readonly<Record<string, string>>, files: NodeFiles['files'] = {}): NodeFiles {
  const lines = `    inet6 fd00:10:244:1::1/64 scope global 
       valid_lft forever preferred_lft forever
    inet6 fe80::85a:aff:fef4:101/64 scope link 
       valid_lft forever preferred_lft forever
5: veth1`;
  return overlayNode({
    n: 1,
    peers: [2],
    files: {
      'host/ip/addr.txt': text('host/ip/addr.txt').replace('5: veth1', lines),
      'host/ip/route6.txt': list(ROUTES),
      'host/sys/sysctl.txt': sysctls(values),
      ...files,
    },
  });
}
const OFF = { 'all/forwarding': '0' };

const single = overlayNode({
  n: 1,
  peers: [2],
  files: { 'host/ip/route6.txt': list(ROUTES), 'host/sys/sysctl.txt': sysctls(OFF) },
});

/** Calico: a pod hangs on a device of its own, with both families. */
const calico: NodeFiles = {
  files: {
    'host/ip/addr.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
5: cali12d4a061371@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 0
    inet6 fe80::ecee:eeff:feee:eeee/64 scope link 
       valid_lft forever preferred_lft forever
`,
    'host/ip/route6.txt': list([
      'unicast fd00:10:244:7::5 dev cali12d4a061371 table main proto static scope global metric 1024 pref medium',
      'unicast default via fe80::1 dev eth0 table main proto ra scope global metric 1024 expires 1793sec hoplimit 64 pref medium',
    ]),
    'host/sys/sysctl.txt': 'net/ipv6/conf/all/forwarding:0\nnet/ipv6/conf/eth0/accept_ra:1\n',
  },
};

testRule(rule, {
  finds: {
    'a dual-stack node': {
      nodes: { a: dual(OFF) },
      expect: [
        {
          key: 'ipv6',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message: /does not forward IPv6 .*containers on cni0 reach nothing but the node itself by IPv6/,
          cites: [
            'net/ipv6/conf/all/forwarding:0',
            'inet6 fd00:10:244:1::1/64 scope global',
            'unicast default via 2001:db8:1::1 dev eth0',
            'unicast 2001:db8:1::/64 dev eth0',
          ],
        },
      ],
    },
    'pods with IPv6 alone have no other way': {
      nodes: {
        a: {
          files: {
            ...SIX_ONLY.files,
            'host/ip/route6.txt': list([
              'unicast fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 table main proto boot scope global metric 1024 onlink pref medium',
            ]),
            'host/sys/sysctl.txt': 'net/ipv6/conf/all/forwarding:0\n',
          },
        },
      },
      expect: [
        {
          key: 'ipv6',
          severity: 'critical',
          cites: ['all/forwarding:0', 'inet6 fd00:10:244:1::1/64', 'fd00:10:244:2::/64 via'],
        },
      ],
    },
    'a pod of Calico; the default route is from router advertisements, which turning it on would lose': {
      nodes: { a: calico },
      expect: [
        {
          key: 'ipv6',
          severity: 'high',
          cites: ['all/forwarding:0', '5: cali12d4a061371@if3', 'unicast default via fe80::1 dev eth0'],
        },
      ],
    },
  },
  passes: {
    'forwarding on': { nodes: { a: dual({ 'all/forwarding': '1' }) } },
    'the flag of Linux 6.17 on the device that packets arrive on': {
      nodes: { a: dual({ ...OFF, 'cni0/force_forwarding': '1' }) },
    },
  },
  notApplicable: {
    'pods of Calico on a node that forwards': {
      nodes: {
        a: { files: { ...calico.files, 'host/sys/sysctl.txt': 'net/ipv6/conf/all/forwarding:1\n' } },
      },
    },
    'no container has an IPv6 address': { nodes: { a: single } },
    'IPv6 has nowhere to go': { nodes: { a: dual(OFF, { 'host/ip/route6.txt': NOWHERE }) } },
    'a docker network that is internal': {
      nodes: {
        a: dual(OFF, {
          'docker/network-inspect.json': JSON.stringify([
            {
              Name: 'apart',
              Id: 'f'.repeat(64),
              Driver: 'bridge',
              Internal: true,
              EnableIPv6: true,
              IPAM: { Config: [{ Subnet: 'fd00:10:244:1::/64' }] },
              Options: { 'com.docker.network.bridge.name': 'cni0' },
            },
          ]),
        }),
      },
    },
  },
  unknown: {
    'the switch was not collected': {
      nodes: { a: dual({}) },
      because: /all\/forwarding was not collected/,
    },
    'the routes were not collected': {
      nodes: { a: dual(OFF, { 'host/ip/route6.txt': { status: 'absent' } }) },
      because: /anywhere to go by IPv6 is not known/,
    },
    'the routes were cut off before one that leads away': {
      nodes: { a: dual(OFF, { 'host/ip/route6.txt': { status: 'truncated', text: NOWHERE } }) },
      because: /not collected whole/,
    },
    'collected in a container': {
      nodes: {
        a: {
          ...dual(OFF),
          info: { context: { uid: 0, netns: 'net:[2]', pid1netns: 'net:[1]', mode: 'host' } },
        },
      },
      because: /inside a container network namespace/,
    },
  },
});

it('keeps a default route from router advertisements, which a router does not listen to', () => {
  const [found] = judge([rule], { a: calico }).findings;
  expect(found?.remediation?.[0]?.run).toBe(
    'sysctl -w net.ipv6.conf.eth0.accept_ra=2 && sysctl -w net.ipv6.conf.all.forwarding=1',
  );
});

it.each([
  ['the switch was not collected', dual({}), 'sys.sysctl'],
  ['the routes were not collected', dual(OFF, { 'host/ip/route6.txt': { status: 'absent' } }), 'ip.route6'],
])('%s: says what would settle it', (_what, node, evidence) => {
  expect(judge([rule], { a: node }).unknown.map((u) => u.evidence)).toEqual([[evidence]]);
});
