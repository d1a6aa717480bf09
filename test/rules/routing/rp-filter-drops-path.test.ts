import { rule } from '../../../rules/routing/rp-filter-drops-path.ts';
import { testRule } from '../../support/rule-table.ts';
import { MANGLE, routingNode } from './nodes.ts';

/** The forms of sysctl.txt: `all`, then eth0, eth1, flannel.1, cni0. */
const sysctls = (filters: Readonly<Record<string, number | null>>, more = ''): string =>
  `net/ipv4/ip_forward:1\n${Object.entries({ all: 0, eth0: 0, eth1: 0, 'flannel.1': 0, cni0: 0, ...filters })
    .flatMap(([dev, value]) => (value === null ? [] : [`net/ipv4/conf/${dev}/rp_filter:${value}\n`]))
    .join('')}${more}`;

const FDB = (...dst: string[]) =>
  dst.map((d, i) => `0e:00:00:00:00:0${i + 2} dev flannel.1 dst ${d} used 9/9 self permanent\n`).join('');

/** The second node has its end of the overlay on the second network. */
const mixed = (filters: Readonly<Record<string, number | null>>, routes: readonly string[] = []) =>
  routingNode({
    routes,
    files: { 'host/sys/sysctl.txt': sysctls(filters), 'host/bridge/fdb.txt': FDB('10.98.0.12') },
  });

/** What pods send to the outside gets a mark, and leaves by the second card. */
const marked = (filters: Readonly<Record<string, number | null>>, more = '') =>
  routingNode({
    rules: ['100:\tfrom all fwmark 0x1 lookup 100'],
    routes: ['unicast default via 10.98.0.1 dev eth1 table 100 proto static scope global '],
    files: {
      'host/sys/sysctl.txt': sysctls(filters, more),
      'host/fw/iptables-save.txt': MANGLE(
        '[0:0] -A PREROUTING ! -d 10.244.0.0/16 -i cni0 -j MARK --set-xmark 0x1/0xffffffff',
      ),
    },
  });

testRule(rule, {
  finds: {
    'a node whose end is on the other network': {
      nodes: { a: mixed({ eth0: 1 }) },
      expect: [
        {
          key: 'overlay eth0',
          severity: 'high',
          confidence: 'likely',
          nodes: ['a'],
          message:
            /^a drops what other nodes send to flannel\.1: rp_filter is strict on eth0, where packets of 10\.98\.0\.12 arrive, and the route back leads by eth1$/,
          cites: ['net/ipv4/conf/eth0/rp_filter:1', '10.98.0.0/24 dev eth1'],
        },
      ],
    },
    'strict for all devices': {
      nodes: { a: mixed({ all: 1 }) },
      expect: [{ key: 'overlay eth0', cites: ['net/ipv4/conf/all/rp_filter:1', '10.98.0.0/24 dev eth1'] }],
    },
    'the answers to what marks send by the second card': {
      nodes: { a: marked({ eth1: 1 }) },
      expect: [
        {
          key: 'answers eth1',
          message:
            /^a drops answers from outside to containers on cni0: rp_filter is strict on eth1, where packets of addresses outside arrive, and the route back leads by eth0$/,
          cites: ['net/ipv4/conf/eth1/rp_filter:1', 'unicast default via 192.168.50.100 dev eth0'],
        },
      ],
    },
    'no route back at all, and a loose filter': {
      nodes: {
        a: routingNode({
          edit: (t) => t.replace(/^unicast default .*\n/m, ''),
          files: {
            'host/sys/sysctl.txt': sysctls({ eth0: 2 }),
            'host/bridge/fdb.txt': FDB('192.168.77.12'),
          },
        }),
      },
      expect: [
        {
          key: 'overlay eth0',
          message: /rp_filter is loose on eth0, where packets of 192\.168\.77\.12 arrive, and there is no route back$/,
          cites: ['net/ipv4/conf/eth0/rp_filter:2'],
        },
      ],
    },
  },
  passes: {
    'strict on a node with one way (default of RHEL)': {
      nodes: {
        a: routingNode({ files: { 'host/sys/sysctl.txt': sysctls({ all: 1, eth0: 1, 'flannel.1': 1, cni0: 1 }) } }),
      },
    },
    'two networks, and a filter that is loose or off': {
      nodes: { a: mixed({ eth0: 2 }), b: mixed({}), c: mixed({ all: 1, eth0: 2 }) },
    },
    'strict on the device that packets leave by as well': {
      nodes: { a: mixed({ eth1: 1 }, ['unicast 10.98.0.12 via 192.168.50.100 dev eth0 proto static scope global ']) },
    },
    'marks, and a loose filter': { nodes: { a: marked({ all: 1, eth1: 2 }) } },
    'a rule by source: the filter asks it as well': {
      nodes: {
        a: routingNode({
          rules: ['90:\tfrom all to 10.244.0.0/16 lookup main', '100:\tfrom 10.244.1.0/24 lookup 100'],
          routes: ['unicast default via 10.98.0.1 dev eth1 table 100 proto static scope global '],
          files: { 'host/sys/sysctl.txt': sysctls({ all: 1 }) },
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
            'host/sys/sysctl.txt': sysctls({ all: 1 }),
          },
        },
      },
    },
  },
  unknown: {
    'the way back is a tunnel: packets may well arrive there': {
      nodes: { a: mixed({ eth0: 1 }, ['unicast 10.98.0.12 dev vpn0 proto static scope link ']) },
      because:
        /the route back to 10\.98\.0\.12 leads into vpn0: whether what other nodes send to flannel\.1 arrive there or on eth0/,
    },
    'the filter of the device was not collected': {
      nodes: { a: mixed({ eth0: null }) },
      because: /conf\/eth0\/rp_filter|rp_filter/,
    },
    'marks that connections keep may count': {
      nodes: { a: marked({ eth1: 1 }, 'net/ipv4/conf/eth1/src_valid_mark:1\n') },
      because: /src_valid_mark is set/,
    },
    'routes were cut': {
      nodes: {
        a: {
          files: {
            ...mixed({ eth0: 1 }).files,
            'host/ip/route4.txt': {
              status: 'truncated',
              text: 'unicast default via 192.168.50.100 dev eth0 proto boot scope global \nunicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \n',
            },
          },
        },
      },
      because: /whether eth0 takes what other nodes send to flannel\.1: .*was not collected whole/,
    },
    'a VRF': {
      nodes: {
        a: routingNode({
          rules: ['1000:\tfrom all lookup [l3mdev-table]'],
          files: { 'host/sys/sysctl.txt': sysctls({ eth0: 1 }), 'host/bridge/fdb.txt': FDB('10.98.0.12') },
        }),
      },
      because: /may be in a VRF/,
    },
  },
});
