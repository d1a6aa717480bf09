import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/mtu/mtu-differs-across-nodes.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { type Mtus, mtuNode, withFiles } from './nodes.ts';

const node = (n: number, m: Mtus = {}, edit?: (t: string) => string) =>
  mtuNode({ n, peers: [1, 2, 3].filter((p) => p !== n) }, m, edit);
const SMALL = { eth0: 1400, flannel: 1350, pods: 1350, env: 1350 };
const JUMBO = { eth0: 9000, flannel: 8950, pods: 8950, env: 8950 };

/** Another network behind a router. */
const moved = (files: NodeFiles): NodeFiles =>
  withFiles(
    files,
    Object.fromEntries(
      Object.entries(files.files)
        .filter(([path]) => /ip\/(addr|route4)\.txt$/.test(path))
        .map(([path, text]) => [
          path,
          (text as string)
            .replaceAll('192.168.50.13/24', '192.168.60.13/24')
            .replaceAll('192.168.50.0/24', '192.168.60.0/24'),
        ]),
    ),
  );

/** A node of a host-gw cluster: no overlay device, pods' packets leave as they are. */
function hostGw(n: number, m: Mtus = {}): NodeFiles {
  const made = node(n, { pods: 1500, env: 1500, ...m });
  const cut = (path: string) => (made.files[path] as string).replace(/^3: flannel[\s\S]*?(?=^4: )/m, '');
  return withFiles(made, {
    'host/ip/addr.txt': cut('host/ip/addr.txt'),
    'host/ip/link.txt': cut('host/ip/link.txt'),
    'host/ip/route4.txt': (made.files['host/ip/route4.txt'] as string)
      .replace(
        /via 10\.244\.(\d)\.0 dev flannel\.1 proto boot scope global onlink/g,
        'via 192.168.50.1$1 dev eth0 proto boot scope global',
      )
      .replace(/^local .* dev flannel\.1.*\n/m, ''),
    'host/bridge/fdb.txt': '33:33:00:00:00:01 dev eth0 self permanent\n',
    'host/ip/neigh.txt': '192.168.50.100 dev eth0 lladdr 02:00:00:00:00:64 used 3/3/0 probes 1 REACHABLE \n',
  });
}

