import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/flannel-identity-disagrees.ts';
import { RULES } from '../../../rules/index.ts';
import { rankCauses } from '../../../src/engine/causes.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { edited } from '../../support/vagrant-node.ts';

const FLANNELD = '/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n';
/** `kubectl get node a -o json`. */
const object = (cidr: string, ip: string, annotations: Readonly<Record<string, string>> = {}): string =>
  `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        annotations: {
          'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}',
          'flannel.alpha.coreos.com/backend-type': 'vxlan',
          'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
          'flannel.alpha.coreos.com/public-ip': ip,
          ...annotations,
        },
        name: 'a',
      },
      spec: { podCIDR: cidr, podCIDRs: [cidr] },
    },
    null,
    4,
  )}\n`;
const OWN = object('10.244.1.0/24', '192.168.50.11');
const node = (api: string | null, files: NodeFiles['files'] = { 'cmdline/flanneld.txt': FLANNELD }): NodeFiles =>
  overlayNode({ n: 1, peers: [2], files: { ...(api === null ? {} : { 'k8s/node.json': api }), ...files } });
const at = (where: RegExp, n: NodeFiles, from: string, to: string): NodeFiles =>
  edited(n, (text, path) => (where.test(path) ? text.replaceAll(from, to) : text));
const hostGw = (n: NodeFiles): NodeFiles =>
  edited(n, (t, path) =>
    /addr|link\.txt/.test(path)
      ? t.replace(/^3: flannel[\s\S]*?(?=^4: )/m, '')
      : t.replace('via 10.244.2.0 dev flannel.1', 'via 192.168.50.12 dev eth0'),
  );
/** flannel.1 is of the lease 10.244.7.0/24. */
const oldDevice = (n: NodeFiles) => at(/addr\.txt/, n, '10.244.1.0/32', '10.244.7.0/32');

