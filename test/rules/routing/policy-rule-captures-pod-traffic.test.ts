import { rule } from '../../../rules/routing/policy-rule-captures-pod-traffic.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';
import { MANGLE, partly, routingNode } from './nodes.ts';

const VPN_TABLE = ['unicast default dev vpn0 table 200 proto static scope link '];
/** A docker host without flannel. */
const dockerHost = (rules: string): NodeFiles => ({
  files: {
    'host/ip/addr.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 scope global eth0
       valid_lft forever preferred_lft forever
3: docker0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default 
    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0
       valid_lft forever preferred_lft forever
5: veth1@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master docker0 state UP group default 
    link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff link-netnsid 0
6: vpn0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN group default qlen 1000
    link/none 
    inet 10.8.0.2/32 scope global vpn0
       valid_lft forever preferred_lft forever
`,
    'host/ip/route4.txt': `unicast default via 192.168.50.1 dev eth0 proto static scope global 
unicast 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 
unicast 192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 
unicast default dev vpn0 table 200 proto static scope link 
local 172.17.0.1 dev docker0 table local proto kernel scope host src 172.17.0.1 
local 192.168.50.11 dev eth0 table local proto kernel scope host src 192.168.50.11 
`,
    'host/ip/rule4.txt': `0:\tfrom all lookup local\n${rules}32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n`,
    'host/sys/sysctl.txt': 'net/ipv4/ip_forward:1\nnet/ipv4/conf/all/rp_filter:0\n',
  },
});

testRule(rule, {
  finds: {
    'a VPN takes everything': {
      nodes: { a: routingNode({ rules: ['100:\tfrom all lookup 200'], routes: VPN_TABLE }) },
      expect: [
        {
          key: 'rule 100 200',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^ip rule 100 of a sends by vpn0 \(the default route of table 200\) packets of the node itself to its containers, packets from outside to its containers, packets of other nodes’ pods to its own, packets of its pods to those of other nodes, packets of the node itself to other nodes’ pods and the packets of flannel\.1 to other nodes before the main table is asked, which has them go by cni0, flannel\.1 and eth0$/,
          cites: ['100:\tfrom all lookup 200', 'unicast default dev vpn0 table 200', '10.244.1.0/24 dev cni0'],
        },
      ],
    },
    'what the VPN carries is left out by its mark, as wg-quick does, but not the routes of main': {
      nodes: {
        a: routingNode({ rules: ['32765:\tnot from all fwmark 0xca6c lookup 200'], routes: VPN_TABLE }),
      },
      expect: [{ key: 'rule 32765 200', cites: ['fwmark 0xca6c', 'default dev vpn0', '10.244.1.0/24 dev cni0'] }],
    },
    'rules of a second card send what pods send there': {
      nodes: {
        a: routingNode({
          rules: ['100:\tfrom 10.244.0.0/16 lookup 200'],
          routes: ['unicast default via 10.98.0.1 dev eth1 table 200 proto static scope global '],
        }),
      },
      expect: [
        {
          message:
            /by eth1 .* packets of other nodes’ pods to its own and packets of its pods to those of other nodes before/,
          cites: ['100:\tfrom 10.244.0.0/16 lookup 200', 'via 10.98.0.1 dev eth1 table 200', '10.244.1.0/24 dev cni0'],
        },
      ],
    },
    'a rule that rejects what the node itself sends to pods: probes fail': {
      nodes: { a: routingNode({ rules: ['50:\tfrom all to 10.0.0.0/8 iif lo prohibit'] }) },
      expect: [
        {
          key: 'rule 50 prohibit',
          message:
            /rejects \(prohibit\) packets of the node itself to its containers and packets of the node itself to other nodes’ pods/,
          cites: ['50:\tfrom all to 10.0.0.0/8 iif lo prohibit', '10.244.1.0/24 dev cni0'],
        },
      ],
    },
    'a kill switch: a route of the table that rejects': {
      nodes: {
        a: routingNode({
          rules: ['100:\tfrom all lookup 200'],
          routes: ['unreachable default table 200 proto static scope global metric 4278198272 '],
        }),
      },
      expect: [
        {
          message: /rejects by unreachable the default route of table 200/,
          cites: ['100:\tfrom all lookup 200', 'unreachable default table 200', '10.244.1.0/24 dev cni0'],
        },
      ],
    },
    'the overlay alone: what its nodes send one another goes into the tunnel of the VPN': {
      nodes: {
        a: routingNode({ rules: ['100:\tfrom all to 192.168.0.0/16 lookup 200'], routes: VPN_TABLE }),
      },
      expect: [
        {
          message:
            /^ip rule 100 of a sends by vpn0 \(the default route of table 200\) the packets of flannel\.1 to other nodes before the main table is asked, which has them go by eth0$/,
          cites: ['100:\tfrom all to 192.168.0.0/16', 'default dev vpn0', '192.168.50.0/24 dev eth0'],
        },
      ],
    },
    'docker without flannel': {
      nodes: { a: dockerHost('100:\tfrom all lookup 200\n') },
      expect: [
        {
          message: /packets of the node itself to its containers and packets from outside to its containers/,
          cites: ['100:\tfrom all lookup 200', 'default dev vpn0 table 200', '172.17.0.0/16 dev docker0'],
        },
      ],
    },
  },
  passes: {
    'the three usual rules': { nodes: { a: routingNode({}) } },
    'wg-quick: main first, but for its default route': {
      nodes: {
        a: routingNode({
          rules: [
            '32764:\tfrom all lookup main suppress_prefixlength 0',
            '32765:\tnot from all fwmark 0xca6c lookup 200',
          ],
          routes: VPN_TABLE,
        }),
      },
    },
    'exceptions for the pod range and the other nodes in front': {
      nodes: {
        a: routingNode({
          rules: [
            '1:\tfrom all to 10.244.0.0/16 lookup main',
            '1:\tfrom all to 192.168.50.0/24 lookup main',
            '100:\tfrom all lookup 200',
          ],
          routes: VPN_TABLE,
        }),
      },
    },
    'rules of a cloud for the addresses of the node': {
      nodes: {
        a: routingNode({
          rules: ['100:\tfrom 192.168.50.11 lookup 101', '110:\tfrom 10.98.0.5 lookup 102'],
          routes: [
            'unicast default via 192.168.50.1 dev eth0 table 101 proto static scope global ',
            'unicast default via 10.98.0.1 dev eth1 table 102 proto static scope global ',
          ],
        }),
      },
    },
    'a table without a route for pods': {
      nodes: {
        a: routingNode({
          rules: ['5270:\tfrom all lookup 52'],
          routes: ['unicast 100.64.0.7 dev vpn0 table 52 proto static scope link '],
        }),
      },
    },
    'a table that throws': {
      nodes: {
        a: routingNode({
          rules: ['5270:\tfrom all lookup 52'],
          routes: [
            'unicast default dev vpn0 table 52 proto static scope link ',
            'throw 10.244.0.0/16 table 52 proto static scope global ',
            'throw 192.168.50.0/24 table 52 proto static scope global ',
          ],
        }),
      },
    },
    'only what a mark singles out, and nobody marks': {
      nodes: { a: routingNode({ rules: ['100:\tfrom all fwmark 0x1 lookup 200'], routes: VPN_TABLE }) },
    },
    'what pods send to the outside goes elsewhere on purpose': {
      nodes: {
        a: routingNode({
          rules: ['90:\tfrom all to 10.244.0.0/16 lookup main', '100:\tfrom 10.244.1.0/24 lookup 200'],
          routes: VPN_TABLE,
        }),
      },
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
            'host/ip/route4.txt': 'unicast default via 192.168.50.1 dev eth0 proto static scope global \n',
            'host/ip/rule4.txt': '0:\tfrom all lookup local\n100:\tfrom all lookup 200\n32766:\tfrom all lookup main\n',
          },
        },
      },
    },
  },
  unknown: {
    'rules mark what pods send, and a rule leads the marked elsewhere (KubeSpan)': {
      nodes: {
        a: routingNode({
          rules: ['32500:\tfrom all fwmark 0x40/0x60 lookup 180'],
          routes: ['unicast default dev vpn0 table 180 proto static scope link '],
          files: {
            'host/fw/iptables-save.txt': MANGLE('[0:0] -A PREROUTING -d 10.244.0.0/16 -j MARK --set-xmark 0x40/0x60'),
          },
        }),
      },
      because: /with mark 0x40 away from the main table, and somebody marks them on purpose/,
    },
    'a table with routes for the very pods': {
      nodes: {
        a: routingNode({
          rules: ['100:\tfrom all lookup 200'],
          routes: ['unicast 10.244.2.0/24 dev vpn0 table 200 proto static scope link '],
        }),
      },
      because: /has a route of its own for packets of its pods to those of other nodes \(10\.244\.2\.0\/24 by vpn0\)/,
    },
    'where other nodes are beyond a router, the other way may lead there as well': {
      nodes: {
        a: routingNode({
          rules: ['100:\tfrom 192.168.50.11 lookup 200'],
          routes: VPN_TABLE,
          files: {
            'host/bridge/fdb.txt': '0e:00:00:00:00:02 dev flannel.1 dst 192.168.51.12 used 9/9 self permanent\n',
          },
        }),
      },
      because: /a route of its own for the packets of flannel\.1 to other nodes \(0\.0\.0\.0\/0 by vpn0\)/,
    },
    'the routes of the table were not collected': {
      nodes: {
        a: partly('host/ip/route4.txt', routingNode({ rules: ['100:\tfrom all lookup 200'] })),
      },
      because: /where packets of the node itself to its containers go is not known/,
    },
    'the list of rules was cut': { nodes: { a: partly('host/ip/rule4.txt', routingNode({})) } },
  },
});
