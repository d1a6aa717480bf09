import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/flannel-backend-mixed.ts';
import { judgeNode } from '../../../src/engine/index.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { type NodeFiles, nodeEvidence, testRule } from '../../support/rule-table.ts';

const netConf = (type: string) =>
  `{\n  "Network": "10.244.0.0/16",\n  "EnableNFTables": false,\n  "Backend": {\n    "Type": "${type}"\n  }\n}\n`;
const with_ = (node: NodeFiles, files: NodeFiles['files']): NodeFiles => ({
  ...node,
  files: { ...node.files, ...files },
});
const vxlan = (n: number, peers: readonly number[], type: string | null = 'vxlan'): NodeFiles =>
  with_(overlayNode({ n, peers }), type === null ? {} : { 'flannel/net-conf.json': netConf(type) });

/** A node of host-gw: no device of flannel; its routes lead straight to the peers. */
function hostGw(n: number, peers: readonly number[], type: string | null = 'host-gw'): NodeFiles {
  const { files } = overlayNode({ n, peers: [] });
  const text = (path: string) => files[path] as string;
  const less = (path: string) => text(path).replace(/^3: flannel\.1:[\s\S]*?(?=^\d+: )/m, '');
  const routes = text('host/ip/route4.txt').replace(/^local 10\.244\.\d+\.0 dev flannel\.1.*\n/m, '');
  const direct = peers.map(
    (p) => `unicast 10.244.${p}.0/24 via 192.168.50.${10 + p} dev eth0 proto boot scope global \n`,
  );
  return {
    files: {
      ...files,
      'host/ip/addr.txt': less('host/ip/addr.txt'),
      'host/ip/link.txt': less('host/ip/link.txt'),
      'host/ip/route4.txt': direct.join('') + routes,
      ...(type === null ? {} : { 'flannel/net-conf.json': netConf(type) }),
    },
  };
}

const apiNode = (name: string, n: number, type?: string) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name,
    annotations:
      type === undefined
        ? {}
        : {
            'flannel.alpha.coreos.com/backend-type': type,
            'flannel.alpha.coreos.com/public-ip': `192.168.50.${10 + n}`,
          },
  },
  spec: { podCIDR: `10.244.${n}.0/24` },
});
const api = (...types: readonly (string | undefined)[]) => ({
  'k8s/nodes.json': `${JSON.stringify({ kind: 'List', items: types.map((t, i) => apiNode(String.fromCharCode(97 + i), i + 1, t)) }, null, 1)}\n`,
});

