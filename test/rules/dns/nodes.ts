import type { NodeFiles } from '../../support/rule-table.ts';
import { podNode } from '../forwarding/nodes.ts';

/** Arguments of a kubelet as kubeadm starts it, one a line. */
export const kubelet = (...more: readonly string[]): string =>
  ['/usr/bin/kubelet', '--kubeconfig=/etc/kubernetes/kubelet.conf', '--config=/var/lib/kubelet/config.yaml', ...more]
    .map((arg) => `${arg}\n`)
    .join('');

/** config.yaml of the kubelet, with these lines among its own. */
export const kubeletYaml = (...lines: readonly string[]): string =>
  `apiVersion: kubelet.config.k8s.io/v1beta1\ncgroupDriver: systemd\n${lines.map((l) => `${l}\n`).join('')}kind: KubeletConfiguration\n`;

export const CLUSTER_DNS = 'clusterDNS:\n- 10.96.0.10';

/** resolv.conf of a pod with dnsPolicy ClusterFirst, as the kubelet writes it. */
export const clusterFirst = (server: string): string =>
  `search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver ${server}\noptions ndots:5\n`;

/** `ss -H -lntupe` of a pod with a web server. */
export const SS_WEB = 'tcp LISTEN 0      5      0.0.0.0:80   0.0.0.0:* ino:90623394 sk:55269 cgroup:/ <->\n';
/** The same of one with CoreDNS. */
export const SS_COREDNS =
  'udp UNCONN 0      0            *:53         *:*    users:(("coredns",pid=911,fd=12)) ino:90623395 sk:55270 cgroup:/ v6only:0 <->\n';
/** The embedded resolver of dockerd 20.10 in a user-defined network, seen on a real one. */
export const SS_DOCKER =
  'udp UNCONN 0      0      127.0.0.11:58669 0.0.0.0:* users:(("dockerd",pid=43,fd=38)) ino:90623483 sk:5526a cgroup:/ <->\n';

/** Rules of kube-proxy 1.31 (iptables mode) for the API and for cluster DNS. */
export const kubeProxy =
  (dns = '10.96.0.10', api = '10.96.0.1') =>
  (save: string): string =>
    save.replace(
      ':FLANNEL-POSTRTG - [0:0]\n',
      `:FLANNEL-POSTRTG - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
[0:0] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[0:0] -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[0:0] -A KUBE-SERVICES -d ${api}/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
[0:0] -A KUBE-SERVICES -d ${dns}/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU
`,
    );

/** A Kubernetes node with one pod in netns/4026532001. */
export const dnsNode = (files: NodeFiles['files'] = {}, save: (text: string) => string = kubeProxy()): NodeFiles =>
  podNode(save, {
    'cmdline/kubelet.txt': kubelet(),
    'files/var/lib/kubelet/config.yaml': kubeletYaml(CLUSTER_DNS),
    'files/etc/resolv.conf': 'nameserver 192.168.50.100\n',
    'netns/index.txt': '4026531840 1 systemd - -\n4026532001 812 pause - /run/netns/cni-0af4010a\n',
    'netns/4026532001/resolv.conf': clusterFirst('10.96.0.10'),
    'netns/4026532001/ss-listen.txt': SS_WEB,
    'netns/4026532001/iptables-nft-save.txt': '',
    ...files,
  });
