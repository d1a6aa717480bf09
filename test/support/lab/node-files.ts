import type { LabPlan, NodePlan } from './spec.ts';

const RUNTIME = '/run/containerd/io.containerd.runtime.v2.task/k8s.io';

/** A 64 digit container id from a name. */
export function containerId(name: string): string {
  let a = 7;
  let out = '';
  for (let i = 0; out.length < 64; i++) {
    a = (Math.imul(a, 31) + name.charCodeAt(i % name.length) + i) >>> 0;
    out += (a & 15).toString(16);
  }
  return out;
}

export function rootOf(name: string): string {
  return `${RUNTIME}/${containerId(name)}/rootfs`;
}

export function netConf(plan: LabPlan): string {
  const backend = plan.backend === 'vxlan' ? { Type: 'vxlan' } : { Type: plan.backend };
  return `${JSON.stringify({ Network: plan.clusterCidr, EnableNFTables: false, Backend: backend }, null, 2)}\n`;
}

export function subnetEnv(plan: LabPlan, node: NodePlan): string {
  return `FLANNEL_NETWORK=${plan.clusterCidr}\nFLANNEL_SUBNET=${node.gateway}/24\nFLANNEL_MTU=${plan.podMtu}\nFLANNEL_IPMASQ=true\n`;
}

export function kubeletConfig(cgroupDriver: string): string {
  return `apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
cgroupDriver: ${cgroupDriver}
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
kind: KubeletConfiguration
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
`;
}

export function containerdConfig(cgroupDriver: string): string {
  return `version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.8"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = ${cgroupDriver === 'systemd'}
`;
}

/** The files of a healthy node of this plan; for backend `none` only who it is. */
export function nodeFiles(plan: LabPlan, node: NodePlan): Record<string, string | null> {
  const files: Record<string, string | null> = {
    '/etc/hostname': `${node.name}\n`,
    '/etc/machine-id': `${node.machineId}\n`,
    '/etc/hosts': `127.0.0.1 localhost\n${plan.nodes.map((n) => `${n.address} ${n.name}\n`).join('')}`,
    '/etc/resolv.conf': `nameserver ${plan.outside}\n`,
  };
  if (plan.backend !== 'none') Object.assign(files, clusterFiles(plan, node));
  return { ...files, ...node.files };
}

function clusterFiles(plan: LabPlan, node: NodePlan): Record<string, string> {
  const conflist = {
    name: 'cbr0',
    cniVersion: '0.3.1',
    plugins: [
      { type: 'flannel', delegate: { hairpinMode: true, isDefaultGateway: true } },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
  const files: Record<string, string> = {
    '/run/flannel/subnet.env': subnetEnv(plan, node),
    '/etc/cni/net.d/10-flannel.conflist': `${JSON.stringify(conflist, null, 2)}\n`,
    '/etc/sysctl.d/99-kubernetes-cri.conf': 'net.bridge.bridge-nf-call-iptables = 1\nnet.ipv4.ip_forward = 1\n',
    '/var/lib/kubelet/config.yaml': kubeletConfig(plan.cgroupDriver),
    '/var/lib/kubelet/kubeadm-flags.env':
      'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock --pod-infra-container-image=registry.k8s.io/pause:3.8"\n',
    '/etc/containerd/config.toml': containerdConfig(plan.cgroupDriver),
    [`${rootOf('kube-flannel')}/etc/kube-flannel/net-conf.json`]: netConf(plan),
  };
  for (const pod of node.pods) {
    files[`/var/lib/cni/networks/cbr0/${pod.ip}`] = `${containerId(pod.netns)}\r\neth0`;
    files['/var/lib/cni/networks/cbr0/last_reserved_ip.0'] = pod.ip;
    files[`${rootOf(pod.netns)}/etc/resolv.conf`] =
      'search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n';
  }
  if (node.controlPlane) {
    files['/etc/kubernetes/manifests/kube-apiserver.yaml'] = staticPod('kube-apiserver', [
      `--advertise-address=${node.address}`,
      `--service-cluster-ip-range=${plan.serviceCidr}`,
    ]);
    files['/etc/kubernetes/manifests/kube-controller-manager.yaml'] = staticPod('kube-controller-manager', [
      '--allocate-node-cidrs=true',
      `--cluster-cidr=${plan.clusterCidr}`,
      `--service-cluster-ip-range=${plan.serviceCidr}`,
    ]);
  }
  if (plan.services !== null) {
    files[`${rootOf('kube-proxy')}/var/lib/kube-proxy/config.conf`] =
      `apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: ${plan.clusterCidr}\nmode: iptables\n`;
  }
  return files;
}

function staticPod(name: string, flags: readonly string[]): string {
  return `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: kube-system
spec:
  containers:
  - command:
    - ${name}
${flags.map((flag) => `    - ${flag}\n`).join('')}    image: registry.k8s.io/${name}:v1.27.4
    name: ${name}
  hostNetwork: true
`;
}
