import { expect, it } from 'vitest';
import { rule } from '../../../rules/dns/cluster-dns-address-wrong.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { clusterFirst, dnsNode, kubelet, kubeletYaml, kubeProxy } from './nodes.ts';

const YAML = 'files/var/lib/kubelet/config.yaml';
const POD = 'netns/4026532001/resolv.conf';
const ADDR = 'host/ip/addr.txt';
const told = (address: string) => kubeletYaml(`clusterDNS:\n- ${address}`);
const SERVICE = '-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP"';
const BARE = overlayNode({ n: 1, peers: [2] }).files[ADDR] as string;
/** As node-local-dns makes it. */
const NODELOCAL = `7: nodelocaldns: <BROADCAST,NOARP> mtu 1500 qdisc noop state DOWN group default 
    link/ether 02:00:00:00:07:01 brd ff:ff:ff:ff:ff:ff
    inet 169.254.20.10/32 scope global nodelocaldns
       valid_lft forever preferred_lft forever
`;
const NODE_CACHE =
  'udp UNCONN 0      0      169.254.20.10:53 0.0.0.0:* users:(("node-cache",pid=43,fd=3)) ino:1 sk:2 cgroup:/ <->\n';
const CILIUM = `7: cilium_host@cilium_net: <BROADCAST,MULTICAST,NOARP,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:07:01 brd ff:ff:ff:ff:ff:ff
`;
const noProxy = (text: string) => text;
const api = (address: string) =>
  `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'List',
      items: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'kube-dns', namespace: 'kube-system' },
          spec: {
            clusterIP: address,
            clusterIPs: [address],
            ports: [{ name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 }],
          },
        },
      ],
    },
    null,
    4,
  )}\n`;

