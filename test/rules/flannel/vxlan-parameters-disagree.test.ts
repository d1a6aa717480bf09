import { rule } from '../../../rules/flannel/vxlan-parameters-disagree.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { testRule } from '../../support/rule-table.ts';

const a = overlayNode({ n: 1, peers: [2] });

testRule(rule, {
  finds: {
    'port 4789 on b (S05)': {
      nodes: { a, b: overlayNode({ n: 2, peers: [1], port: 4789 }) },
      expect: [
        {
          key: 'flannel.# UDP port 8472 vs 4789',
          severity: 'critical',
          nodes: ['a', 'b'],
          message: /UDP port of flannel\.1 is 8472 on a and 4789 on b/,
          cites: ['dstport 8472', 'dstport 4789'],
        },
      ],
    },
    'VNI 2 on b (S06)': {
      nodes: { a, b: overlayNode({ n: 2, peers: [1], vni: 2 }) },
      expect: [
        { nodes: ['b', 'a'], message: /VNI of flannel\.1 is 2 on b and 1 on a/, cites: ['vxlan id 2', 'vxlan id 1'] },
      ],
    },
    'one of three disagrees: the odd one is named': {
      nodes: {
        a: overlayNode({ n: 1, peers: [2, 3] }),
        b: overlayNode({ n: 2, peers: [1, 3] }),
        c: overlayNode({ n: 3, peers: [1, 2], vni: 7 }),
      },
      expect: [
        {
          nodes: ['c', 'a'],
          message: /VNI .* is 7 on c and 1 on a and 1 further node/,
          cites: ['vxlan id 7', 'vxlan id 1'],
        },
      ],
      answers: { b: 'pass' },
    },
  },
  passes: { 'equal parameters': { nodes: { a, b: overlayNode({ n: 2, peers: [1] }) } } },
  unknown: {
    'no bundle of a peer': { nodes: { a }, because: /no bundle of a peer/ },
    'another cluster is no peer': {
      nodes: {
        a: overlayNode({ n: 1, peers: [] }),
        z: overlayNode({ n: 5, peers: [], port: 4789 }),
      },
    },
  },
});
