import { describe, expect, it } from 'vitest';
import { rule as differs } from '../../../rules/mtu/mtu-differs-across-nodes.ts';
import { rule } from '../../../rules/mtu/overlay-mtu-too-large.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { mtuNode, withFiles } from './nodes.ts';

const a = { n: 1, peers: [2, 3] };
const LINK = 'host/ip/link.txt';
const ADDR = 'host/ip/addr.txt';
const ROUTES = 'host/ip/route4.txt';
const FDB = 'host/bridge/fdb.txt';
const ENV = 'files/run/flannel/subnet.env';
const text = (node: NodeFiles, path: string) => node.files[path] as string;
/** eth0 lost 100 bytes after flannel.1 was made (V37). */
const shrunk = mtuNode(a, { eth0: 1400 });

const routes = (edit: (t: string) => string) => ({ [ROUTES]: edit(text(overlayNode(a), ROUTES)) });
const onRoute = routes((t) => `${t}unicast 192.168.50.12 dev eth0 proto static scope link mtu 1400 \n`);

const lo = `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0
`;
const eth = (mtu: number, name = 'eth0', kind = '') =>
  `2: ${name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu ${mtu} qdisc fq_codel state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 ${kind === '' ? '' : `\n    ${kind}`}
`;
const vxlan = (name: string, mtu: number, how: string, flags = 'UP,LOWER_UP', more = '') =>
  `7: ${name}: <BROADCAST,MULTICAST,${flags}> mtu ${mtu} qdisc noqueue ${more}state UNKNOWN mode DEFAULT group default qlen 1000
    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    vxlan ${how} srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx 
`;
const wg = (
  mtu: number,
) => `8: flannel-wg: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu ${mtu} qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/none  promiscuity 0  allmulti 0 minmtu 0 maxmtu 2147483552 
    wireguard addrgenmode none numtxqueues 1 numrxqueues 1 
`;
const ipip = (
  mtu: number,
) => `9: flannel.ipip@NONE: <NOARP,UP,LOWER_UP> mtu ${mtu} qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/ipip 192.168.50.11 brd 0.0.0.0 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0 
    ipip any remote any local 192.168.50.11 ttl inherit nopmtudisc 
`;
const tun = (
  mtu: number,
) => `9: flannel0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu ${mtu} qdisc fq_codel state UNKNOWN mode DEFAULT group default qlen 500
    link/none  promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    tun type tun pi off vnet_hdr off persist off addrgenmode random 
`;
const inet = (address: string, dev = 'eth0') =>
  `2: ${dev}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet${address.includes(':') ? '6' : ''} ${address} scope global ${dev}
       valid_lft forever preferred_lft forever
`;
const only = (...links: string[]): NodeFiles => ({ files: { [LINK]: lo + links.join('') } });
const main = (...lines: string[]) => ({
  [ROUTES]: `${lines.map((l) => `unicast ${l}`).join('\n')}\nlocal 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 \n`,
  'host/ip/rule4.txt': text(overlayNode(a), 'host/ip/rule4.txt'),
});
const iface = { 'cmdline/flanneld.txt': '/opt/bin/flanneld\n--kube-subnet-mgr\n--iface=eth0\n' };

const announced = (n: number) =>
  `{"kind":"Node","metadata":{"name":"node-${n}","annotations":{"flannel.alpha.coreos.com/public-ip":"192.168.50.1${n}"}},"spec":{"podCIDR":"10.244.${n}.0/24"}}`;
const ANNOUNCED = `{"apiVersion":"v1","kind":"List","items":[${announced(1)},${announced(2)}]}\n`;

/** `ip addr` without details of Calico's device. */
const calico = (name: string, mtu: number, underlay: number) =>
  `${lo.replace(' mode DEFAULT', '').replace(' promiscuity 0', '')}${inet('192.168.50.11/24').replace('mtu 1500', `mtu ${underlay}`)}5: ${name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu ${mtu} qdisc noqueue state UNKNOWN group default qlen 1000
    link/ether 66:aa:bb:cc:dd:01 brd ff:ff:ff:ff:ff:ff
`;
const calicoTables = {
  ...main(
    'default via 192.168.50.1 dev eth0 proto static',
    '192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11',
    '10.233.2.0/26 via 10.233.2.0 dev vxlan.calico proto 80 scope global onlink',
  ),
  [FDB]: '66:aa:bb:cc:dd:02 dev vxlan.calico dst 192.168.50.12 self permanent\n',
};

