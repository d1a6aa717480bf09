import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/flannel-identity-duplicate.ts';
import { RULES } from '../../../rules/index.ts';
import { rankCauses } from '../../../src/engine/causes.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { edited, vagrantNode } from '../../support/vagrant-node.ts';

const ONE = '0e:00:00:00:00:01';
/** A node of a cluster whose first two nodes have one VTEP MAC: the kernel keeps one forwarding entry of it, for the one that was written last. */
const cloned = (n: number, peers: readonly number[], more: Partial<NodeFiles> = {}): NodeFiles => ({
  ...edited(overlayNode({ n, peers, fdb: (p, line) => (n === 3 && p === 1 ? '' : line) }), (t) =>
    t.replaceAll('0e:00:00:00:00:02', ONE),
  ),
  ...more,
});
const CLONES = { a: cloned(1, [2, 3]), b: cloned(2, [1, 3]), c: cloned(3, [1, 2]) };
const VAGRANT = {
  a: vagrantNode(1, [2, 3], 'eth0'),
  b: vagrantNode(2, [1, 3], 'eth0'),
  c: vagrantNode(3, [1, 2], 'eth0'),
};
const a = overlayNode({ n: 1, peers: [2] });
const b = overlayNode({ n: 2, peers: [1] });

/** What flannel announces, `kubectl get nodes -o json`. */
const announced = (...nodes: readonly (readonly [name: string, n: number, ip: string, mac: string])[]): string =>
  `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'List',
      items: nodes.map(([name, n, ip, mac]) => ({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: {
          name,
          annotations: {
            'flannel.alpha.coreos.com/backend-data': `{"VNI":1,"VtepMAC":"${mac}"}`,
            'flannel.alpha.coreos.com/backend-type': 'vxlan',
            'flannel.alpha.coreos.com/public-ip': ip,
          },
        },
        spec: { podCIDR: `10.244.${n}.0/24` },
      })),
    },
    null,
    4,
  )}\n`;
const withApi = (node: NodeFiles, text: string): NodeFiles => ({
  ...node,
  files: { ...node.files, 'k8s/nodes.json': text },
});

/** An entry of the first node for the second one’s subnet that sends to the first one’s own address. */
const toItself = overlayNode({ n: 1, peers: [2], fdb: (_, l) => l.replace('192.168.50.12', '192.168.50.11') });