testRule(rule, {
  finds: {
    'one node was booted after the change to host-gw, the others still run vxlan': {
      nodes: { a: vxlan(1, [2, 3], 'host-gw'), b: vxlan(2, [1, 3], 'host-gw'), c: hostGw(3, []) },
      expect: [
        {
          key: 'host-gw vs vxlan',
          severity: 'critical',
          confidence: 'likely',
          nodes: ['c', 'a'],
          message:
            /^c runs flannel’s backend host-gw, and a vxlan, as 1 more of them do: neither takes notice of the other’s leases, so they have no routes to each other’s pods$/,
          cites: ['"Type": "host-gw"', '10.244.2.0/24 via 10.244.2.0 dev flannel.1', '"Type": "host-gw"'],
        },
      ],
      answers: { c: 'findings', a: 'findings', b: 'unknown' },
    },
    'a vxlan node among those of host-gw': {
      nodes: { a: hostGw(1, [2, 3]), b: hostGw(2, [1, 3]), c: vxlan(3, [], 'vxlan') },
      expect: [
        {
          key: 'vxlan vs host-gw',
          severity: 'critical',
          nodes: ['c', 'a'],
          cites: ['"Type": "vxlan"', '10.244.2.0/24 via 192.168.50.12'],
        },
      ],
      answers: { b: 'pass' },
    },
    'what flanneld announces, with routes of before': {
      nodes: {
        a: vxlan(1, [2, 3]),
        b: vxlan(2, [1, 3]),
        c: with_(vxlan(3, [1, 2], 'host-gw'), {
          'k8s/node.json': `${JSON.stringify(apiNode('c', 3, 'host-gw'), null, 1)}\n`,
        }),
      },
      expect: [
        {
          severity: 'high',
          confidence: 'proven',
          nodes: ['c', 'a'],
          message: /only routes of before lead to each other’s pods, until a boot/,
          cites: ['backend-type": "host-gw"', '10.244.2.0/24 via 10.244.2.0 dev flannel.1'],
        },
      ],
    },
    'a list of the API, and the node that differs': {
      nodes: { a: with_(vxlan(1, [2]), api('vxlan', 'vxlan', 'host-gw')), b: vxlan(2, [1]), c: hostGw(3, []) },
      expect: [
        {
          key: 'listed host-gw vxlan',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['c', 'a'],
          message: /^Nodes of one cluster announce different backends of flannel: c host-gw, but 2 vxlan;/,
          cites: ['backend-type": "host-gw"', 'backend-type": "vxlan"'],
        },
      ],
    },
    'a list of the API alone: the node may be gone': {
      nodes: { a: with_(vxlan(1, [2]), api('vxlan', 'vxlan', 'udp')), b: vxlan(2, [1]) },
      expect: [
        {
          severity: 'medium',
          confidence: 'possible',
          nodes: ['a'],
          cites: ['backend-type": "udp"', 'backend-type": "vxlan"'],
        },
      ],
      answers: { b: 'pass' },
    },
  },
  passes: {
    vxlan: { nodes: { a: vxlan(1, [2]), b: vxlan(2, [1]) } },
    'vxlan without its configuration': { nodes: { a: vxlan(1, [2], null), b: vxlan(2, [1], null) } },
    'host-gw': { nodes: { a: hostGw(1, [2]), b: hostGw(2, [1]) } },
    'host-gw without its configuration': { nodes: { a: hostGw(1, [2], null), b: hostGw(2, [1], null) } },
    'host-gw with the device of before on one node': {
      nodes: {
        a: hostGw(1, [2]),
        b: with_(hostGw(2, [1]), {
          'host/ip/addr.txt': overlayNode({ n: 2, peers: [] }).files['host/ip/addr.txt'] as string,
        }),
      },
    },
    'vxlan with DirectRouting to a node on the same wire': {
      nodes: {
        a: vxlan(1, [2]),
        b: vxlan(2, [1]),
        c: with_(hostGw(3, [1, 2], 'vxlan'), {
          'host/ip/addr.txt': overlayNode({ n: 3, peers: [] }).files['host/ip/addr.txt'] as string,
        }),
      },
    },
    'vxlan with DirectRouting to all peers, and its device was deleted: that is another rule’s': {
      nodes: {
        a: vxlan(1, [2]),
        b: with_(vxlan(2, []), {
          'host/ip/route4.txt': `unicast 10.244.3.0/24 via 192.168.50.13 dev eth0 proto boot scope global \n${vxlan(2, [1]).files['host/ip/route4.txt']}`,
        }),
        c: with_(hostGw(3, [2], null), {
          'flannel/net-conf.json': netConf('vxlan').replace('"vxlan"', '"vxlan", "DirectRouting": true'),
        }),
      },
    },
    'the list of the API is of one mind': {
      nodes: { a: with_(vxlan(1, [2]), api('vxlan', 'vxlan', undefined)), b: vxlan(2, [1]) },
    },
  },
  notApplicable: {
    'no flannel': {
      nodes: { a: with_(hostGw(1, [], null), { 'files/run/flannel/subnet.env': { status: 'absent' } }) },
    },
  },
  unknown: {
    'two clusters with one pod range': {
      nodes: { a: vxlan(1, [2]), b: vxlan(2, [1]), x: hostGw(7, [8]), y: hostGw(8, [7]) },
      // the routes of x and y show that their peers have their backend: the question is asked once
      answers: { x: 'pass', y: 'pass' },
      because:
        /whether the nodes that run flannel’s backend vxlan are of one cluster with those that run host-gw, as x does: .* nothing collected names one to the other/,
    },
    'a node alone': { nodes: { a: hostGw(1, []) }, because: /it has no route to pods of another node/ },
    'routes of both kinds and no configuration': {
      nodes: {
        a: with_(vxlan(1, [2], null), {
          'host/ip/route4.txt': `unicast 10.244.9.0/24 via 192.168.50.19 dev eth0 proto boot scope global \n${vxlan(1, [2]).files['host/ip/route4.txt']}`,
        }),
      },
      because: /which backend flannel has here is not known: neither net-conf\.json nor routes of one kind tell it/,
    },
    'the configuration was changed and nobody restarted flannel': {
      nodes: { a: vxlan(1, [2], 'host-gw'), b: vxlan(2, [1], 'host-gw') },
      because: /net-conf\.json says host-gw, but its routes or flannel’s own word say vxlan/,
    },
  },
});

it('the digest of a node with 200 peers is some hundred bytes', () => {
  const peers = Array.from({ length: 200 }, (_, i) => i + 2);
  const { digests } = judgeNode(nodeEvidence('a', vxlan(1, peers)), [rule]);
  expect(JSON.stringify(digests[rule.id]).length).toBeLessThan(700);
});
