import { rule } from '../../../rules/forwarding/interface-forwarding-disabled.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { testRule } from '../../support/rule-table.ts';
import { SIX_ONLY } from './nodes.ts';

/** A node with a second network card. */
const twoCards = (routes: string, eth1 = '0', rules?: string) =>
  overlayNode({
    n: 1,
    peers: [2],
    files: {
      'host/ip/addr.txt': `${TWO_CARDS}`,
      'host/ip/route4.txt': `${routes}\nunicast 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1 \nunicast 10.244.2.0/24 via 10.244.2.0 dev flannel.1 proto boot scope global onlink \nunicast 10.98.0.0/24 dev eth1 proto kernel scope link src 10.98.0.5 \nlocal 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 \n`,
      'host/sys/sysctl.txt': `net/ipv4/ip_forward:1\nnet/ipv4/conf/eth0/forwarding:1\nnet/ipv4/conf/flannel.1/forwarding:1\nnet/ipv4/conf/cni0/forwarding:1\n${eth1 === '' ? '' : `net/ipv4/conf/eth1/forwarding:${eth1}\n`}`,
      'host/ip/rule4.txt': `0:\tfrom all lookup local\n${rules ?? ''}32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n`,
    },
  });

const TWO_CARDS = `${overlayNode({ n: 1, peers: [] }).files['host/ip/addr.txt']}6: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:02:01 brd ff:ff:ff:ff:ff:ff
    inet 10.98.0.5/24 scope global eth1
       valid_lft forever preferred_lft forever
`;
const ETH0 = 'unicast default via 192.168.50.1 dev eth0 proto static scope global ';

