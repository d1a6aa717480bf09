import { expect, it } from 'vitest';
import { rule as perInterface } from '../../../rules/forwarding/interface-forwarding-disabled.ts';
import { rule } from '../../../rules/forwarding/ip-forward-disabled.ts';
import { judgeNode } from '../../../src/engine/index.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { nodeEvidence, testRule } from '../../support/rule-table.ts';
import { SIX_ONLY } from './nodes.ts';

const off = overlayNode({ n: 1, peers: [2], forward: '0' });

/** A node whose pods hang on devices of their own, as Calico and the AWS VPC CNI make them. */
const routed = (dev: string, flags: Readonly<Record<string, string>>) => ({
  files: {
    'host/ip/addr.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 scope global eth0
       valid_lft forever preferred_lft forever
5: ${dev}1@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 0
6: ${dev}2@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 1
`,
    'host/ip/route4.txt': `unicast default via 192.168.50.1 dev eth0 table main proto boot scope global
unicast 10.244.7.5 dev ${dev}1 table main proto boot scope link
unicast 10.244.7.6 dev ${dev}2 table main proto boot scope link
unicast 192.168.50.0/24 dev eth0 table main proto kernel scope link src 192.168.50.11
`,
    'host/sys/sysctl.txt': Object.entries(flags)
      .map(([key, value]) => `net/ipv4/${key}:${value}\n`)
      .join(''),
  },
});
const NONE = {
  ip_forward: '0',
  'conf/eth0/forwarding': '0',
  'conf/cali1/forwarding': '0',
  'conf/cali2/forwarding': '0',
};

testRule(rule, {
  finds: {
    'pods without a bridge': {
      nodes: { a: routed('cali', NONE) },
      expect: [
        {
          key: 'ip_forward',
          confidence: 'proven',
          message: /containers on cali1 and 1 more are cut off/,
          cites: ['net/ipv4/ip_forward:0', 'conf/cali1', 'conf/cali2', 'conf/eth0', '5: cali1@if3'],
        },
      ],
    },
    'ip_forward 0 with pods on cni0': {
      nodes: { a: off },
      expect: [
        {
          key: 'ip_forward',
          severity: 'critical',
          nodes: ['a'],
          message: /does not forward IPv4 .* cni0/,
          cites: [
            'net/ipv4/ip_forward:0',
            'net/ipv4/conf/cni0/forwarding:0',
            'net/ipv4/conf/flannel.1/forwarding:0',
            'net/ipv4/conf/eth0/forwarding:0',
            '4: cni0:',
          ],
        },
      ],
    },
  },
  passes: {
    'pods without a bridge, forwarding on': { nodes: { a: routed('eni', { ...NONE, ip_forward: '1' }) } },
    'ip_forward 1': { nodes: { a: overlayNode({ n: 1, peers: [2] }) } },
    'ip_forward reads 0 but every ingress device forwards': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2],
          files: {
            'host/sys/sysctl.txt':
              'net/ipv4/ip_forward:0\nnet/ipv4/conf/eth0/forwarding:1\nnet/ipv4/conf/flannel.1/forwarding:1\nnet/ipv4/conf/cni0/forwarding:1\n',
          },
        }),
      },
    },
  },
  notApplicable: {
    'a bridge with ports and IPv6 alone': { nodes: { a: SIX_ONLY } },
    'a program of Cilium does not ask whether the kernel forwards': { nodes: { a: routed('lxc', NONE) } },
    'a bridge without an address is no router (Proxmox’s firewall bridges)': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n4: veth100i0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master fwbr100i0 state UP group default qlen 1000\n    link/ether ee:ee:ee:ee:ee:04 brd ff:ff:ff:ff:ff:ff link-netnsid 0\n5: fwbr100i0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000\n    link/ether ee:ee:ee:ee:ee:06 brd ff:ff:ff:ff:ff:ff\n',
            'host/bridge/brctl-show.txt':
              'bridge name\tbridge id\t\tSTP enabled\tinterfaces\nfwbr100i0\t\t8000.eeeeeeeeee06\tno\t\tveth100i0\n',
            'host/sys/sysctl.txt': 'net/ipv4/ip_forward:0\n',
          },
        },
      },
    },
    'a hypervisor’s own tunnel is no overlay of containers': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n',
            'host/ip/link.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n4: vxlan100: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0\n    vxlan id 100 local 192.168.50.11 dev eth0 srcport 0 0 dstport 4789\n',
            'host/sys/sysctl.txt': 'net/ipv4/ip_forward:0\n',
          },
        },
      },
    },
    'no container bridge and no overlay': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n',
            'host/sys/sysctl.txt': 'net/ipv4/ip_forward:0\n',
          },
        },
      },
    },
  },
  unknown: {
    'ip link in the place of ip addr': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': (overlayNode({ n: 1, peers: [] }).files['host/ip/addr.txt'] as string)
              .replace(/^ {4}inet.*\n.*valid_lft.*\n/gm, '')
              .replace(/^3: flannel[\s\S]*?(?=^4: )/m, ''),
            'host/sys/sysctl.txt': 'net/ipv4/ip_forward:0\n',
          },
        },
      },
      because: /shows no address of any device/,
    },
    'ip_forward itself was not collected': {
      nodes: {
        a: overlayNode({ n: 1, peers: [2], files: { 'host/sys/sysctl.txt': 'net/ipv4/conf/all/rp_filter:0\n' } }),
      },
      because: /ip_forward was not collected/,
    },
    'collected inside a container': {
      nodes: {
        a: { ...off, info: { context: { uid: 0, netns: '4026532001', pid1netns: '4026531840', mode: 'container' } } },
      },
      because: /inside a container/,
    },
  },
});

it('a bridge with IPv6 alone is not called one without a port', () => {
  const { answers } = judgeNode(nodeEvidence('a', SIX_ONLY), [rule, perInterface]);
  for (const { id } of [rule, perInterface])
    expect(JSON.stringify(answers[id])).toContain('no container bridge with a port and an IPv4 address');
});
