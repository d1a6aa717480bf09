import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/bridge-address-not-in-lease.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, testRule } from '../../support/rule-table.ts';

testRule(rule, {
  finds: {
    'the leased address with the mask of the whole cluster': {
      nodes: { a: overlayNode({ n: 1, peers: [2], cni0: '10.244.1.1/16' }) },
      expect: [
        {
          key: 'cni0 mask',
          severity: 'high',
          confidence: 'likely',
          message: /cni0 on a has 10\.244\.1\.1\/16 but flannel leased 10\.244\.1\.1\/24: .* new pods do not start/,
          cites: ['inet 10.244.1.1/16 scope global cni0', 'FLANNEL_SUBNET=10.244.1.1/24'],
        },
      ],
    },
    'docker0 without CNI kept an address of another lease': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2],
          files: {
            'host/ip/addr.txt': (
              overlayNode({ n: 1, peers: [2], cni0: '10.244.9.1/24' }).files['host/ip/addr.txt'] as string
            ).replaceAll('cni0', 'docker0'),
          },
        }),
      },
      expect: [{ key: 'docker0', cites: ['inet 10.244.9.1/24 scope global docker0', 'FLANNEL_SUBNET=10.244.1.1/24'] }],
    },
    'flannel’s CNI file names the bridge': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2],
          cni0: '10.244.9.1/24',
          files: { 'files/etc/cni/net.d/10-flannel.conflist': '{"name":"cbr0","plugins":[{"type":"flannel"}]}\n' },
        }),
      },
      expect: [{ confidence: 'proven', cites: ['inet 10.244.9.1/24 scope global cni0', 'FLANNEL_SUBNET'] }],
    },
    'cni0 kept an old address (S23)': {
      nodes: { a: overlayNode({ n: 1, peers: [2], cni0: '10.244.9.1/24' }) },
      expect: [
        {
          key: 'cni0',
          severity: 'critical',
          confidence: 'likely',
          nodes: ['a'],
          message: /has 10\.244\.9\.1\/24 but flannel leased 10\.244\.1\.1\/24/,
          cites: ['inet 10.244.9.1/24 scope global cni0', 'FLANNEL_SUBNET=10.244.1.1/24'],
        },
      ],
    },
  },
  passes: {
    'what podman left in net.d decides nothing': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2],
          files: {
            'files/etc/cni/net.d/10-flannel.conflist':
              '{"name":"cbr0","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}}]}\n',
            'files/etc/cni/net.d/87-podman-bridge.conflist':
              '{"name":"podman","plugins":[{"type":"bridge","bridge":"cni-podman0","ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.0.0/16"}]]}}]}\n',
            'files/etc/cni/net.d/99-calico-old.conflist': '{"name":"k8s","plugins":[{"type":"calico"}]}\n',
          },
        }),
      },
    },
    'the leased address': { nodes: { a: overlayNode({ n: 1, peers: [2] }) } },
  },
  notApplicable: {
    'cilium’s device is not flannel’s': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n',
            'host/ip/link.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n4: cilium_vxlan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0\n    vxlan id 100 local 192.168.50.11 dev eth0 srcport 0 0 dstport 4789\n',
            'files/run/flannel/subnet.env': { status: 'absent' },
          },
        },
      },
    },
    'no subnet.env and no flannel device': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n',
            'files/run/flannel/subnet.env': { status: 'absent' },
          },
        },
      },
    },
  },
  unknown: {
    'canal’s pods have no bridge: cni0 is another program’s, and empty': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2],
          files: {
            'host/ip/addr.txt': (
              overlayNode({ n: 1, peers: [2], cni0: '10.85.0.1/16' }).files['host/ip/addr.txt'] as string
            ).replace('master cni0 ', ''),
            'host/ip/link.txt': { status: 'absent' },
            'host/bridge/brctl-show.txt':
              'bridge name\tbridge id\t\tSTP enabled\tinterfaces\ncni0\t\t8000.0a580af40101\tno\t\t\n',
          },
        }),
      },
      because: /no container is attached to it/,
    },
    'flannel has a device but no lease file': {
      nodes: { a: overlayNode({ n: 1, peers: [2], files: { 'files/run/flannel/subnet.env': { status: 'absent' } } }) },
      because: /subnet\.env was not found/,
    },
  },
});

it('restarts what the kubelet is a part of', () => {
  const run = (files: Record<string, string>) =>
    judge([rule], { a: overlayNode({ n: 1, peers: [2], cni0: '10.244.9.1/24', files }) }).findings[0]?.remediation?.[0]
      ?.run;
  expect(run({ 'cmdline/k3s.txt': '/usr/local/bin/k3s\nagent\n' })).toMatch(/; systemctl restart k3s-agent$/);
  expect(run({ 'cmdline/rke2.txt': '/usr/local/bin/rke2\nserver\n' })).toMatch(/; systemctl restart rke2-server$/);
  expect(run({})).toMatch(/; systemctl restart kubelet {3}# k3s: systemctl restart k3s \(or k3s-agent\)$/);
});

it('docker0 is docker’s, not a CNI plugin’s', () => {
  const addr = overlayNode({ n: 1, peers: [2], cni0: '10.244.9.1/24' }).files['host/ip/addr.txt'] as string;
  const files = { 'host/ip/addr.txt': addr.replaceAll('cni0', 'docker0') };
  const [step] = judge([rule], { a: overlayNode({ n: 1, peers: [2], files }) }).findings[0]?.remediation ?? [];
  expect(step?.step).toMatch(/let docker take its --bip/);
  expect(step?.run).toBe('systemctl restart flanneld docker');
});
