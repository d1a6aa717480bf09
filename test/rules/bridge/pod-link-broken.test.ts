import { expect, it } from 'vitest';
import { rule } from '../../../rules/bridge/pod-link-broken.ts';
import { RULES } from '../../../rules/index.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { podAddr } from '../forwarding/nodes.ts';

const BARE = overlayNode({ n: 1, peers: [2] }).files;
const UP = '<BROADCAST,MULTICAST,UP,LOWER_UP>';
const VETH = `5: veth1@if2: ${UP} mtu 1450 qdisc noqueue master cni0 state UP`;

interface Change {
  /** Of `ip addr` and `ip -d link` of the node. */
  readonly outer?: (text: string) => string;
  /** Of `ip -j addr` in the pod. */
  readonly inner?: (text: string) => string;
  readonly files?: NodeFiles['files'];
}

/** The overlay node with one pod on veth1. */
const node = ({ outer = (t) => t, inner = (t) => t, files = {} }: Change = {}): NodeFiles => ({
  files: {
    ...BARE,
    'host/ip/addr.txt': outer(BARE['host/ip/addr.txt'] as string),
    'host/ip/link.txt': outer(BARE['host/ip/link.txt'] as string),
    'netns/4026532001/addr.json': inner(podAddr('10.244.1.10')),
    ...files,
  },
});
const swap = (from: string, to: string) => (t: string) => t.replace(from, to);
const NO_ADDRESS = (t: string) => t.replace(/"addr_info":\[.*?\]/, '"addr_info":[]');
const IN_POD = '"ifname":"eth0"';

