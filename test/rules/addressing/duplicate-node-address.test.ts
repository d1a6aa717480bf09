import { rule } from '../../../rules/addressing/duplicate-node-address.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';
import { vagrantNode } from '../../support/vagrant-node.ts';

type Change = { readonly add?: string; readonly edit?: (addr: string) => string; readonly info?: NodeFiles['info'] };

/** The nth node of three; `add`: a line more of eth0's addresses. */
function node(n: number, { add, edit = (t) => t, info = {} }: Change = {}): NodeFiles {
  const o = overlayNode({ n, peers: [1, 2, 3].filter((p) => p !== n), info });
  const addr = (o.files['host/ip/addr.txt'] as string).replace(
    `inet 192.168.50.${10 + n}/24 scope global eth0\n`,
    (line) => (add === undefined ? line : `${line}       valid_lft forever preferred_lft forever\n    ${add}\n`),
  );
  return { ...o, files: { ...o.files, 'host/ip/addr.txt': edit(addr) } };
}
const SECOND = { add: 'inet 192.168.50.12/24 scope global secondary eth0' };
const VIRTUAL = { add: 'inet 192.168.50.200/24 scope global secondary eth0' };

testRule(rule, {
  finds: {
    'beside its own address': {
      nodes: { a: node(1), b: node(2), c: node(3, SECOND) },
      answers: { a: 'pass' },
      expect: [
        {
          key: '192.168.50.12',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['b', 'c'],
          message: /^b \(eth0\) and c \(eth0\) both have 192\.168\.50\.12; on c it is a second address/,
          cites: ['inet 192.168.50.12/24 scope global eth0', 'inet 192.168.50.12/24 scope global secondary eth0'],
        },
      ],
    },
    'in the place of its own': {
      nodes: { a: node(1), b: node(2), c: node(3, { edit: (t) => t.replace('192.168.50.13/24', '192.168.50.12/24') }) },
      expect: [{ nodes: ['b', 'c'], cites: ['192.168.50.12/24', '192.168.50.12/24'] }],
    },
    'days apart the address may have moved': {
      nodes: { b: node(2), c: node(3, { ...SECOND, info: { collectedAt: '2026-11-27T10:00:00.000Z' } }) },
      expect: [{ severity: 'medium', confidence: 'possible', cites: ['192.168.50.12/24', '192.168.50.12/24'] }],
    },
  },
  passes: {
    'three nodes': { nodes: { a: node(1), b: node(2), c: node(3) } },
    'a virtual address without a network, which moved meanwhile': {
      nodes: {
        a: node(1, { add: 'inet 192.168.50.200/32 scope global eth0' }),
        b: node(2, { add: 'inet 192.168.50.200/32 scope global eth0' }),
      },
    },
    'docker0 has one address everywhere': {
      nodes: {
        a: node(1, {
          edit: (t) =>
            t.replace(
              '5: veth1',
              '9: docker0: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN group default \n    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    inet 172.17.0.1/16 scope global docker0\n       valid_lft forever preferred_lft forever\n5: veth1',
            ),
        }),
        b: node(2, {
          edit: (t) =>
            t.replace(
              '5: veth1',
              '9: docker0: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN group default \n    link/ether 02:42:00:00:00:02 brd ff:ff:ff:ff:ff:ff\n    inet 172.17.0.1/16 scope global docker0\n       valid_lft forever preferred_lft forever\n5: veth1',
            ),
        }),
      },
    },
  },
  notApplicable: { 'one node': { nodes: { a: node(1) } } },
  unknown: {
    'virtual machines with a NAT each, in one cluster by their second cards': {
      nodes: { a: vagrantNode(1, [2], 'eth1'), b: vagrantNode(2, [1], 'eth1') },
      because: /a and b both have 10\.0\.2\.15: that they stand on one network is not in the evidence/,
    },
    'a virtual address that moved meanwhile, or that both hold': {
      nodes: { a: node(1, VIRTUAL), b: node(2, VIRTUAL) },
      because: /a and b both have 192\.168\.50\.200: it is a second address on each/,
    },
    'one network card, two machine ids': {
      nodes: { b: node(2), c: node(2, { info: { machineIdSha256: 'other' } }) },
      because: /one machine collected twice, or a copy of it/,
    },
    'nodes of two clusters with one private network': {
      nodes: {
        b: node(2),
        c: {
          files: Object.fromEntries(
            Object.entries(node(2).files).map(([path, text]) => [
              path,
              typeof text === 'string'
                ? text.replaceAll('0e:00:00', '0e:99:00').replaceAll('02:00:00', '02:99:00')
                : text,
            ]),
          ),
        },
      },
      because: /that they stand on one network is not in the evidence/,
    },
  },
});