const clampTo = (how: string, where = '') => ({
  'host/fw/iptables-save.txt': `*mangle\n:FORWARD ACCEPT [0:0]\n[0:0] -A FORWARD ${where}-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS ${how}\nCOMMIT\n`,
});
/** The NIC is a port of br0, which holds the address; measured: a port drops what is larger than its own MTU. */
const bridged = (port: number, more = '') =>
  withFiles(
    only(
      eth(1500, 'br0', 'bridge forward_delay 1500 hello_time 200'),
      eth(port, 'enp1s0').replace('2: ', '3: ').replace(' state UP', ' master br0 state UP'),
      more,
      vxlan('flannel.1', 1450, 'id 1 local 192.168.50.11 dev br0'),
    ),
    main('10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink '),
  );

testRule(rule, {
  finds: {
    'the NIC below a bridge that keeps its own MTU': {
      nodes: { a: bridged(1400) },
      expect: [
        {
          key: 'flannel.1 over enp1s0',
          severity: 'high',
          message:
            /leave by br0 and its port enp1s0 with MTU 1400: that leaves room for 1350, larger ones are dropped there without a word$/,
          cites: ['flannel.1', 'enp1s0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400'],
        },
      ],
    },
    'TCP of pods is held to what fits': {
      nodes: { a: withFiles(shrunk, clampTo('--set-mss 1300')) },
      expect: [
        {
          severity: 'medium',
          message: /TCP of pods is held to segments of 1300/,
          cites: ['flannel.1', ' mtu 1400 ', '192.168.50.0/24', 'dst 192.168.50.12', '--set-mss 1300'],
        },
      ],
    },
    'a clamp to the path MTU takes that of the overlay (measured), and one with -o holds the other side': {
      nodes: {
        a: withFiles(shrunk, clampTo('--clamp-mss-to-pmtu')),
        b: withFiles(shrunk, clampTo('--set-mss 1300', '-o flannel.1 ')),
      },
      expect: ['a', 'b'].map((n) => ({
        severity: 'high' as const,
        nodes: [n],
        message: /filtered$/,
        cites: ['flannel.1', ' mtu 1400 ', '192.168.50.0/24', 'dst 192.168.50.12'],
      })),
    },
    'Calico’s, without details, over a NIC of OpenStack': {
      nodes: { a: { files: { [ADDR]: calico('vxlan.calico', 1450, 1450), ...calicoTables } } },
      expect: [
        {
          key: 'vxlan.calico over eth0',
          severity: 'high',
          cites: ['5: vxlan.calico', '2: eth0', '192.168.50.0/24 dev eth0', 'dst 192.168.50.12'],
        },
      ],
    },
    'the NIC has less than it had (V37)': {
      nodes: { a: shrunk },
      expect: [
        {
          key: 'flannel.1 over eth0',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /flannel\.1 on a has MTU 1450, but its packets leave by eth0 with MTU 1400: that leaves room for 1350, .* fragments/,
          cites: [
            'flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450',
            ' mtu 1400 ',
            '192.168.50.0/24 dev eth0',
            'dst 192.168.50.12',
          ],
        },
      ],
    },
    'pods were recreated with what fits': {
      nodes: { a: mtuNode(a, { eth0: 1400, pods: 1350, env: 1350 }) },
      expect: [
        {
          severity: 'medium',
          message: /pods there have at most 1350/,
          cites: [
            'flannel.1',
            'mtu 1400',
            '192.168.50.0/24',
            'dst 192.168.50.12',
            'veth1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1350',
          ],
        },
        {
          key: 'FLANNEL_MTU of flannel.1',
          severity: 'low',
          message: /packets of new pods fit/,
          cites: ['FLANNEL_MTU=1350', 'mtu 1450'],
        },
      ],
    },
    'a route to one peer has less': {
      nodes: { a: withFiles(overlayNode(a), onRoute) },
      expect: [
        {
          key: 'flannel.1 over eth0 by a route with 1400',
          message: /the route to 1 of 2 peers by eth0 allows 1400/,
          cites: [
            'mtu 1450',
            'eth0@if9',
            '192.168.50.12 dev eth0 proto static scope link mtu 1400',
            'dst 192.168.50.12',
          ],
        },
      ],
    },
    'the packets leave by a VPN with less, whatever device flannel was given': {
      nodes: {
        a: withFiles(
          mtuNode(a, {}, (t) =>
            `${t}${eth(1420, 'kubespan', 'wireguard addrgenmode none')}`.replace('2: kubespan', '12: kubespan'),
          ),
          routes((t) => `${t}unicast 192.168.50.12 dev kubespan proto static scope link \n`),
        ),
      },
      expect: [
        {
          key: 'flannel.1 over kubespan',
          message: /to 1 of 2 peers leave by kubespan with MTU 1420.* room for 1370/,
          cites: ['flannel.1', 'kubespan', '192.168.50.12 dev kubespan', 'dst 192.168.50.12'],
        },
      ],
    },
    'only ip -d link came': {
      nodes: { a: { files: { [LINK]: text(shrunk, LINK) } } },
      expect: [{ severity: 'high', confidence: 'proven', cites: ['mtu 1450', 'mtu 1400'] }],
    },
    'no route leaves by it: latent': {
      nodes: { a: withFiles(mtuNode({ n: 1, peers: [] }, { eth0: 1400 }), {}) },
      expect: [{ severity: 'low', message: /no route leaves by it yet/, cites: ['mtu 1450', 'mtu 1400'] }],
    },
    'IPv6 outside takes 70': {
      nodes: { a: only(eth(1500), vxlan('flannel-v6.1', 1450, 'id 1 local fd00::11 dev eth0')) },
      expect: [{ message: /leaves room for 1430/, cites: ['local fd00::11', 'mtu 1500'] }],
    },
    'the device that holds its local address': {
      nodes: {
        a: withFiles(only(eth(1400), vxlan('flannel.1', 1450, 'id 1 local 192.168.50.11')), {
          [ADDR]: inet('192.168.50.11/24'),
        }),
      },
      expect: [{ severity: 'high', confidence: 'likely', cites: ['local 192.168.50.11', 'mtu 1400'] }],
    },
    'a VLAN device on a bond': {
      nodes: {
        a: only(
          eth(9000, 'bond0', 'bond mode 802.3ad'),
          eth(1400, 'bond0.7@bond0', 'vlan protocol 802.1Q id 7 <REORDER_HDR>'),
          vxlan('flannel.1', 1450, 'id 1 dev bond0.7'),
        ),
      },
      expect: [
        {
          key: 'flannel.1 over bond0.7',
          cites: ['flannel.1', 'bond0.7@bond0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400'],
        },
      ],
    },
    'df set: nothing larger leaves': {
      nodes: { a: only(eth(1400), vxlan('flannel.1', 1450, 'id 1 dev eth0 df set')) },
      expect: [{ message: /larger ones do not leave$/, cites: ['df set', 'mtu 1400'] }],
    },
    'ipip takes 20, by the next hops': {
      nodes: {
        a: withFiles(
          only(eth(1480), ipip(1480)),
          main(
            '10.244.2.0/24 via 192.168.50.12 dev flannel.ipip proto boot scope global onlink ',
            '192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 ',
          ),
        ),
      },
      expect: [
        {
          severity: 'medium',
          confidence: 'proven',
          message: /room for 1460, senders .* ICMP/,
          cites: ['flannel.ipip', 'mtu 1480', '192.168.50.0/24 dev eth0', 'via 192.168.50.12'],
        },
      ],
    },
    'wireguard takes 60, its device by the flag --iface': {
      nodes: { a: withFiles(only(eth(1400), wg(1420)), iface) },
      expect: [
        {
          severity: 'high',
          confidence: 'likely',
          message: /room for 1340/,
          cites: ['flannel-wg', 'mtu 1400', '--iface=eth0'],
        },
      ],
    },
    'flannel’s UDP takes 28': {
      nodes: { a: withFiles(only(eth(1400), tun(1472)), iface) },
      expect: [{ message: /room for 1372/, cites: ['flannel0', 'mtu 1400', '--iface=eth0'] }],
    },
    'somebody’s bridged VXLAN that was made without a device': {
      nodes: {
        a: withFiles(
          only(eth(1500), vxlan('vxlan100', 1500, 'id 100 local 192.168.50.11', 'UP,LOWER_UP', 'master br100 ')),
          { [ADDR]: inet('192.168.50.11/24') },
        ),
      },
      expect: [{ severity: 'medium', confidence: 'likely', cites: ['vxlan100', 'mtu 1500'] }],
    },
    'FLANNEL_MTU above the device’s': {
      nodes: { a: mtuNode(a, { eth0: 9000, env: 8950 }) },
      expect: [
        {
          key: 'FLANNEL_MTU of flannel.1',
          severity: 'medium',
          confidence: 'proven',
          message: /is 8950, but flannel\.1 has MTU 1450/,
          cites: ['FLANNEL_MTU=8950', 'mtu 1450'],
        },
      ],
    },
  },
  passes: {
    'a bridge over a NIC that takes as much, and a guest’s device with less': {
      nodes: {
        a: bridged(1500, eth(1400, 'vnet0').replace('2: ', '4: ').replace(' state UP', ' master br0 state UP')),
      },
    },
    'left of vxlan, and FLANNEL_MTU is host-gw’s': {
      nodes: {
        a: withFiles(mtuNode(a, { env: 1500 }), {
          ...routes((t) =>
            t.replace(/via 10\.244\.(\d)\.0 dev flannel\.1(.*) onlink/g, 'via 192.168.50.1$1 dev eth0$2'),
          ),
        }),
      },
    },
    'it fits exactly': { nodes: { a: overlayNode(a) } },
    'a jumbo underlay under a usual overlay': { nodes: { a: mtuNode(a, { eth0: 9000 }) } },
    'an overlay far smaller than it has to be': { nodes: { a: mtuNode(a, { flannel: 1200, pods: 1200, env: 1200 }) } },
    'pods larger than the overlay are another rule’s': { nodes: { a: mtuNode(a, { pods: 1500 }) } },
    'a default route with less is not the way to peers': {
      nodes: {
        a: withFiles(
          overlayNode(a),
          routes((t) =>
            t.replace('default via 192.168.50.100 dev eth0', 'default via 192.168.50.100 dev eth0 mtu 1400'),
          ),
        ),
      },
    },
    'the device that it was made on shrank, its packets leave by another': {
      nodes: {
        a: withFiles(
          mtuNode(a, { eth0: 1400 }, (t) => `${t}${eth(1500, 'eth1')}`.replace('2: eth1', '12: eth1')),
          routes((t) => t.replace('192.168.50.0/24 dev eth0', '192.168.50.0/24 dev eth1')),
        ),
      },
    },
    'an old device that flanneld left behind does not count': {
      nodes: { a: mtuNode(a, {}, (t) => `${t}${vxlan('flannel.7', 8950, 'id 7 local 192.168.50.11 dev eth0')}`) },
    },
    'dual stack: the IPv6 device is smaller than FLANNEL_MTU': {
      nodes: {
        a: mtuNode(
          a,
          {},
          (t) => `${t}${vxlan('flannel-v6.1', 1430, 'id 1 local fd00::11 dev eth0').replace('7:', '17:')}`,
        ),
      },
    },
    'wireguard with flannel’s 80 over IPv4': { nodes: { a: withFiles(only(eth(1500), wg(1420)), iface) } },
    'wireguard with all that IPv4 leaves, to peers that flannel announces': {
      nodes: {
        a: withFiles(only(eth(1500), wg(1440)), {
          ...main(
            '10.244.0.0/16 dev flannel-wg scope link ',
            '192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 ',
          ),
          [ADDR]: inet('192.168.50.11/24'),
          'k8s/nodes.json': ANNOUNCED,
        }),
      },
    },
    'no subnet.env': { nodes: { a: withFiles(overlayNode(a), { [ENV]: { status: 'absent' } }) } },
    'swarm’s VXLAN with no lower device, by its forwarding entries': {
      nodes: {
        a: withFiles(
          only(eth(1500), vxlan('vx-001001-abcde', 1450, 'id 4097', 'UP,LOWER_UP', 'master ov-001001-abcde ')),
          {
            ...main('192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 '),
            [FDB]: '02:42:0a:00:00:05 dev vx-001001-abcde dst 192.168.50.12 self permanent\n',
          },
        ),
      },
    },
  },
  notApplicable: {
    'Cilium’s, without details': { nodes: { a: { files: { [ADDR]: calico('cilium_vxlan', 1500, 1500) } } } },
    'no overlay device': { nodes: { a: only(eth(1500)) } },
    'the overlay device is down': { nodes: { a: only(eth(1400), vxlan('flannel.1', 1450, 'id 1 dev eth0', 'NOARP')) } },
    'Cilium keeps a large MTU on its device, routes have the small one': {
      nodes: { a: only(eth(1500), vxlan('cilium_vxlan', 1500, 'external id 0')) },
    },
    'somebody’s WireGuard': { nodes: { a: only(eth(1400), wg(1420).replace('flannel-wg', 'wg0')) } },
    'tunl0 of the module, which nobody uses': {
      nodes: { a: only(eth(1400), ipip(1480).replace('flannel.ipip', 'tunl0').replace('NOARP,UP,LOWER_UP', 'NOARP')) },
    },
  },
  unknown: {
    'a card of a bond has less than the bond': {
      nodes: {
        a: only(
          eth(1500, 'bond0', 'bond mode active-backup'),
          eth(1500, 'eth0').replace('2: ', '3: ').replace(' state UP', ' master bond0 state UP'),
          eth(1400, 'eth1').replace('2: ', '4: ').replace(' state UP', ' master bond0 state UP'),
          vxlan('flannel.1', 1450, 'id 1 dev bond0'),
        ),
      },
      because: /eth1 of bond0 has MTU 1400: whether its packets leave by that/,
    },
    'wireguard whose peers are not told, and a route with less': {
      nodes: {
        a: withFiles(only(eth(1500), wg(1420)), {
          ...iface,
          ...main(
            'default via 192.168.50.1 dev eth0 proto static mtu 1400',
            '10.244.0.0/16 dev flannel-wg scope link ',
          ),
        }),
      },
      because: /the route to 0\.0\.0\.0\/0 by eth0 allows 1400, and whether peers are behind it is not told/,
    },
    'no lower device, no address, no peers': {
      nodes: { a: only(eth(1500), vxlan('vx-001001-abcde', 1450, 'id 4097')) },
      because: /nothing collected names its lower device/,
    },
    'wireguard that would fit over IPv4 only': {
      nodes: { a: withFiles(only(eth(1500), wg(1440)), iface) },
      because: /over IPv4 it does, over IPv6 not/,
    },
    'its address is on lo, as routers have it': {
      nodes: {
        a: withFiles(only(eth(1500), vxlan('vxlan100', 1500, 'id 100 local 10.255.0.1')), {
          [ADDR]: inet('10.255.0.1/32', 'lo'),
        }),
      },
      because: /on lo, which no packet leaves by/,
    },
    'its lower device is down': {
      nodes: { a: only(eth(1500).replace(',UP,LOWER_UP', ''), vxlan('flannel.1', 1450, 'id 1 dev eth0')) },
      because: /eth0 under it is down/,
    },
    'its lower device is in another namespace': {
      nodes: { a: only(eth(1500), vxlan('flannel.1', 1450, 'id 1 dev if5')) },
      because: /if5 is not listed/,
    },
    'Weave’s, of which the details did not come': {
      nodes: {
        a: withFiles(
          {
            files: {
              'host/ip/link.json': JSON.stringify([
                {
                  ifindex: 2,
                  ifname: 'eth0',
                  flags: ['BROADCAST', 'UP'],
                  mtu: 1500,
                  operstate: 'UP',
                  link_type: 'ether',
                },
                {
                  ifindex: 7,
                  ifname: 'vxlan-6784',
                  flags: ['BROADCAST', 'UP'],
                  mtu: 65535,
                  operstate: 'UNKNOWN',
                  link_type: 'ether',
                  linkinfo: { info_kind: 'vxlan' },
                },
              ]),
            },
          },
          {
            ...main('192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.11 '),
            [FDB]: '02:42:0a:00:00:05 dev vxlan-6784 dst 192.168.50.12 self permanent\n',
          },
        ),
      },
      because: /nothing collected names its lower device/,
    },
    'busybox tells no details, and nothing else does': {
      nodes: {
        a: {
          files: {
            [ADDR]: `${lo.replace(/ promiscuity.*/, '')}7: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue \n    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    inet 10.244.1.0/32 scope global flannel.1\n       valid_lft forever preferred_lft forever\n`,
          },
        },
      },
    },
    'two flannel devices, and the routes did not come': {
      nodes: {
        a: only(eth(1500), vxlan('flannel.1', 1450, 'id 1 dev eth0'), vxlan('flannel.7', 8950, 'id 7 dev eth0')),
      },
      because: /which of the node’s flannel devices is in use/,
    },
    'the list of devices was cut off': {
      nodes: { a: { files: { [LINK]: { status: 'truncated', text: lo } } } },
      because: /not collected whole/,
    },
  },
});