testRule(rule, {
  finds: {
    'the end on the node is down': {
      nodes: {
        a: node({
          outer: swap(VETH, '5: veth1@if2: <BROADCAST,MULTICAST> mtu 1450 qdisc noqueue master cni0 state DOWN'),
        }),
      },
      expect: [
        {
          key: 'the end of its cable on the node is down',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message: /^10\.244\.1\.10 on a: the end of its cable on the node is down/,
          cites: ['5: veth1@if2: <BROADCAST,MULTICAST> mtu', IN_POD],
        },
      ],
    },
    'the end in the pod is down': {
      nodes: { a: node({ inner: swap('["BROADCAST","MULTICAST","UP","LOWER_UP"]', '["BROADCAST","MULTICAST"]') }) },
      expect: [
        { confidence: 'likely', message: /its own end of the cable, eth0, is down/, cites: [IN_POD, '5: veth1@if2'] },
      ],
    },
    'the end on the node takes less than the pod sends': {
      nodes: { a: node({ outer: swap(VETH, VETH.replace('1450', '1000')) }) },
      expect: [
        {
          severity: 'high',
          confidence: 'proven',
          message:
            /^10\.244\.1\.10 on a: the ends of its cable differ in their MTU: eth0 sends up to 1450 bytes, veth1 drops what is larger than 1000$/,
          cites: [' mtu 1000 ', '"mtu":1450'],
        },
      ],
    },
    'the pod takes less than the node sends': {
      nodes: { a: node({ inner: swap('"mtu":1450', '"mtu":576') }) },
      expect: [
        {
          severity: 'medium',
          message: /veth1 sends up to 1450 bytes, eth0 drops what is larger than 576$/,
          cites: [' mtu 1450 ', '"mtu":576'],
        },
      ],
    },
    'in no bridge': {
      nodes: { a: node({ outer: swap(VETH, VETH.replace(' master cni0', '')) }) },
      expect: [
        {
          confidence: 'proven',
          message: /its cable is not plugged into cni0/,
          cites: [VETH.replace(' master cni0', ''), IN_POD],
        },
      ],
    },
    'no address': {
      nodes: { a: node({ inner: NO_ADDRESS }) },
      expect: [
        {
          confidence: 'likely',
          message: /^the container of netns\/4026532001 on a: eth0 has no address/,
          cites: [IN_POD, '5: veth1@if2'],
        },
      ],
    },
    'a port that forwards nothing': {
      nodes: { a: node({ outer: swap('bridge_slave state forwarding', 'bridge_slave state disabled') }) },
      expect: [
        {
          confidence: 'proven',
          message: /cni0 does not forward .*\(state disabled\)/,
          cites: ['state disabled', IN_POD],
        },
      ],
    },
    'a port that spanning tree holds back': {
      nodes: { a: node({ outer: swap('bridge_slave state forwarding', 'bridge_slave state listening') }) },
      expect: [{ confidence: 'likely', message: /\(state listening\)/, cites: ['state listening', IN_POD] }],
    },
  },
  passes: {
    'a cable that is whole': { nodes: { a: node() } },
    'one isolated port has nobody to be kept from': {
      nodes: { a: node({ outer: swap('guard off root_block off', 'guard off root_block off isolated on') }) },
    },
    'a cable that nobody uses: no address, no bridge': {
      nodes: {
        a: node({
          inner: (t) => NO_ADDRESS(t).replace('"UP","LOWER_UP"', '"M-DOWN"'),
          outer: swap(VETH, '5: veth1@if2: <BROADCAST,MULTICAST> mtu 1450 qdisc noop state DOWN'),
        }),
      },
    },
    'a routed pod needs no bridge (Calico, ptp)': {
      nodes: {
        a: node({
          outer: swap(VETH, VETH.replace(' master cni0', '')),
          files: {
            'host/ip/route4.txt': `${BARE['host/ip/route4.txt'] as string}unicast 10.244.1.10 dev veth1 scope link \n`,
          },
        }),
      },
    },
    'Cilium cables the pod, cni0 is left of flannel': {
      nodes: {
        a: node({ outer: (t) => t.replace(VETH, VETH.replace(' master cni0', '')).replaceAll('veth1@', 'lxc1a2b3@') }),
      },
    },
    'IPv6 alone': {
      nodes: {
        a: node({
          inner: (t) =>
            t.replace(
              /"addr_info":\[.*?\]/,
              '"addr_info":[{"family":"inet6","local":"fd00:10:244:1::5","prefixlen":64,"scope":"global"}]',
            ),
        }),
      },
    },
    'a virtual machine has the address: the device is a port in the pod (KubeVirt)': {
      nodes: { a: node({ inner: (t) => NO_ADDRESS(t).replace('"group":', '"master":"k6t-eth0","group":') }) },
    },
    'a bridge that is down has ports that forward nothing: that is its own fault': {
      nodes: {
        a: node({
          outer: (t) =>
            t
              .replace(`4: cni0: ${UP}`, '4: cni0: <BROADCAST,MULTICAST>')
              .replace('bridge_slave state forwarding', 'bridge_slave state disabled'),
        }),
      },
    },
  },
  notApplicable: {
    'no container': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt':
              '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n',
          },
        },
      },
    },
  },
  unknown: {
    'the pod’s namespace was not collected': {
      nodes: { a: overlayNode({ n: 1, peers: [2] }) },
      because: /where veth1 lead to: no namespace that was collected has the other end/,
    },
    'two namespaces could have it': {
      nodes: { a: node({ files: { 'netns/4026532002/addr.json': podAddr('10.244.1.11') } }) },
      because: /where veth1 lead to/,
    },
  },
});

it('explains only what speaks of its container', () => {
  const broken = node({ outer: swap(VETH, VETH.replace(' master cni0', '')) });
  const peer = overlayNode({
    n: 2,
    peers: [1],
    files: {
      'netns/4026532009/addr.json': podAddr('10.244.2.10').replaceAll('02:00:00:00:02:01', '02:00:00:00:02:09'),
    },
  });
  const { causes, findings } = judge(RULES, { a: broken, b: peer });
  const symptoms = causes.filter((c) => c.finding.startsWith('pod-link-broken/')).flatMap((c) => c.explains);
  const spoken = findings.filter((f) => f.rule.startsWith('trace-') && f.message.includes('10.244.1.10'));
  expect(symptoms.sort()).toEqual(spoken.map((f) => f.id).sort());
});
