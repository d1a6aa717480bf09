import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/flannel-public-ip-unreachable.ts';
import { RULES } from '../../../rules/index.ts';
import { rankCauses } from '../../../src/engine/causes.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';
import { edited, vagrantNode } from '../../support/vagrant-node.ts';

/** The first node of two or three, whose second one announces this address. */
const to = (address: string, peers: readonly number[] = [2], more: NodeFiles['files'] = {}): NodeFiles =>
  overlayNode({ n: 1, peers, fdb: (p, l) => (p === 2 ? l.replace('192.168.50.12', address) : l), files: more });
/** Changes the routes. */
const routes = (node: NodeFiles, edit: (text: string) => string): NodeFiles =>
  edited(node, (text, path) => (path === 'host/ip/route4.txt' ? edit(text) : text));
const noDefault = (text: string) => text.replace(/^unicast default.*\n/m, '');
const more = (line: string) => (text: string) => `${line}\n${text}`;

const B = {
  kind: 'Node',
  metadata: {
    name: 'b',
    annotations: {
      'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"0e:00:00:00:00:02"}',
      'flannel.alpha.coreos.com/public-ip': '172.30.8.12',
    },
  },
  spec: { podCIDR: '10.244.2.0/24' },
};

testRule(rule, {
  finds: {
    'no route to the only other node': {
      nodes: { a: routes(to('172.30.8.12'), noDefault) },
      expect: [
        {
          key: 'none',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^a has to send to 172\.30\.8\.12 \(pods 10\.244\.2\.0\/24\) what is for the pods there, but it has no route to that$/,
          cites: ['dst 172.30.8.12', '10.244.2.0/24 via 10.244.2.0', 'absent: a route to 172.30.8.12'],
        },
      ],
    },
    'one of two, by its name where flannel announces it': {
      nodes: { a: routes(to('172.30.8.12', [2, 3], { 'k8s/nodes.json': JSON.stringify(B, null, 4) }), noDefault) },
      expect: [
        {
          severity: 'high',
          message: /to 172\.30\.8\.12 \(b\)/,
          cites: ['dst 172.30.8.12', '10.244.2.0/24 via 10.244.2.0', 'absent: a route to 172.30.8.12'],
        },
      ],
    },
    'an address inside the pod network: the tunnel would go through itself': {
      nodes: { a: to('10.244.2.1') },
      expect: [
        {
          key: 'itself',
          severity: 'critical',
          message: /leads into flannel\.1 itself \(10\.244\.2\.0\/24 via 10\.244\.2\.0 onlink dev flannel\.1\)/,
          cites: ['dst 10.244.2.1', '10.244.2.0/24 via 10.244.2.0'],
        },
      ],
    },
    'a route that rejects': {
      nodes: { a: routes(to('172.30.8.12'), more('unreachable 172.30.8.0/24 proto static metric 1024 ')) },
      expect: [
        {
          key: 'rejected',
          message: /its routes reject that \(.*unreachable/,
          cites: ['dst 172.30.8.12', '10.244.2.0/24', 'unreachable 172.30.8.0/24'],
        },
      ],
    },
    'the loopback address': {
      nodes: { a: to('127.0.0.1') },
      expect: [
        { key: 'loopback', message: /loopback/, cites: ['dst 127.0.0.1', '10.244.2.0/24', 'local 127.0.0.0/8'] },
      ],
    },
  },
  passes: {
    'on one network': { nodes: { a: to('192.168.50.12') } },
    'behind the default route, as nodes of two networks are': { nodes: { a: to('172.30.8.12') } },
    'by a tunnel of somebody else’s': {
      nodes: { a: routes(to('172.30.8.12'), more('unicast 172.30.8.0/24 dev wg0 proto static scope link ')) },
    },
    'by several next hops': {
      nodes: {
        a: routes(
          to('172.30.8.12'),
          more(
            'unicast 172.30.8.0/24 proto static scope global \n\tnexthop via 192.168.50.100 dev eth0 weight 1 \n\tnexthop via 192.168.50.101 dev eth0 weight 1 ',
          ),
        ),
      },
    },
    'no default route, and none needed': { nodes: { a: routes(to('192.168.50.12'), noDefault) } },
    'virtual machines whose first card leads nowhere': { nodes: { a: vagrantNode(1, [2], 'eth1') } },
  },
  notApplicable: {
    'no other node': { nodes: { a: overlayNode({ n: 1, peers: [] }) } },
    'no vxlan device': {
      nodes: {
        a: edited(to('172.30.8.12'), (t, path) =>
          /addr|link\.txt/.test(path) ? t.replace(/^3: flannel[\s\S]*?(?=^4: )/m, '') : t,
        ),
      },
    },
  },
  unknown: {
    'no forwarding entry': {
      nodes: { a: overlayNode({ n: 1, peers: [2], fdb: () => '' }) },
      because: /where a sends what is for 10\.244\.2\.0\/24 is not in its tables/,
    },
    'forwarding entries were not collected': {
      nodes: { a: to('172.30.8.12', [2], { 'host/bridge/fdb.txt': { status: 'missing', reason: 'tool not found' } }) },
      because: /was not collected/,
    },
    'routes were not collected whole': {
      nodes: {
        a: edited(
          to('172.30.8.12', [2], {
            'host/ip/route4.txt': {
              status: 'truncated',
              text: noDefault(to('1.2.3.4').files['host/ip/route4.txt'] as string),
            },
          }),
          (t) => t,
        ),
      },
      because: /which way a has to 172\.30\.8\.12 is not known/,
    },
    'its own address': { nodes: { a: to('192.168.50.11') }, because: /flannel-identity-duplicate judges that/ },
  },
});

it('is a symptom of a default route that is gone', () => {
  const { findings } = judge(RULES, { a: routes(to('172.30.8.12'), noDefault) });
  const byId = new Map(findings.map((f) => [f.id, f.rule]));
  expect(rankCauses(findings, RULES).map((c) => byId.get(c.finding))).toEqual(['default-route-missing']);
});

it('tells flannel which way to look', () => {
  const { findings } = judge([rule], { a: to('10.244.2.1') });
  expect(findings[0]?.remediation?.[0]?.run).toContain('"--iface-can-reach=192.168.50.11"');
});