describe('beside mtu-differs-across-nodes', () => {
  it('a NIC that shrank on one node is the cause of the difference', () => {
    const nodes = { a: shrunk, b: overlayNode({ n: 2, peers: [1, 3] }), c: overlayNode({ n: 3, peers: [1, 2] }) };
    const { causes, findings } = judge([rule, differs], nodes);
    expect(findings.map((f) => `${f.severity} ${f.rule} ${f.nodes}`)).toEqual([
      'high overlay-mtu-too-large a',
      'medium mtu-differs-across-nodes a',
    ]);
    expect(causes.map((c) => c.finding)).toEqual([findings[0]?.id]);
    expect(causes[0]?.explains).toEqual([findings[1]?.id]);
  });
});

describe('what is pasted', () => {
  const steps = (node: NodeFiles) => judge([rule], { a: node }).findings[0]?.remediation ?? [];
  it('flannel is a part of k3s, and of Canal in rke2: its device is not removed for nothing', () => {
    const run = (files: NodeFiles['files']) => steps(withFiles(shrunk, files)).at(-1)?.run;
    expect(run({ 'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n' })).toBe(
      'ip link del flannel.1; systemctl restart k3s',
    );
    expect(run({ 'cmdline/k3s.txt': '/usr/local/bin/k3s agent\n' })).toMatch(/systemctl restart k3s-agent$/);
    expect(run({ 'cmdline/rke2.txt': '/usr/local/bin/rke2 agent\n' })).toMatch(
      /-n kube-system delete pod -l k8s-app=canal/,
    );
    expect(run({})).toMatch(/kubectl delete pod -A -l app=flannel --field-selector spec\.nodeName=a /);
  });
  it('Calico sets its device back to what it was told', () => {
    const [first, second] = steps({ files: { [ADDR]: calico('vxlan.calico', 1450, 1450), ...calicoTables } });
    expect(first?.run).toContain('{"spec":{"calicoNetwork":{"mtu":1400}}}');
    expect(second).toBeUndefined();
  });
  it('over IPv6 nothing becomes fragments, and pings are larger by the header', () => {
    const six = only(eth(1500), vxlan('flannel-v6.1', 1450, 'id 1 local fd00::11 dev eth0'));
    const [found] = judge([rule], { a: six }).findings;
    expect(found?.message).toMatch(/room for 1430, senders of larger ones have to be told by ICMP/);
    expect(found?.remediation?.[0]?.verify).toMatch(/^ping -6 -M do -s 1382 /);
  });
  it('names out of bundles are words', () => {
    const name = 'flannel.$(id)';
    const node = only(eth(1400), vxlan(name, 1450, 'id 1 dev eth0'));
    const [found] = judge([rule], { a: node }).findings;
    const run = found?.remediation?.map((r) => `${r.run} ${r.undo}`).join('\n');
    expect(run).toContain(`ip link set 'flannel.$(id)' mtu 1350`);
    expect(run?.replaceAll(`'flannel.$(id)'`, '')).not.toContain('$(id)');
  });

  it('without links and addresses: missing', () => {
    const result = judge([rule], { a: { files: { [ENV]: text(shrunk, ENV) } } });
    expect(result.matrix[rule.id]?.['a']).toBe('missing');
  });
});