testRule(rule, {
  finds: {
    'three virtual machines, flannel on the card that is 10.0.2.15 on each': {
      nodes: VAGRANT,
      expect: [
        {
          key: 'address 10.0.2.15',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a', 'b', 'c'],
          message: /^a, b and c have the same address 10\.0\.2\.15 under flannel: a sends to itself/,
          cites: [
            'local 10.0.2.15',
            'local 10.0.2.15',
            'local 10.0.2.15',
            '10.244.2.0/24 via 10.244.2.0',
            '10.244.2.0 dev flannel.1 lladdr 0e:00:00:00:00:02',
            'dst 10.0.2.15',
          ],
        },
      ],
    },
    'two clones with one VTEP MAC': {
      nodes: CLONES,
      expect: [
        {
          key: `mac ${ONE}`,
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a', 'b'],
          message: /^a and b have the same VTEP MAC 0e:00:00:00:00:01: /,
          cites: [
            'link/ether 0e:00:00:00:00:01',
            'link/ether 0e:00:00:00:00:01',
            '10.244.2.0/24 via 10.244.2.0',
            '10.244.2.0 dev flannel.1 lladdr 0e:00:00:00:00:01',
            'dst 192.168.50.12',
          ],
        },
      ],
      answers: { c: 'pass' },
    },
    'one of two clones was collected, its entry tells of the other': {
      nodes: { a: cloned(1, [2]) },
      expect: [
        {
          confidence: 'possible',
          nodes: ['a'],
          message: /^a and the node at 192\.168\.50\.12 have the same VTEP MAC/,
          cites: ['link/ether 0e:00:00:00:00:01', '10.244.2.0/24', 'lladdr 0e:00:00:00:00:01', 'dst 192.168.50.12'],
        },
      ],
    },
    'the same, and flannel announces both': {
      nodes: { a: withApi(cloned(1, [2]), announced(['a', 1, '192.168.50.11', ONE], ['b', 2, '192.168.50.12', ONE])) },
      expect: [
        {
          confidence: 'likely',
          message: /^a and b have the same VTEP MAC/,
          cites: ['link/ether', '10.244.2.0/24', 'lladdr 0e:00:00:00:00:01', 'dst 192.168.50.12', 'VtepMAC'],
        },
      ],
    },
    'another node announces this one’s address': {
      nodes: {
        a: withApi(toItself, announced(['a', 1, '192.168.50.11', ONE], ['b', 2, '192.168.50.11', '0e:00:00:00:00:02'])),
      },
      expect: [
        {
          key: 'address 192.168.50.11',
          confidence: 'likely',
          message: /^a and b have the same address 192\.168\.50\.11 under flannel/,
          cites: [
            'local 192.168.50.11',
            '10.244.2.0/24',
            'lladdr 0e:00:00:00:00:02',
            'dst 192.168.50.11',
            '"192.168.50.11"',
          ],
        },
      ],
    },
    'more than a day between the two bundles': {
      nodes: { a: cloned(1, [2], { info: { collectedAt: '2026-11-22T09:00:00.000Z' } }), b: cloned(2, [1]) },
      expect: [
        {
          severity: 'medium',
          confidence: 'possible',
          message: /more than a day apart/,
          cites: ['link/ether', 'link/ether', '10.244.2.0/24', 'lladdr 0e:00:00:00:00:01', 'dst 192.168.50.12'],
        },
      ],
    },
    'clones that kept their machine-id as well': {
      nodes: {
        a: cloned(1, [2], { info: { machineIdSha256: 'one' } }),
        b: cloned(2, [1], { info: { machineIdSha256: 'one' } }),
      },
      expect: [
        {
          severity: 'critical',
          confidence: 'likely',
          nodes: ['a', 'b'],
          cites: ['link/ether', 'link/ether', '10.244.2.0/24', 'lladdr 0e:00:00:00:00:01', 'dst 192.168.50.12'],
        },
      ],
    },
  },
  passes: {
    'each has its own': { nodes: { a, b } },
    'one bundle: no entry names the node itself': { nodes: { a } },
    'the first card is 10.0.2.15 on each, flannel is on the second': {
      nodes: {
        a: vagrantNode(1, [2, 3], 'eth1'),
        b: vagrantNode(2, [1, 3], 'eth1'),
        c: vagrantNode(3, [1, 2], 'eth1'),
      },
    },
    'an entry of an earlier lease of the node itself, which kept its MAC': {
      nodes: {
        a: overlayNode({
          n: 1,
          peers: [2, 7],
          neigh: (p, l) => (p === 7 ? l.replace('0e:00:00:00:00:07', ONE) : l),
          fdb: (p, l) => (p === 7 ? l.replace('0e:00:00:00:00:07', ONE).replace('192.168.50.17', '192.168.50.11') : l),
        }),
      },
    },
  },
  notApplicable: {
    'no other node': { nodes: { a: overlayNode({ n: 1, peers: [] }) } },
    'host-gw': {
      nodes: {
        a: edited(a, (t, path) =>
          /addr|link\.txt/.test(path)
            ? t.replace(/^3: flannel[\s\S]*?(?=^4: )/m, '')
            : t.replace('via 10.244.2.0 dev flannel.1', 'via 192.168.50.12 dev eth0'),
        ),
      },
    },
  },
  unknown: {
    'an entry that sends to the node itself, and nothing tells whose it is': {
      nodes: { a: toItself },
      because: /another node announces that, or it is left of an earlier lease of this one/,
    },
    'a peer without entries': {
      nodes: { a: overlayNode({ n: 1, peers: [2], neigh: () => '' }) },
      because: /not every overlay peer has a neighbour and a forwarding entry/,
    },
  },
});

it('is the one cause of what wrong entries show', () => {
  for (const nodes of [VAGRANT, CLONES]) {
    const { findings } = judge(RULES, nodes);
    const byId = new Map(findings.map((f) => [f.id, f.rule]));
    expect(rankCauses(findings, RULES).map((c) => byId.get(c.finding))).toEqual([rule.id]);
  }
});

const remedies = (nodes: Readonly<Record<string, NodeFiles>>) =>
  judge([rule], nodes).findings[0]?.remediation?.map((r) => r.run) ?? [];

it('names the device that all have on one network', () => {
  expect(remedies(VAGRANT)[0]).toContain('"--iface=eth1"');
  expect(remedies(CLONES)[0]).toMatch(/^ip link del flannel\.1; kubectl .*spec\.nodeName=b/);
  const one = { machineIdSha256: 'one' };
  expect(remedies({ a: cloned(1, [2], { info: one }), b: cloned(2, [1], { info: one }) })[0]).toContain('machine-id');
});
