import { rule } from '../../../rules/services/kube-proxy-not-running.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';
import { emptied, kubeNode, NO_KUBELET, NO_PROXY } from './nodes.ts';

const socket = (port: number, process: string | null) =>
  `tcp   LISTEN 0      4096      *:${port}       *:*${process === null ? '' : `    users:(("${process}",pid=900,fd=4))`} ino:2 sk:2 cgroup:/ <->\n`;
const KUBELET = socket(10250, 'kubelet');
const node = (files: Files = {}, sockets = KUBELET): { a: NodeFiles } => ({
  a: kubeNode(1, (t) => t, { 'host/sock/ss-listen.txt': sockets, ...NO_PROXY, ...files }),
});
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});

testRule(rule, {
  finds: {
    'it ended, and its rules stay': {
      nodes: node(),
      expect: [
        {
          severity: 'medium',
          confidence: 'likely',
          nodes: ['a'],
          message: /^No kube-proxy runs on a, and its rules for services are still there/,
          cites: ['-A KUBE-SERVICES -d ', '/usr/bin/kubelet', 'absent: a listener on kube-proxy’s ports'],
        },
      ],
    },
  },
  passes: {
    'it runs': {
      nodes: node({
        'cmdline/kube-proxy.txt': '/usr/local/bin/kube-proxy\n--config=/var/lib/kube-proxy/config.conf\n',
      }),
    },
  },
  notApplicable: {
    'it has no rules': { nodes: { a: kubeNode(1, emptied, { 'host/sock/ss-listen.txt': KUBELET, ...NO_PROXY }) } },
    'k3s has it in it': { nodes: node({ 'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n' }) },
    'no kubelet runs either': { nodes: node(NO_KUBELET) },
    'Cilium may be in its place': {
      nodes: node({
        'host/ip/addr.txt': `${kubeNode(1).files['host/ip/addr.txt'] as string}9: cilium_host@cilium_net: <BROADCAST,MULTICAST,NOARP,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000\n    link/ether 02:00:00:00:00:09 brd ff:ff:ff:ff:ff:ff\n`,
      }),
    },
  },
  unknown: {
    'something else answers at its port': {
      nodes: node({}, KUBELET + socket(10256, 'hyperkube')),
      because: /no process has its name, but something listens on its port 10256 \(hyperkube\)/,
    },
    'nobody looked for its process': {
      nodes: without(node(), 'cmdline/kube-proxy.txt'),
      because: /whether the kube-proxy that wrote the rules runs: its command line not collected/,
    },
    'listeners were not collected': {
      nodes: without(node(), 'host/sock/ss-listen.txt'),
      because: /who listens on its ports was not collected whole/,
    },
    'whether a kubelet runs was not collected': {
      nodes: without(node(), 'cmdline/kubelet.txt'),
      because: /whether a kubelet does was not collected/,
    },
    'the collector ran in a container': {
      nodes: {
        a: {
          ...node().a,
          info: { context: { uid: 0, netns: '4026532999', pid1netns: '4026531840', mode: 'container' } },
        },
      },
      because: /inside another network namespace/,
    },
  },
});