const docker: NodeFiles = {
  files: {
    'host/ip/link.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9000 qdisc fq_codel state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
`,
    'files/run/flannel/subnet.env': { status: 'absent' },
  },
};

testRule(rule, {
  finds: {
    'one node with less than the others': {
      nodes: { a: node(1), b: node(2, SMALL), c: node(3) },
      expect: [
        {
          key: 'underlay 192.168.50.0/24 1400 vs 1500',
          severity: 'medium',
          confidence: 'likely',
          nodes: ['b'],
          message:
            /1400 on b \(eth0\), 1500 on a and c \(eth0\); what a and c send above 1400 bytes can be dropped without a word on the way to b/,
          cites: [
            'eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400',
            'eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500',
          ],
        },
      ],
      answers: { a: 'pass', c: 'pass' },
    },
    'one node with more: the others are the ones that miss its packets': {
      nodes: { a: node(1), b: node(2), c: node(3, JUMBO) },
      expect: [
        {
          nodes: ['c'],
          message: /what c sends above 1500 bytes .* on the way to a and b/,
          cites: ['mtu 9000', 'mtu 1500'],
        },
      ],
    },
    'two nodes: both are meant': {
      nodes: { a: node(1), b: node(2, SMALL) },
      expect: [{ nodes: ['b', 'a'], cites: ['mtu 1400', 'mtu 1500'] }],
    },
    'one finding for all that have the same other value': {
      nodes: {
        a: node(1),
        b: node(2),
        c: node(3),
        ...Object.fromEntries([4, 5].map((n) => [`n${n}`, mtuNode({ n, peers: [1] }, SMALL)])),
      },
      expect: [
        {
          nodes: ['n4', 'n5'],
          message: /1400 on n4 and n5 \(eth0\), 1500 on a, b and 1 further node/,
          cites: ['mtu 1400', 'mtu 1400', 'mtu 1500'],
        },
      ],
    },
    'a jumbo NIC under an overlay that fits all is low': {
      nodes: { a: node(1), b: node(2), c: node(3, { eth0: 9000 }) },
      expect: [
        {
          severity: 'low',
          nodes: ['c'],
          message: /pods’ packets \(at most 1500 bytes outside\) fit both/,
          cites: ['mtu 9000', 'mtu 1500'],
        },
      ],
    },
    'a router between them: only possible': {
      nodes: { a: node(1), b: node(2), c: moved(node(3, SMALL)) },
      expect: [
        {
          key: 'underlay segments 1400 vs 1500',
          severity: 'low',
          confidence: 'possible',
          nodes: ['c'],
          message: /between segments/,
          cites: ['mtu 1400', 'mtu 1500'],
        },
      ],
    },
    'overlays over an equal underlay': {
      nodes: { a: node(1), b: node(2, { flannel: 1350, pods: 1350, env: 1350 }), c: node(3) },
      expect: [
        {
          key: 'flannel.# over 1500 1350 vs 1450',
          severity: 'low',
          confidence: 'proven',
          nodes: ['b'],
          message: /the underlay carries both/,
          cites: [
            'flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1350',
            'flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450',
          ],
        },
      ],
    },
    'overlays of which one does not fit': {
      nodes: { a: node(1, { eth0: 1400 }), b: node(2, SMALL), c: node(3, SMALL) },
      expect: [
        {
          severity: 'low',
          nodes: ['a'],
          message: /does not fit the underlay’s 1400/,
          cites: ['mtu 1450', 'mtu 1350'],
        },
      ],
    },
    'host-gw: pods’ packets leave as they are': {
      nodes: { a: hostGw(1), b: hostGw(2, { eth0: 1400, pods: 1400, env: 1400 }), c: hostGw(3) },
      expect: [{ severity: 'medium', nodes: ['b'], cites: ['mtu 1400', 'mtu 1500'] }],
    },
  },
  passes: {
    'equal MTUs': { nodes: { a: node(1), b: node(2), c: node(3) } },
    'equal jumbo MTUs': { nodes: { a: node(1, JUMBO), b: node(2, JUMBO) } },
    'host-gw with equal MTUs': { nodes: { a: hostGw(1), b: hostGw(2) } },
    'pods’ own devices are another rule’s': { nodes: { a: node(1, { pods: 1500 }), b: node(2) } },
    'an old device that flanneld left behind does not speak for the node': {
      nodes: {
        a: node(1),
        b: node(
          2,
          {},
          (t) =>
            `${t}9: flannel.7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1300 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/ether 0e:00:00:00:00:72 brd ff:ff:ff:ff:ff:ff promiscuity 0\n    vxlan id 7 local 192.168.50.12 dev eth0 srcport 0 0 dstport 8472 nolearning\n`,
        ),
      },
    },
  },
  notApplicable: {
    'no pod network: a docker host beside another': { nodes: { x: docker, y: docker } },
  },
  unknown: {
    'no bundle of a peer': { nodes: { a: node(1) }, because: /no bundle of another node/ },
    'another cluster is no peer': {
      nodes: { a: mtuNode({ n: 1, peers: [] }, {}), z: mtuNode({ n: 5, peers: [] }, SMALL) },
      because: /no bundle of another node/,
    },
    'what is under the overlay is not told': {
      nodes: {
        a: withFiles(node(1), { 'host/ip/link.txt': { status: 'missing', reason: 'tool not found in PATH: ip' } }),
        b: node(2),
      },
      because: /the device under the pod network is not known/,
    },
  },
});

describe('many nodes', () => {
  it('one finding a difference, few cites', () => {
    const nodes = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => {
        const n = i + 1;
        const made = overlayNode({ n, peers: [1, 2] });
        return [`n${i}`, i % 2 === 0 ? made : mtuNode({ n, peers: [1, 2] }, i < 20 ? SMALL : JUMBO)];
      }),
    );
    const { findings } = judge([rule], nodes);
    expect(findings.map((f) => [f.group, f.nodes.length, f.cites.length])).toEqual([
      ['underlay 192.168.50.0/24 1400 vs 1500', 10, 7],
      ['underlay 192.168.50.0/24 9000 vs 1500', 20, 7],
    ]);
  });
});
