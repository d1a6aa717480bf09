import { rule } from '../../../rules/flannel/vxlan-parameters-disagree.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { testRule } from '../../support/rule-table.ts';

const vxlans = (...vnis: number[]) =>
  vnis
    .map(
      (vni, i) =>
        `${i + 5}: vxlan${vni}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    link/ether 0e:00:00:00:0${i}:${vni} brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 \n    vxlan id ${vni} local 10.9.0.${vni} dev eth0 srcport 0 0 dstport ${4000 + vni} nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 \n`,
    )
    .join('');
const a = overlayNode({ n: 1, peers: [2] });

/** flannel.7 of an earlier configuration: another VNI, no routes. */
const old = (overlayNode({ n: 2, peers: [1], vni: 7 }).files['host/ip/link.txt'] as string)
  .replace(/^[\s\S]*(?=^3: )/m, '')
  .replace(/^4: [\s\S]*/m, '')
  .replace('3: flannel.1', '9: flannel.7')
  .replace('0e:00:00:00:00:02', '0e:00:00:00:00:72');

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
    'two against two: nobody is right, and nobody passes': {
      nodes: {
        a: overlayNode({ n: 1, peers: [2, 3, 4] }),
        b: overlayNode({ n: 2, peers: [1, 3, 4] }),
        c: overlayNode({ n: 3, peers: [1, 2, 4], vni: 7 }),
        d: overlayNode({ n: 4, peers: [1, 2, 3], vni: 7 }),
      },
      expect: [
        {
          severity: 'critical',
          nodes: ['c', 'a', 'd', 'b'],
          message: /VNI of flannel\.1 is 7 on c and 1 further node and 1 on a and 1 further node$/,
          cites: ['vxlan id 7', 'vxlan id 1'],
        },
      ],
    },
  },
  passes: {
    'equal parameters': { nodes: { a, b: overlayNode({ n: 2, peers: [1] }) } },
    'an old device that flanneld left behind does not speak for the node': {
      nodes: {
        a,
        b: overlayNode({
          n: 2,
          peers: [1],
          files: {
            'host/ip/link.txt': `${overlayNode({ n: 2, peers: [1] }).files['host/ip/link.txt']}${old}`,
          },
        }),
      },
    },
  },
  unknown: {
    'an old device beside the new one, and no routes that tell which is used': {
      nodes: {
        a,
        b: overlayNode({
          n: 2,
          peers: [1],
          files: {
            'host/ip/link.txt': `${overlayNode({ n: 2, peers: [1] }).files['host/ip/link.txt']}${old}`,
            'host/ip/route4.txt': { status: 'missing' },
          },
        }),
      },
      because: /which of flannel\.1, flannel\.7 carries the packets of pods is not known/,
    },
    'no bundle of a peer': { nodes: { a }, because: /no bundle of a peer/ },
    'other makers’ tunnels, many on one node, without anything in common': {
      nodes: {
        x: { files: { 'host/ip/link.txt': vxlans(10, 20) } },
        y: { files: { 'host/ip/link.txt': vxlans(20, 30) } },
      },
    },
    'another cluster is no peer': {
      nodes: {
        a: overlayNode({ n: 1, peers: [] }),
        z: overlayNode({ n: 5, peers: [], port: 4789 }),
      },
    },
  },
});