testRule(rule, {
  finds: {
    'the node was joined again and got another podCIDR': {
      nodes: { a: node(object('10.244.7.0/24', '192.168.50.11')) },
      expect: [
        {
          key: 'podCIDR',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^subnet\.env on a has 10\.244\.1\.1\/24, but the node’s podCIDR is 10\.244\.7\.0\/24: other nodes route/,
          cites: ['FLANNEL_SUBNET=10.244.1.1/24', '"podCIDR": "10.244.7.0/24"'],
        },
      ],
    },
    'the same without flanneld’s command line': {
      nodes: { a: node(object('10.244.7.0/24', '192.168.50.11'), {}) },
      expect: [{ confidence: 'likely', cites: ['FLANNEL_SUBNET', '"podCIDR"'] }],
    },
    'the device is of another lease, what is announced is that of subnet.env': {
      nodes: { a: oldDevice(node(OWN)) },
      expect: [
        {
          key: 'device flannel.1',
          severity: 'high',
          message:
            /but flannel\.1 has 10\.244\.7\.0, not 10\.244\.1\.0: the device is of another lease, and what the node itself/,
          cites: ['FLANNEL_SUBNET=10.244.1.1/24', 'inet 10.244.7.0/32'],
        },
      ],
    },
    'subnet.env and the device differ, nothing tells what is announced': {
      nodes: { a: oldDevice(node(null)) },
      expect: [
        {
          severity: 'high',
          confidence: 'likely',
          message: /one of them is of another lease than other nodes know$/,
          cites: ['FLANNEL_SUBNET=10.244.1.1/24', 'inet 10.244.7.0/32'],
        },
      ],
    },
    'an address is announced that the node no longer has': {
      nodes: { a: node(object('10.244.1.0/24', '192.168.50.91')) },
      expect: [
        {
          key: 'public-ip',
          severity: 'critical',
          confidence: 'likely',
          message: /^a announces 192\.168\.50\.91, which it does not have \(its flannel\.1 has 192\.168\.50\.11\)/,
          cites: ['public-ip": "192.168.50.91"', 'absent: the address 192.168.50.91', 'local 192.168.50.11'],
        },
      ],
    },
    'the same of host-gw': {
      nodes: { a: hostGw(node(object('10.244.1.0/24', '192.168.50.91'))) },
      expect: [{ key: 'public-ip', cites: ['public-ip": "192.168.50.91"', 'absent: the address 192.168.50.91'] }],
    },
  },
  passes: {
    'all of one lease': { nodes: { a: node(OWN) } },
    'two of three': { nodes: { a: node(null) } },
    'host-gw': { nodes: { a: hostGw(node(OWN)) } },
    'in etcd mode the podCIDR is not flannel’s (incident 64)': {
      nodes: {
        a: node(object('10.244.7.0/24', '192.168.50.11'), {
          'cmdline/flanneld.txt': '/opt/bin/flanneld\n--etcd-endpoints=http://192.168.50.11:2379\n--ip-masq\n',
        }),
      },
    },
    'a router translates the address, as the annotation says': {
      nodes: {
        a: node(
          object('10.244.1.0/24', '203.0.113.9', { 'flannel.alpha.coreos.com/public-ip-overwrite': '203.0.113.9' }),
        ),
      },
    },
    'a router translates the address, as flanneld was told': {
      nodes: {
        a: node(object('10.244.1.0/24', '203.0.113.9'), {
          'cmdline/flanneld.txt': '/opt/bin/flanneld\n--kube-subnet-mgr\n--public-ip=203.0.113.9\n',
        }),
      },
    },
    'the announced address is on another device of the node': {
      nodes: {
        a: at(
          /addr\.txt/,
          node(object('10.244.1.0/24', '192.168.50.99')),
          'scope host lo\n',
          'scope host lo\n       valid_lft forever preferred_lft forever\n    inet 192.168.50.99/32 scope global lo\n',
        ),
      },
    },
    'two families: the podCIDR of IPv4 counts': {
      nodes: { a: node(OWN.replace('"podCIDRs": [', '"podCIDRs": [\n            "fd00:10:244:1::/64",')) },
    },
  },
  notApplicable: {
    'no flannel': {
      nodes: {
        a: node(null, {
          'files/run/flannel/subnet.env': { status: 'absent', reason: 'no such file' },
        }),
      },
    },
    'Calico routes the pods, a lease of before was left': {
      nodes: {
        a: node(null, {
          'files/etc/cni/net.d/10-calico.conflist':
            '{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[{"type":"calico","ipam":{"type":"calico-ipam"}}]}\n',
        }),
      },
    },
  },
  unknown: {
    'host-gw, and nothing tells what is announced': {
      nodes: { a: hostGw(node(null)) },
      because: /only subnet\.env was collected of what flannel says of the node/,
    },
    'whether flanneld was told another address was not collected': {
      nodes: { a: node(object('10.244.1.0/24', '203.0.113.9'), {}) },
      because: /whether flannel was told so \(--public-ip\) was not collected/,
    },
    'the addresses were not collected whole': {
      nodes: {
        a: node(object('10.244.1.0/24', '192.168.50.91'), {
          'cmdline/flanneld.txt': FLANNELD,
          'host/ip/addr.txt': { status: 'truncated', text: node(OWN).files['host/ip/addr.txt'] as string },
        }),
      },
      because: /announces 192\.168\.50\.91, which is no address of it/,
    },
  },
});

it('leaves a device whose own address is gone to the rule that knows it', () => {
  const renumbered = at(/addr|route4/, node(OWN), '192.168.50.11', '192.168.50.91');
  const { findings } = judge(RULES, { a: renumbered });
  expect(findings.filter((f) => f.severity === 'critical').map((f) => f.rule)).toEqual([
    'vxlan-forwarding-entry-wrong',
  ]);
});

it.each([
  ['podCIDR', node(object('10.244.7.0/24', '192.168.50.11'))],
  ['subnet.env', at(/subnet\.env|addr\.txt/, node(null), '10.244.1.1/24', '10.244.9.1/24')],
])('is the one cause of what others say (%s)', (_, a) => {
  const { findings } = judge(RULES, { a, b: overlayNode({ n: 2, peers: [1] }) });
  const byId = new Map(findings.map((f) => [f.id, f]));
  const causes = rankCauses(findings, RULES).map((c) => byId.get(c.finding));
  expect(causes[0]?.rule).toBe(rule.id);
  expect(causes.filter((c) => c?.rule === 'pod-route-missing-or-wrong')).toEqual([]);
});
