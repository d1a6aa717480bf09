import { rule } from '../../../rules/flannel/pod-cidr-disagreement.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';

const env = (network: string, subnet = '10.244.1.1/24') =>
  `FLANNEL_NETWORK=${network}\nFLANNEL_SUBNET=${subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`;
const netConf = (network: string) =>
  `{\n  "Network": "${network}",\n  "EnableNFTables": false,\n  "Backend": {\n    "Type": "vxlan"\n  }\n}\n`;
const manifests = (cidr: string, allocate = 'true') => `kube-apiserver.yaml
kube-controller-manager.yaml
/etc/kubernetes/manifests/kube-apiserver.yaml:    - --service-cluster-ip-range=10.96.0.0/12
/etc/kubernetes/manifests/kube-controller-manager.yaml:    - --allocate-node-cidrs=${allocate}
/etc/kubernetes/manifests/kube-controller-manager.yaml:    - --cluster-cidr=${cidr}
/etc/kubernetes/manifests/kube-controller-manager.yaml:    - --service-cluster-ip-range=10.96.0.0/12
`;
const proxy = (cidr: string, mode = '""') =>
  `apiVersion: kubeproxy.config.k8s.io/v1alpha1\nclusterCIDR: ${cidr}\ndetectLocalMode: ${mode}\nkind: KubeProxyConfiguration\nmode: iptables\n`;
const nodeJson = (cidr: string) =>
  `${JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' }, spec: { podCIDR: cidr, podCIDRs: [cidr] } }, null, 4)}\n`;
const SUBNET_MANAGER = '# pid 812\n/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n';
const ETCD = '# pid 812\n/opt/bin/flanneld\n--etcd-endpoints=https://10.0.0.1:2379\n';

/** A node on which every place names one range, but for `change`. */
const node = (change: NodeFiles['files'] = {}): NodeFiles => ({
  files: {
    'files/run/flannel/subnet.env': env('10.244.0.0/16'),
    'flannel/net-conf.json': netConf('10.244.0.0/16'),
    'cmdline/flanneld.txt': SUBNET_MANAGER,
    'staticpods.txt': manifests('10.244.0.0/16'),
    'files/var/lib/kube-proxy/config.conf': proxy('10.244.0.0/16'),
    'k8s/node.json': nodeJson('10.244.1.0/24'),
    ...change,
  },
});

testRule(rule, {
  finds: {
    'a podCIDR outside of Network: flanneld refuses it': {
      nodes: { a: node({ 'k8s/node.json': nodeJson('10.42.1.0/24'), 'staticpods.txt': { status: 'absent' } }) },
      expect: [
        {
          key: 'podCIDR',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^the podCIDR 10\.42\.1\.0\/24 of a is outside flannel’s Network 10\.244\.0\.0\/16: flanneld does not take it/,
          cites: ['"podCIDR": "10.42.1.0/24"', '"Network": "10.244.0.0/16"'],
        },
      ],
    },
    'the configuration was changed under flanneld, to a range without its subnet': {
      nodes: {
        a: node({
          'flannel/net-conf.json': netConf('10.42.0.0/16'),
          'k8s/node.json': { status: 'absent' },
          'staticpods.txt': { status: 'absent' },
        }),
      },
      expect: [
        {
          key: 'configuration',
          severity: 'high',
          message: /it does not hold the subnet 10\.244\.1\.0\/24 of the node, and flanneld does not start with it$/,
          cites: ['"Network": "10.42.0.0/16"', 'FLANNEL_NETWORK=10.244.0.0/16'],
        },
      ],
    },
    'the configuration was made wider': {
      nodes: { a: node({ 'flannel/net-conf.json': netConf('10.240.0.0/12') }) },
      expect: [{ key: 'configuration', severity: 'medium', cites: ['"Network": "10.240.0.0/12"', 'FLANNEL_NETWORK'] }],
    },
    'the controller manager cuts nodes out of another range': {
      nodes: { a: node({ 'staticpods.txt': manifests('10.42.0.0/16'), 'k8s/node.json': { status: 'absent' } }) },
      expect: [
        {
          key: 'controller manager',
          severity: 'high',
          confidence: 'likely',
          message: /gives nodes subnets of 10\.42\.0\.0\/16, and flannel’s Network is 10\.244\.0\.0\/16/,
          cites: ['--cluster-cidr=10.42.0.0/16', '"Network": "10.244.0.0/16"'],
        },
      ],
    },
    'kube-proxy has another range': {
      nodes: { a: node({ 'files/var/lib/kube-proxy/config.conf': proxy('10.42.0.0/16') }) },
      expect: [
        {
          key: 'kube-proxy',
          severity: 'medium',
          message:
            /^kube-proxy of a takes 10\.42\.0\.0\/16 for the pods of the cluster, and flannel’s are of 10\.244\.0\.0\/16/,
          cites: ['clusterCIDR: 10.42.0.0/16', 'FLANNEL_NETWORK=10.244.0.0/16'],
        },
      ],
    },
    'kube-proxy has the subnet of one node': {
      nodes: {
        a: node({
          'files/var/lib/kube-proxy/config.conf': { status: 'absent' },
          'cmdline/kube-proxy.txt': '# pid 9\n/usr/local/bin/kube-proxy\n--cluster-cidr=10.244.1.0/24\n',
        }),
      },
      expect: [{ key: 'kube-proxy', cites: ['--cluster-cidr=10.244.1.0/24', 'FLANNEL_NETWORK'] }],
    },
  },
  passes: {
    'one range everywhere': { nodes: { a: node() } },
    'lists of two families': {
      nodes: {
        a: node({
          'staticpods.txt': manifests('fd00:10:244::/56,10.244.0.0/16'),
          'files/var/lib/kube-proxy/config.conf': proxy('10.244.0.0/16,fd00:10:244::/56'),
        }),
      },
    },
    'kube-proxy tells pods by the node’s podCIDR': {
      nodes: { a: node({ 'files/var/lib/kube-proxy/config.conf': proxy('10.42.0.0/16', 'NodeCIDR') }) },
    },
    'the controller manager hands out a part of Network': {
      nodes: { a: node({ 'staticpods.txt': manifests('10.244.0.0/17') }) },
    },
    'the controller manager hands out none': {
      nodes: { a: node({ 'staticpods.txt': manifests('10.42.0.0/16', 'false') }) },
    },
    'flanneld has its subnets from etcd': {
      nodes: {
        a: node({
          'cmdline/flanneld.txt': ETCD,
          'k8s/node.json': nodeJson('10.42.1.0/24'),
          'staticpods.txt': manifests('10.42.0.0/16'),
        }),
      },
    },
  },
  notApplicable: {
    'no flannel': {
      nodes: {
        a: {
          files: {
            'files/run/flannel/subnet.env': { status: 'absent' },
            'flannel/net-conf.json': { status: 'absent' },
          },
        },
      },
    },
  },
  unknown: {
    'one place alone': {
      nodes: { a: { files: { 'files/run/flannel/subnet.env': env('10.244.0.0/16') } } },
      because: /one place alone tells the pod range \(10\.244\.0\.0\/16\)/,
    },
  },
});
