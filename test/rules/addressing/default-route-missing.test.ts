import { rule } from '../../../rules/addressing/default-route-missing.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

const ROUTES = overlayNode({ n: 1, peers: [2] }).files['host/ip/route4.txt'] as string;
const DEFAULT = 'unicast default via 192.168.50.100 dev eth0 proto boot scope global \n';

/** The overlay node with these routes in place of its default route, and with these files. */
const node = (instead: string, files: NodeFiles['files'] = {}): NodeFiles =>
  overlayNode({ n: 1, peers: [2], files: { 'host/ip/route4.txt': ROUTES.replace(DEFAULT, instead), ...files } });

const flanneld = (...flags: string[]) => ({ 'cmdline/flanneld.txt': ['/opt/bin/flanneld', ...flags, ''].join('\n') });

/** Another node of its network. */
const other = (route: string, files: NodeFiles['files'] = {}): NodeFiles => {
  const bare = overlayNode({ n: 2, peers: [1] });
  const routes = (bare.files['host/ip/route4.txt'] as string).replace(DEFAULT, route);
  return overlayNode({ n: 2, peers: [1], files: { 'host/ip/route4.txt': routes, ...files } });
};
const LOST_DNS = { 'files/etc/resolv.conf': 'nameserver 10.1.2.3\n' };

testRule(rule, {
  finds: {
    'no default route': {
      nodes: { a: node('') },
      expect: [{ key: 'default', severity: 'high', confidence: 'likely', cites: ['absent: a default route'] }],
    },
    'and a DNS server that nothing leads to': {
      nodes: { a: node('', { 'files/etc/resolv.conf': 'search example.net\nnameserver 10.1.2.3\n' }) },
      expect: [
        {
          severity: 'high',
          confidence: 'proven',
          message: /^a has no IPv4 default route: its DNS server 10\.1\.2\.3 and all that/,
          cites: ['absent: a default route', 'nameserver 10.1.2.3'],
        },
      ],
    },
    'a route that rejects is none': {
      nodes: { a: node('unreachable default proto static scope global metric 4278198272 \n') },
      expect: [{ severity: 'high', cites: ['absent: a default route'] }],
    },
    'one half of it': {
      nodes: { a: node('unicast 0.0.0.0/1 via 192.168.50.100 dev eth0 proto boot scope global \n') },
      expect: [{ severity: 'high', cites: ['absent: a default route'] }],
    },
    'kept apart on purpose, as it looks: information': {
      nodes: {
        a: node('unicast 10.1.0.0/16 via 192.168.50.100 dev eth0 proto static scope global \n', {
          'files/etc/resolv.conf': 'nameserver 10.1.2.3\n',
          ...flanneld('--iface=eth0'),
        }),
      },
      expect: [{ severity: 'info', confidence: 'possible', cites: ['absent: a default route', '--iface=eth0'] }],
    },
    'no node of the network has one': {
      nodes: { a: node(''), b: other('') },
      expect: [
        {
          severity: 'low',
          confidence: 'possible',
          nodes: ['a'],
          message: /no collected node of its network has one/,
          cites: ['absent: a default route'],
        },
        { severity: 'low', confidence: 'possible', nodes: ['b'], cites: ['absent: a default route'] },
      ],
    },
    'another node of the network has one': {
      nodes: { a: node(''), b: other(DEFAULT) },
      expect: [{ severity: 'high', confidence: 'likely', nodes: ['a'], cites: ['absent: a default route'] }],
      answers: { b: 'pass' },
    },
    'no node has one, and nothing leads to the name server either': {
      nodes: { a: node('', LOST_DNS), b: other('', LOST_DNS) },
      expect: [
        {
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          cites: ['absent: a default route', 'nameserver 10.1.2.3'],
        },
        {
          severity: 'high',
          confidence: 'proven',
          nodes: ['b'],
          cites: ['absent: a default route', 'nameserver 10.1.2.3'],
        },
      ],
    },
    'docker without flannel, and a gateway of its own for the name server: information': {
      nodes: {
        a: node('unicast 10.1.0.0/16 via 192.168.50.100 dev eth0 proto static scope global \n', {
          'files/etc/resolv.conf': 'nameserver 10.1.2.3\n',
          'cmdline/flanneld.txt': { status: 'absent', reason: 'no process flanneld' },
        }),
      },
      expect: [{ severity: 'info', confidence: 'possible', cites: ['absent: a default route'] }],
    },
  },
  passes: {
    'a default route': { nodes: { a: node(DEFAULT) } },
    'of several next hops, one of which is dead': {
      nodes: {
        a: node(
          'unicast default proto static scope global \n\tnexthop via 192.168.50.100 dev eth0 weight 1 dead linkdown \n\tnexthop via 192.168.50.101 dev eth0 weight 1 \n',
        ),
      },
    },
    'the two halves that VPN clients write': {
      nodes: {
        a: node(
          'unicast 0.0.0.0/1 via 10.8.0.1 dev tun0 proto boot scope global \nunicast 128.0.0.0/1 via 10.8.0.1 dev tun0 proto boot scope global \n',
        ),
      },
    },
  },
  notApplicable: {
    'IPv6 alone to the outside': {
      nodes: {
        a: node('', {
          'host/ip/addr.txt': (overlayNode({ n: 1, peers: [2] }).files['host/ip/addr.txt'] as string).replace(
            'inet 192.168.50.11/24 scope global eth0',
            'inet6 2001:db8::11/64 scope global ',
          ),
        }),
      },
    },
    'no container network': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n',
            'host/ip/route4.txt': 'unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 \n',
          },
        },
      },
    },
  },
  unknown: {
    'another table has one': {
      nodes: { a: node('unicast default via 192.168.50.100 dev eth0 table 100 proto static scope global \n') },
      because: /the main table has no default route, table 100 has/,
    },
    'its device has no carrier': {
      nodes: { a: node('unicast default via 192.168.50.100 dev eth0 proto boot scope global dead linkdown \n') },
      because: /is dead for now: eth0 has no carrier/,
    },
    'the list was cut off': {
      nodes: { a: node('', { 'host/ip/route4.txt': { status: 'truncated', text: ROUTES.replace(DEFAULT, '') } }) },
      because: /not collected whole/,
    },
    'devices of a VRF': {
      nodes: {
        a: node('', {
          'host/ip/rule4.txt':
            '0:\tfrom all lookup local\n1000:\tfrom all lookup [l3mdev-table]\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n',
        }),
      },
      because: /VRF/,
    },
  },
});
