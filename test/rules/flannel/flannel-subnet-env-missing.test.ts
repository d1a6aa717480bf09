import { expect, it } from 'vitest';
import { rule } from '../../../rules/flannel/flannel-subnet-env-missing.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { CONTAINERD_NET, cniNode, FLANNEL_CONFLIST, NO_CONF } from '../cni/nodes.ts';

const ENV = 'files/run/flannel/subnet.env';
const GONE = { [ENV]: { status: 'absent', reason: 'no such file: /run/flannel/subnet.env' } } as const;
const CONFLIST = 'files/etc/cni/net.d/10-flannel.conflist';
const LO =
  '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n';
const FLANNEL_1 =
  '3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n';
const env = (...lines: readonly string[]) => `${lines.join('\n')}\n`;
const [NETWORK, SUBNET, MTU, MASQ] = [
  'FLANNEL_NETWORK=10.244.0.0/16',
  'FLANNEL_SUBNET=10.244.1.1/24',
  'FLANNEL_MTU=1450',
  'FLANNEL_IPMASQ=true',
];

testRule(rule, {
  finds: {
    'the file is not there, and flanneld neither': {
      nodes: { a: cniNode({ ...GONE, 'cmdline/flanneld.txt': { status: 'absent', reason: 'no process flanneld' } }) },
      expect: [
        {
          key: 'missing',
          severity: 'critical',
          confidence: 'likely',
          nodes: ['a'],
          message:
            /^\/run\/flannel\/subnet\.env on a is missing; no flanneld runs there: the CNI plugin flannel refuses every new pod$/,
          cites: ['absent: the file itself (absent: no such file: /run/flannel/subnet.env)', '"type": "flannel"'],
        },
      ],
    },
    'flanneld runs and has not written it': {
      nodes: { a: cniNode(GONE) },
      expect: [{ message: /on a is missing: the CNI plugin/, cites: ['absent: the file itself', '"type": "flannel"'] }],
    },
    'an empty file': {
      nodes: { a: cniNode({ [ENV]: '' }) },
      expect: [
        {
          key: 'incomplete',
          confidence: 'proven',
          message: /on a is empty: the CNI plugin/,
          cites: ['absent: FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ', '"type": "flannel"'],
        },
      ],
    },
    'a rescue by hand without the masquerade': {
      nodes: { a: cniNode({ [ENV]: env(NETWORK, SUBNET, MTU) }) },
      expect: [
        { key: 'incomplete', message: /lacks FLANNEL_IPMASQ/, cites: ['absent: FLANNEL_IPMASQ', '"type": "flannel"'] },
      ],
    },
    'a subnet that is none': {
      nodes: { a: cniNode({ [ENV]: env(NETWORK, 'FLANNEL_SUBNET=10.244.1.1', MTU, MASQ) }) },
      expect: [
        {
          key: 'unreadable',
          message: /holds “10\.244\.1\.1” in the place of a network \(line 2\)/,
          cites: ['FLANNEL_SUBNET=10.244.1.1', '"type": "flannel"'],
        },
      ],
    },
    'no number': {
      nodes: { a: cniNode({ [ENV]: env(NETWORK, SUBNET, 'FLANNEL_MTU=', MASQ) }) },
      expect: [{ message: /holds “” in the place of an MTU/, cites: ['FLANNEL_MTU=', '"type": "flannel"'] }],
    },
  },
  passes: {
    'all four': { nodes: { a: cniNode() } },
    'IPv6 alone': {
      nodes: {
        a: cniNode({
          [ENV]: env('FLANNEL_IPV6_NETWORK=fd00:1::/48', 'FLANNEL_IPV6_SUBNET=fd00:1:0:1::1/64', MTU, MASQ),
        }),
      },
    },
    'two networks': { nodes: { a: cniNode({ [ENV]: env(`${NETWORK},10.245.0.0/16`, SUBNET, MTU, MASQ) }) } },
    'flanneld and the plugin name another file': {
      nodes: {
        a: cniNode({
          'cmdline/flanneld.txt': '/opt/bin/flanneld\n--subnet-file=/run/flannel/pods.env\n',
          [CONFLIST]: FLANNEL_CONFLIST.replace(
            '"type": "flannel",',
            '"type": "flannel", "subnetFile": "/run/flannel/pods.env",',
          ),
        }),
      },
    },
  },
  notApplicable: {
    'no CNI configuration': { nodes: { a: cniNode({ ...GONE, ...NO_CONF }) } },
    'canal’s plugin asks calico': {
      nodes: {
        a: cniNode({
          ...GONE,
          [CONFLIST]:
            '{"name":"k8s-pod-network","plugins":[{"type":"calico","ipam":{"type":"host-local","subnet":"usePodCidr"}}]}\n',
        }),
      },
    },
    'flannel was here before Calico (kubernetes issue 50358)': {
      nodes: {
        a: cniNode({
          ...GONE,
          'files/etc/cni/net.d/10-calico.conflist': '{"name":"k8s-pod-network","plugins":[{"type":"calico"}]}\n',
        }),
      },
    },
    'another file comes first': {
      nodes: { a: cniNode({ ...GONE, 'files/etc/cni/net.d/10-containerd-net.conflist': CONTAINERD_NET }) },
    },
    'flannel for docker, without a kubelet': {
      nodes: { a: cniNode({ ...GONE, ...NO_CONF, 'cmdline/kubelet.txt': { status: 'absent' } }) },
    },
  },
  unknown: {
    'in a container': {
      nodes: { a: cniNode(GONE, { context: { uid: 0, netns: null, pid1netns: null, mode: 'container' } }) },
      because: /the collector ran in a container/,
    },
    'not as root': {
      nodes: { a: cniNode(GONE, { context: { uid: 1000, netns: null, pid1netns: null, mode: 'host' } }) },
      because: /holds was not collected whole/,
    },
    'a bundle that was cut': {
      nodes: { a: cniNode(GONE, { complete: false }) },
      because: /was not (read|collected) whole/,
    },
    'a file that was cut': {
      nodes: { a: cniNode({ [ENV]: { status: 'truncated', text: env(NETWORK, SUBNET) } }) },
      because: /lacks FLANNEL_MTU, FLANNEL_IPMASQ, but it was not collected whole/,
    },
    'a folder of copies': {
      nodes: { a: cniNode({ [ENV]: env(NETWORK, SUBNET) }, { format: 'loose-files' }) },
      because: /whether pods here get their network by the CNI plugin flannel/,
    },
    'the plugin reads another file than flanneld writes': {
      nodes: {
        a: cniNode({ ...GONE, 'cmdline/flanneld.txt': '/opt/bin/flanneld\n--subnet-file=/run/flannel/pods.env\n' }),
      },
      because: /reads \/run\/flannel\/subnet\.env, and flanneld writes \/run\/flannel\/pods\.env/,
    },
    'k3s has its configuration elsewhere': {
      nodes: {
        a: cniNode({
          ...GONE,
          ...NO_CONF,
          'cmdline/kubelet.txt': { status: 'absent' },
          'cmdline/k3s.txt': '/usr/local/bin/k3s server\n',
        }),
      },
      because: /k3s or RKE2 gives its containerd directories of CNI files of its own/,
    },
  },
});

it('with flannel’s device still there it breaks no packet of now', () => {
  const latent = (addr: string) =>
    judge([rule], { a: cniNode({ ...GONE, 'host/ip/addr.txt': addr }) }).findings[0]?.latent;
  expect(latent(LO + FLANNEL_1)).toBe(true);
  expect(latent(LO)).toBeUndefined();
});
