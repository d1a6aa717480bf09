import { rule } from '../../../rules/routing/blackhole-shadows-pod-cidr.ts';
import { testRule } from '../../support/rule-table.ts';
import { podAddr, routedNode } from '../forwarding/nodes.ts';
import { routingNode } from './nodes.ts';

const CONNECTED = /^(unicast 10\.244\.1\.0\/24 dev cni0 .*)$/m;
const before = (route: string) => routingNode({ edit: (t) => t.replace(CONNECTED, `${route}\n$1`) });
const after = (...routes: string[]) => routingNode({ edit: (t) => t.replace(CONNECTED, `$1\n${routes.join('\n')}`) });
const POD = { 'netns/4026532001/addr.json': podAddr('10.244.1.10') };

testRule(rule, {
  finds: {
    'a blackhole that was there before the bridge': {
      nodes: { a: before('blackhole 10.244.1.0/24 proto boot scope global ') },
      expect: [
        {
          key: 'blackhole 10.244.1.0/24',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^a rejects packets to all containers on cni0 by the route blackhole 10\.244\.1\.0\/24: it stands before the route to cni0$/,
          cites: ['blackhole 10.244.1.0/24', 'unicast 10.244.1.0/24 dev cni0', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'flanneld was told to write it': {
      nodes: {
        a: routingNode({
          edit: (t) => t.replace(CONNECTED, 'blackhole 10.244.1.0/24 proto boot scope global \n$1'),
          files: {
            'cmdline/flanneld.txt':
              '# pid 812\n/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n--ip-blackhole-route\n',
          },
        }),
      },
      expect: [
        {
          cites: [
            'blackhole 10.244.1.0/24',
            'unicast 10.244.1.0/24 dev cni0',
            'inet 10.244.1.1/24',
            '--ip-blackhole-route',
          ],
        },
      ],
    },
    'the bridge’s route is of a larger metric': {
      nodes: {
        a: routingNode({
          edit: (t) =>
            t.replace(
              CONNECTED,
              'unreachable 10.244.1.0/24 proto static scope global metric 10 \nunicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 metric 100 ',
            ),
        }),
      },
      expect: [
        {
          key: 'unreachable 10.244.1.0/24',
          severity: 'critical',
          message: /unreachable 10\.244\.1\.0\/24 metric 10: it stands before/,
          cites: ['unreachable 10.244.1.0/24 proto static scope global metric 10', 'metric 100', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'a narrower one takes a pod that lives': {
      nodes: {
        a: routingNode({
          routes: ['prohibit 10.244.1.0/28 proto static scope global '],
          files: POD,
        }),
      },
      expect: [
        {
          severity: 'high',
          confidence: 'proven',
          message:
            /^a rejects packets to those containers on cni0 whose addresses are in it, as 10\.244\.1\.10, by the route prohibit 10\.244\.1\.0\/28: it is narrower/,
          cites: ['prohibit 10.244.1.0/28', 'unicast 10.244.1.0/24 dev cni0', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'a narrower one where no pod is known: little to say': {
      nodes: { a: routingNode({ routes: ['blackhole 10.244.1.128/25 proto static scope global '], files: POD }) },
      expect: [
        {
          severity: 'low',
          confidence: 'likely',
          cites: ['blackhole 10.244.1.128/25', 'unicast 10.244.1.0/24 dev cni0', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'the route of the bridge is gone, and a guard for the whole range takes its packets': {
      nodes: {
        a: routingNode({
          edit: (t) => t.replace(CONNECTED, 'blackhole 10.244.0.0/16 proto static scope global '),
        }),
      },
      expect: [
        {
          severity: 'critical',
          message: /by the route blackhole 10\.244\.0\.0\/16: cni0 has no route$/,
          cites: ['blackhole 10.244.0.0/16', 'inet 10.244.1.1/24'],
        },
      ],
    },
  },
  passes: {
    'no route rejects': { nodes: { a: routingNode({}) } },
    'a guard for the whole range, and one behind the bridge’s own': {
      nodes: {
        a: after(
          'blackhole 10.244.1.0/24 proto boot scope global ',
          'blackhole 10.244.0.0/16 proto static scope global ',
        ),
      },
    },
    'one of a larger metric listed first': {
      nodes: { a: before('unreachable 10.244.1.0/24 proto static scope global metric 4278198272 ') },
    },
    'blocks of Calico: a blackhole, and a route for every pod': {
      nodes: {
        a: {
          files: {
            ...routedNode('').files,
            'host/ip/route4.txt': `unicast default via 192.168.50.1 dev eth0 proto static scope global 
unicast 10.244.7.5 dev cali12d4a061371 proto boot scope link 
blackhole 10.244.7.0/26 proto bird scope global 
unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 
local 192.168.50.11 dev eth0 table local proto kernel scope host src 192.168.50.11 
`,
          },
        },
      },
    },
    'for addresses that are nobody’s': {
      nodes: {
        a: routingNode({
          routes: [
            'blackhole 10.244.1.0 proto static scope global ',
            'blackhole 10.0.0.0/8 proto static scope global ',
            'blackhole 203.0.113.7 proto static scope global ',
          ],
        }),
      },
    },
    'in another table': {
      nodes: { a: routingNode({ routes: ['blackhole 10.244.1.0/24 table 200 proto static scope global '] }) },
    },
  },
  notApplicable: {
    'no containers': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
`,
            'host/ip/route4.txt': 'blackhole 10.244.1.0/24 proto static scope global \n',
          },
        },
      },
    },
  },
  unknown: {
    'the routes were cut': {
      nodes: {
        a: {
          files: {
            ...routingNode({}).files,
            'host/ip/route4.txt': {
              status: 'truncated',
              text: 'unicast default via 192.168.50.100 dev eth0 proto boot scope global \nunicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \n',
            },
          },
        },
      },
    },
  },
});