testRule(rule, {
  finds: {
    'flannel0 of the backend udp off': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [],
          files: {
            'host/ip/route4.txt': 'unicast 10.244.0.0/16 dev flannel0 proto kernel scope link src 10.244.1.0 \n',
            'host/sys/sysctl.txt': [
              'ip_forward:1',
              'conf/cni0/forwarding:1',
              'conf/flannel.1/forwarding:1',
              'conf/flannel0/forwarding:0',
            ]
              .map((l) => `net/ipv4/${l}\n`)
              .join(''),
          },
        }),
      },
      expect: [
        {
          key: 'flannel0',
          message: /off on flannel0 \(overlay device\)/,
          cites: ['flannel0/forwarding:0', 'dev flannel0'],
        },
      ],
    },
    'tunl0 of Calico off': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [],
          files: {
            'host/ip/route4.txt':
              'unicast 10.244.2.64/26 via 192.168.50.12 dev tunl0 proto bird scope global onlink \n',
            'host/sys/sysctl.txt': [
              'ip_forward:1',
              'conf/cni0/forwarding:1',
              'conf/flannel.1/forwarding:1',
              'conf/tunl0/forwarding:0',
            ]
              .map((l) => `net/ipv4/${l}\n`)
              .join(''),
          },
        }),
      },
      expect: [{ key: 'tunl0', cites: ['tunl0/forwarding:0', 'dev tunl0'] }],
    },
    'a policy rule sends pods’ packets by another card, and that is off (measured: no answer comes back)': {
      nodes: {
        a: twoCards(
          `${ETH0}\nunicast default via 10.98.0.1 dev eth1 table 100 proto static scope global `,
          '0',
          '100:\tfrom 10.244.1.0/24 lookup 100\n',
        ),
      },
      expect: [
        {
          key: 'eth1',
          message: /off on eth1 \(uplink of cni0\)/,
          cites: ['eth1/forwarding:0', 'default via 10.98.0.1 dev eth1 table 100'],
        },
      ],
    },
    'one of two next hops of the default route': {
      nodes: {
        a: twoCards(
          'unicast default proto static scope global \n\tnexthop via 192.168.50.1 dev eth0 weight 1 \n\tnexthop via 10.98.0.1 dev eth1 weight 1 ',
        ),
      },
      expect: [
        { key: 'eth1', message: /off on eth1 \(uplink \(default route\)\)/, cites: ['eth1/forwarding:0', 'default'] },
      ],
    },
    'whether pods talk to the network of another card is not told: it may be closed on purpose, and is a note': {
      nodes: {
        a: twoCards(`${ETH0}\nunicast 10.99.0.0/16 via 10.98.0.1 dev eth1 proto static scope global `),
      },
      expect: [
        {
          key: 'aside',
          severity: 'info',
          message:
            /^eth1 \(10\.99\.0\.0\/16, 10\.98\.0\.0\/24\) of a does not forward: containers get no answers from there/,
          cites: ['eth1/forwarding:0', '10.99.0.0/16 via 10.98.0.1 dev eth1'],
        },
      ],
    },
    'docker publishes a port on the address of the other card (measured: nobody reaches it)': {
      nodes: {
        a: {
          files: {
            ...twoCards(ETH0).files,
            'docker/containers.jsonl': `${JSON.stringify({ Id: 'c'.repeat(64), Name: '/web', State: { Status: 'running', Pid: 7 }, NetworkSettings: { Ports: { '80/tcp': [{ HostIp: '10.98.0.5', HostPort: '8080' }] }, Networks: { bridge: { IPAddress: '172.17.0.2' } } } })}\n`,
          },
        },
      },
      expect: [
        {
          key: 'eth1',
          severity: 'high',
          message: /off on eth1 \(docker publishes 10\.98\.0\.5:8080 of web\)/,
          cites: ['eth1/forwarding:0', '"HostIp":"10.98.0.5"'],
        },
      ],
    },
    'flannel.1 off while ip_forward is 1': {
      nodes: { b: overlayNode({ n: 2, peers: [1], flannelForwarding: '0' }) },
      expect: [
        {
          key: 'flannel.1',
          severity: 'high',
          nodes: ['b'],
          cites: ['net/ipv4/conf/flannel.1/forwarding:0', '3: flannel.1:'],
        },
      ],
    },
    'cni0 off': {
      nodes: { b: overlayNode({ n: 2, peers: [1], cniForwarding: '0' }) },
      expect: [{ key: 'cni0', cites: ['net/ipv4/conf/cni0/forwarding:0', '4: cni0:'] }],
    },
  },
  passes: {
    'all on': { nodes: { a: overlayNode({ n: 1, peers: [2] }) } },
    'no routes came, and all devices forward': {
      nodes: { a: overlayNode({ n: 1, peers: [2], files: { 'host/ip/route4.txt': { status: 'absent' } } }) },
    },
    'a device that flanneld left behind': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2],
          files: {
            'host/ip/link.txt': `${overlayNode({ n: 1, peers: [] }).files['host/ip/link.txt']}7: flannel.7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default \n    link/ether 0e:00:00:00:07:01 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 \n    vxlan id 7 local 192.168.50.11 dev eth0 srcport 0 0 dstport 8472 nolearning \n`,
            'host/sys/sysctl.txt': `${overlayNode({ n: 1, peers: [] }).files['host/sys/sysctl.txt']}net/ipv4/conf/flannel.7/forwarding:0\n`,
          },
        }),
      },
    },
    'a second card forwards': { nodes: { a: twoCards(ETH0, '1') } },
  },
  notApplicable: {
    'ip_forward 0 is another rule': { nodes: { a: overlayNode({ n: 1, peers: [2], forward: '0' }) } },
    'a bridge with ports and IPv6 alone': { nodes: { a: SIX_ONLY } },
  },
  unknown: {
    'a default route that is second for now': {
      nodes: {
        a: twoCards(`${ETH0}\nunicast default via 10.98.0.1 dev eth1 proto static scope global metric 200 `),
      },
      because: /talk by eth1 \(0\.0\.0\.0\/0/,
    },
    'a device does not forward, and no routes came that say who uses it': {
      nodes: {
        a: {
          files: {
            ...twoCards(ETH0, '1').files,
            'host/ip/route4.txt': { status: 'absent' },
            'host/sys/sysctl.txt': `${overlayNode({ n: 1, peers: [] }).files['host/sys/sysctl.txt']}`.replace(
              'eth0/forwarding:1',
              'eth0/forwarding:0',
            ),
          },
        },
      },
      because: /talk by eth0 \(its routes were not collected whole\) is not known: it does not forward/,
    },
    'the flag of another card was not collected': {
      nodes: { a: twoCards(ETH0, '') },
      because: /eth1 .* is not known: conf\.eth1\.forwarding was not collected/,
    },
    'docker0 in busybox’s form, which prints no masters: containers may be attached': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n3: docker0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue \n    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    inet 172.17.0.1/16 scope global docker0\n       valid_lft forever preferred_lft forever\n',
            'host/sys/sysctl.txt': 'net/ipv4/ip_forward:0\n',
          },
        },
      },
      because: /attached to docker0 is not told/,
    },
    'device list cut before any bridge': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': {
              status: 'truncated',
              text: '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n',
            },
            'host/sys/sysctl.txt': 'net/ipv4/ip_forward:1\n',
          },
        },
      },
      because: /devices was not collected whole/,
    },
    'only ip_forward was collected: it proves nothing of the devices': {
      nodes: { a: overlayNode({ n: 1, peers: [2], files: { 'host/sys/sysctl.txt': 'net/ipv4/ip_forward:1\n' } }) },
      because: /per-device/,
    },
  },
});
