import { rule } from '../../../rules/forwarding/interface-forwarding-disabled.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { testRule } from '../../support/rule-table.ts';

testRule(rule, {
  finds: {
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
  passes: { 'all on': { nodes: { a: overlayNode({ n: 1, peers: [2] }) } } },
  notApplicable: { 'ip_forward 0 is another rule': { nodes: { a: overlayNode({ n: 1, peers: [2], forward: '0' }) } } },
  unknown: {
    'only ip_forward was collected: it proves nothing of the devices': {
      nodes: { a: overlayNode({ n: 1, peers: [2], files: { 'host/sys/sysctl.txt': 'net/ipv4/ip_forward:1\n' } }) },
      because: /per-device/,
    },
  },
});
