import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/pod-cidr-duplicate.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, testRule } from '../../support/rule-table.ts';

const a = overlayNode({ n: 1, peers: [2, 3] });
const b = overlayNode({ n: 2, peers: [1] });
/** Node 3 has the subnet of node 2 (S17). */
const c = overlayNode({ n: 3, peers: [1], subnet: 2 });
/** containerd’s sample configuration, left on every node: its file is the first by name (kubernetes/03 of the incidents). */
const leftover = (n: 1 | 2) => {
  const node = overlayNode({ n, peers: [n === 1 ? 2 : 1] });
  const addr = (node.files['host/ip/addr.txt'] as string).replace(`10.244.${n}.1/24`, '10.244.0.1/24');
  const conflist =
    '{\n  "cniVersion": "1.0.0",\n  "name": "containerd-net",\n  "plugins": [\n    { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,\n      "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.0.0/24" }]] } }\n  ]\n}\n';
  return {
    ...node,
    files: { ...node.files, 'host/ip/addr.txt': addr, 'files/etc/cni/net.d/10-containerd-net.conflist': conflist },
  };
};

testRule(rule, {
  finds: {
    'bridges with the range of a file that both nodes have': {
      nodes: { a: leftover(1), b: leftover(2) },
      expect: [
        {
          key: '10.244.0.0/24',
          severity: 'critical',
          message: /\(cni0 and cni0\)/,
          cites: ['inet 10.244.0.1/24', 'inet 10.244.0.1/24'],
        },
      ],
    },
    'b and c own 10.244.2.0/24; a ties them to one cluster': {
      nodes: { a, b, c },
      expect: [
        {
          key: '10.244.2.0/24',
          severity: 'critical',
          nodes: ['b', 'c'],
          message: /b and c both own pod subnet 10\.244\.2\.0\/24/,
          cites: ['FLANNEL_SUBNET=10.244.2.1/24', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
      answers: { a: 'pass' },
    },
    'pasted files without overlay tables: possible, and says so': {
      nodes: {
        b: {
          files: {
            'host/ip/addr.txt': b.files['host/ip/addr.txt'] as string,
            'files/run/flannel/subnet.env': b.files['files/run/flannel/subnet.env'] as string,
          },
        },
        c: {
          files: {
            'host/ip/addr.txt': c.files['host/ip/addr.txt'] as string,
            'files/run/flannel/subnet.env': c.files['files/run/flannel/subnet.env'] as string,
          },
        },
      },
      expect: [
        {
          key: '10.244.2.0/24',
          severity: 'high',
          message: /assumed/,
          cites: ['FLANNEL_SUBNET=10.244.2.1/24', 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
    'bundles more than a day apart: the lease may have moved': {
      nodes: { a, b: { ...b, info: { collectedAt: '2026-11-20T10:00:00.000Z' } }, c },
      expect: [{ severity: 'medium', message: /more than a day apart/, cites: ['FLANNEL_SUBNET', 'FLANNEL_SUBNET'] }],
    },
  },
  passes: {
    'subnets of their own': { nodes: { a, b } },
    'a wrong mask on a bridge is no second owner': {
      nodes: { a: overlayNode({ n: 1, peers: [2], cni0: '10.244.1.1/16' }), b },
    },
  },
  notApplicable: {
    'the same machine collected twice': {
      nodes: {
        b: { ...b, info: { machineIdSha256: 'm', bootId: 'x' } },
        'b-again': { ...b, info: { machineIdSha256: 'm', bootId: 'x' } },
      },
      answers: { b: 'pass', 'b-again': 'pass' },
    },
  },
  unknown: {
    'one machine, pasted twice under two names': {
      nodes: {
        monday: { ...b, info: { machineIdSha256: null, bootId: null } },
        tuesday: { ...b, info: { machineIdSha256: null, bootId: null } },
      },
      because: /both have the address 192\.168\.50\.12.*one machine collected twice/,
    },
    'the same, and only devices and leases': {
      nodes: Object.fromEntries(
        ['monday', 'tuesday'].map((day) => [
          day,
          {
            info: { machineIdSha256: null, bootId: null },
            files: {
              'host/ip/addr.txt': b.files['host/ip/addr.txt'] as string,
              'files/run/flannel/subnet.env': b.files['files/run/flannel/subnet.env'] as string,
            },
          },
        ]),
      ),
      because: /192\.168\.50\.12 \(02:00:00:00:00:02\): one machine/,
    },
    'the only node of its network': { nodes: { a }, because: /no bundle of another node/ },
    'two clusters with the default range that know nothing of each other': {
      nodes: {
        b: overlayNode({ n: 2, peers: [] }),
        'other-b': overlayNode({
          n: 2,
          peers: [],
          files: {
            'host/ip/link.txt': (overlayNode({ n: 2, peers: [] }).files['host/ip/link.txt'] as string).replaceAll(
              '0e:00:00:00:00:02',
              '0e:99:99:99:99:02',
            ),
            'host/ip/addr.txt': (overlayNode({ n: 2, peers: [] }).files['host/ip/addr.txt'] as string).replaceAll(
              '192.168.50.12',
              '192.168.77.12',
            ),
          },
        }),
      },
      because: /nothing in their overlay tables ties them/,
    },
  },
});

it('a range out of a CNI file is not mended by a new lease', () => {
  const [found] = judge([rule], { a: leftover(1), b: leftover(2) }).findings;
  const [step] = found?.remediation ?? [];
  expect(step?.run).toContain(
    'mv /etc/cni/net.d/10-containerd-net.conflist /etc/cni/net.d/10-containerd-net.conflist.off',
  );
  expect(step?.run).not.toContain('subnet.env');
});

/** The same cluster at another customer: other addresses, other MACs, the same ranges. */
const elsewhere = (node: ReturnType<typeof overlayNode>, k: number) => ({
  ...node,
  files: Object.fromEntries(
    Object.entries(node.files).map(([path, text]) => [
      path,
      (text as string).replaceAll('192.168.50.', `192.168.${k}.`).replaceAll('0e:00:00:00:00:', `0e:${k}:00:00:00:`),
    ]),
  ),
});
const pair = [overlayNode({ n: 1, peers: [2] }), overlayNode({ n: 2, peers: [1] })] as const;

it('two clusters of one range, each with its own ties, do not clash', () => {
  const [x, y] = pair;
  const nodes = { a1: x, a2: y, b1: elsewhere(x, 61), b2: elsewhere(y, 61) };
  const judged = judge([rule], nodes);
  expect(judged.findings).toEqual([]);
  expect(judged.matrix[rule.id]).toEqual({ a1: 'pass', a2: 'pass', b1: 'pass', b2: 'pass' });
});

it('a node alone may be of either cluster, and of many such nodes one thing is said', () => {
  const [x, y] = pair;
  const nodes = {
    a1: x,
    a2: y,
    b1: elsewhere(x, 61),
    c1: elsewhere(x, 62),
    d1: elsewhere(x, 63),
    e1: elsewhere(x, 64),
  };
  const judged = judge([rule], nodes);
  expect(judged.findings).toEqual([]);
  expect(judged.matrix[rule.id]).toMatchObject({ a1: 'unknown', a2: 'pass', b1: 'unknown', e1: 'unknown' });
  expect(judged.unknown.map((u) => u.because)).toEqual([
    'a1, b1, c1 and 2 further nodes all claim 10.244.1.0/24, but nothing in their overlay tables ties them to one cluster',
  ]);
});