testRule(rule, {
  finds: {
    'an address of the range that no service has': {
      nodes: { a: dnsNode({ [YAML]: told('10.96.0.7') }) },
      expect: [
        {
          key: '10.96.0.7',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^The kubelet of a gives pods 10\.96\.0\.7 for DNS, which no service has; DNS is on 10\.96\.0\.10 \(kube-system\/kube-dns:dns\)$/,
          cites: ['- 10.96.0.7', SERVICE],
        },
      ],
    },
    'the address of the cluster before, whose services had another range': {
      nodes: {
        a: dnsNode({ [POD]: clusterFirst('10.96.0.10') }, kubeProxy('10.43.0.10', '10.43.0.1')),
      },
      expect: [
        {
          key: '10.96.0.10',
          severity: 'high',
          confidence: 'likely',
          cites: ['- 10.96.0.10', '-A KUBE-SERVICES -d 10.43.0.10/32', 'nameserver 10.96.0.10'],
        },
      ],
    },
    'by the flag': {
      nodes: { a: dnsNode({ 'cmdline/kubelet.txt': kubelet('--cluster-dns=10.96.0.7') }) },
      expect: [{ severity: 'critical', cites: ['--cluster-dns=10.96.0.7', SERVICE] }],
    },
    'the second of two answers': {
      nodes: { a: dnsNode({ [YAML]: told('10.96.0.7\n- 10.96.0.10') }) },
      expect: [{ severity: 'medium', cites: ['- 10.96.0.7', SERVICE] }],
    },
    'a pod that was started before the kubelet was mended': {
      nodes: { a: dnsNode({ [POD]: clusterFirst('10.96.0.7') }) },
      expect: [
        {
          key: 'pods 10.96.0.7',
          severity: 'high',
          confidence: 'proven',
          message: /^Pods of a ask 10\.96\.0\.7 for DNS, which no service has/,
          cites: ['nameserver 10.96.0.7', SERVICE],
        },
      ],
    },
    'node-local DNS is not on the node': {
      nodes: { a: dnsNode({ [YAML]: told('169.254.20.10') }) },
      expect: [{ severity: 'critical', confidence: 'proven', cites: ['- 169.254.20.10', SERVICE] }],
    },
    'node-local DNS left its address behind': {
      nodes: {
        a: dnsNode({
          [YAML]: told('169.254.20.10'),
          [ADDR]: BARE + NODELOCAL,
          'host/sock/ss-listen.txt': 'tcp LISTEN 0      5      0.0.0.0:22   0.0.0.0:* ino:1 sk:2 cgroup:/ <->\n',
        }),
      },
      expect: [
        {
          severity: 'critical',
          message: /which the node itself has, but nobody listens there/,
          cites: ['- 169.254.20.10', 'inet 169.254.20.10/32 scope global nodelocaldns', 'absent: a listener there'],
        },
      ],
    },
    'no address at all': {
      nodes: { a: dnsNode({ [YAML]: kubeletYaml(), [POD]: 'nameserver 192.168.50.100\n' }) },
      expect: [
        {
          key: 'none',
          severity: 'high',
          confidence: 'likely',
          cites: [SERVICE, 'absent: an address of cluster DNS', 'absent: an address of cluster DNS'],
        },
      ],
    },
    'Cilium without rules: the API tells': {
      nodes: {
        a: dnsNode(
          { [YAML]: told('10.96.0.7'), [ADDR]: BARE + CILIUM, 'k8s/services.json': api('10.96.0.10') },
          noProxy,
        ),
      },
      expect: [{ severity: 'high', confidence: 'likely', cites: ['- 10.96.0.7', '"clusterIP": "10.96.0.10"'] }],
    },
  },
  passes: {
    'the address of the service': { nodes: { a: dnsNode() } },
    'a service without a backend is no wrong address': {
      nodes: {
        a: dnsNode({}, (t) =>
          kubeProxy('10.96.0.99')(t).replace(
            ':FLANNEL-FWD - [0:0]\n',
            ':FLANNEL-FWD - [0:0]\n:KUBE-SERVICES - [0:0]\n[0:0] -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns has no endpoints" -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable\n',
          ),
        ),
      },
    },
    'node-local DNS that runs': {
      nodes: {
        a: dnsNode({
          [YAML]: told('169.254.20.10'),
          [ADDR]: BARE + NODELOCAL,
          'host/sock/ss-listen.txt': NODE_CACHE,
          [POD]: clusterFirst('169.254.20.10'),
        }),
      },
    },
    'a pod with a dnsConfig of its own': {
      nodes: { a: dnsNode({ [POD]: 'nameserver 10.96.0.7\nsearch corp.example\n' }) },
    },
    'an external address of a service': {
      nodes: {
        a: dnsNode({ [YAML]: told('192.168.50.200') }, (t) =>
          kubeProxy()(t).replace(
            '[0:0] -A KUBE-SERVICES -d 10.96.0.10/32',
            '[0:0] -A KUBE-SERVICES -d 192.168.50.200/32 -p udp -m comment --comment "kube-system/kube-dns:dns loadbalancer IP" -m udp --dport 53 -j KUBE-EXT-TCOU7JCQXEZGVUNU\n[0:0] -A KUBE-SERVICES -d 10.96.0.10/32',
          ),
        ),
      },
    },
    'Cilium without rules: the API has it': {
      nodes: { a: dnsNode({ [ADDR]: BARE + CILIUM, 'k8s/services.json': api('10.96.0.10') }, noProxy) },
    },
    'kube-proxy in ipvs mode': {
      nodes: {
        a: dnsNode(
          { 'host/fw/ipvs.txt': '-A -u 10.96.0.10:53 -s rr\n-a -u 10.96.0.10:53 -r 10.244.1.10:53 -m -w 1\n' },
          noProxy,
        ),
      },
    },
  },
  notApplicable: {
    'no kubelet': {
      nodes: {
        a: {
          files: {
            'cmdline/kubelet.txt': { status: 'absent' },
            [YAML]: { status: 'absent' },
            'netns/x/resolv.conf': { status: 'absent' },
          },
        },
      },
    },
    'no proxy of services': {
      nodes: { a: dnsNode({ 'cmdline/kube-proxy.txt': { status: 'absent' } }, noProxy) },
    },
    'the kubelet of k3s': {
      nodes: {
        a: {
          files: {
            'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n',
            'cmdline/kubelet.txt': { status: 'absent' },
            [YAML]: { status: 'absent' },
            'netns/x/resolv.conf': { status: 'absent' },
          },
        },
      },
    },
  },
  unknown: {
    'rules of services were not collected': {
      nodes: { a: dnsNode({}, noProxy) },
      because: /10\.96\.0\.10.*neither rules of kube-proxy nor services of the API were collected/,
    },
    'Cilium, and no services of the API': {
      nodes: { a: dnsNode({ [ADDR]: BARE + CILIUM }, noProxy) },
      because: /programs of Cilium or Calico/,
    },
    'no service on port 53 at all': {
      nodes: { a: dnsNode({}, (t) => kubeProxy()(t).replace(/.*kube-system\/kube-dns:dns.*\n/, '')) },
      because: /no service of this cluster answers on port 53/,
    },
    'a server of the network, as the node has it': {
      nodes: { a: dnsNode({ [YAML]: told('192.168.50.100') }) },
      because: /a server elsewhere in the network may answer there/,
    },
    'a public server': {
      nodes: { a: dnsNode({ [YAML]: told('9.9.9.9') }) },
      because: /a server elsewhere in the network/,
    },
    'on the device of an ipvs proxy, whose services were not collected': {
      nodes: {
        a: dnsNode(
          {
            [ADDR]: BARE + NODELOCAL.replaceAll('nodelocaldns', 'kube-dummy-if').replace('169.254.20.10', '10.96.0.10'),
            'host/sock/ss-listen.txt': NODE_CACHE,
          },
          noProxy,
        ),
      },
      because: /it is on kube-dummy-if, but which ports its service has was not collected/,
    },
    'drop-in files of the kubelet': {
      nodes: { a: dnsNode({ 'cmdline/kubelet.txt': kubelet('--config-dir=/etc/kubelet.d') }) },
      because: /files in \/etc\/kubelet\.d/,
    },
    'the command line of the kubelet was not collected': {
      nodes: { a: { files: { [YAML]: told('10.96.0.7') } } },
      because: /command line, which wins over its file/,
    },
    'the rules were cut': {
      nodes: {
        a: dnsNode({
          [YAML]: told('10.96.0.7'),
          'host/fw/iptables-save.txt': {
            status: 'truncated',
            text: kubeProxy()(`${dnsNode().files['host/fw/iptables-save.txt']}`),
          },
        }),
      },
      because: /not collected whole/,
    },
  },
});

it('the remedy changes the very line', () => {
  const { findings } = judge([rule], { a: dnsNode({ [YAML]: told('10.96.0.7') }) });
  expect(findings[0]?.remediation?.[0]?.run).toBe(
    `f=/var/lib/kubelet/config.yaml; cp -a "$f" "$f.before" && sed -i '4s/10\\.96\\.0\\.7/10.96.0.10/' "$f" && systemctl restart kubelet`,
  );
});
