import { rule } from '../../../rules/flannel/bridge-address-not-in-lease.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { testRule } from '../../support/rule-table.ts';

testRule(rule, {
  finds: {
    'cni0 kept an old address (S23)': {
      nodes: { a: overlayNode({ n: 1, peers: [2], cni0: '10.244.9.1/24' }) },
      expect: [
        {
          key: 'cni0',
          severity: 'critical',
          nodes: ['a'],
          message: /has 10\.244\.9\.1\/24 but flannel leased 10\.244\.1\.1\/24/,
          cites: ['inet 10.244.9.1/24 scope global cni0', 'FLANNEL_SUBNET=10.244.1.1/24'],
        },
      ],
    },
  },
  passes: { 'the leased address': { nodes: { a: overlayNode({ n: 1, peers: [2] }) } } },
  notApplicable: {
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
    'flannel has a device but no lease file': {
      nodes: { a: overlayNode({ n: 1, peers: [2], files: { 'files/run/flannel/subnet.env': { status: 'absent' } } }) },
      because: /subnet\.env was not found/,
    },
  },
});
