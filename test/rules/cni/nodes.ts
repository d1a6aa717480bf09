import type { Files, NodeFiles } from '../../support/rule-table.ts';

const KUBELET = [
  '/usr/bin/kubelet',
  '--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf',
  '--kubeconfig=/etc/kubernetes/kubelet.conf',
  '--config=/var/lib/kubelet/config.yaml',
  '--container-runtime-endpoint=unix:///run/containerd/containerd.sock',
];

/** kube-flannel's own file. */
export const FLANNEL_CONFLIST =
  '{\n  "name": "cbr0",\n  "cniVersion": "0.3.1",\n  "plugins": [\n    {\n      "type": "flannel",\n      "delegate": {\n        "hairpinMode": true,\n        "isDefaultGateway": true\n      }\n    },\n    {\n      "type": "portmap",\n      "capabilities": {\n        "portMappings": true\n      }\n    }\n  ]\n}\n';

/** What containerd’s release archive cri-containerd-cni lays down (incident 03). */
export const CONTAINERD_NET =
  '{\n  "cniVersion": "0.4.0",\n  "name": "containerd-net",\n  "plugins": [\n    {\n      "type": "bridge",\n      "bridge": "cni0",\n      "isGateway": true,\n      "ipMasq": true,\n      "promiscMode": true,\n      "ipam": {\n        "type": "host-local",\n        "ranges": [\n          [{\n            "subnet": "10.88.0.0/16"\n          }]\n        ],\n        "routes": [\n          { "dst": "0.0.0.0/0" }\n        ]\n      }\n    }\n  ]\n}\n';

/** `ls -l /opt/cni/bin` (Debian 12, coreutils 9.1). */
export const plugins = (...names: readonly string[]): string =>
  `total 18660\n${names.map((name) => `-rwxr-xr-x 1 root root 4016001 Jan 11  2024 ${name}\n`).join('')}`;

/** What `containerd config default` of 1.6 says of CNI. */
export const CONTAINERD_TOML =
  'version = 2\n\n[plugins]\n\n  [plugins."io.containerd.grpc.v1.cri"]\n\n    [plugins."io.containerd.grpc.v1.cri".cni]\n      bin_dir = "/opt/cni/bin"\n      conf_dir = "/etc/cni/net.d"\n      conf_template = ""\n      ip_pref = ""\n      max_conf_num = 1\n';

export const ALL = plugins('bridge', 'flannel', 'host-local', 'loopback', 'portmap');

/** A node of kubeadm with containerd and flannel, as the collector finds it; `change` replaces files, null takes one away. */
export function cniNode(
  change: Readonly<Record<string, Files[string] | null>> = {},
  info?: NodeFiles['info'],
): NodeFiles {
  const files: Record<string, Files[string] | null> = {
    'cmdline/kubelet.txt': `${KUBELET.join('\n')}\n`,
    'cmdline/k3s.txt': { status: 'absent', reason: 'no process k3s' },
    'cmdline/rke2.txt': { status: 'absent', reason: 'no process rke2' },
    'cmdline/containerd.txt': '/usr/bin/containerd\n',
    'cmdline/flanneld.txt': '/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n',
    'files/etc/containerd/config.toml': CONTAINERD_TOML,
    'files/etc/cni/net.d/10-flannel.conflist': FLANNEL_CONFLIST,
    'cni/bin.txt': ALL,
    'files/run/flannel/subnet.env':
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
    ...change,
  };
  const kept = Object.entries(files).filter((e): e is [string, Files[string]] => e[1] !== null);
  return { files: Object.fromEntries(kept), ...(info === undefined ? {} : { info }) };
}

/** A node without any file below /etc/cni/net.d. */
export const NO_CONF = {
  'files/etc/cni/net.d/10-flannel.conflist': null,
  'files/etc/cni/net.d/*': { status: 'absent', reason: 'no such file: /etc/cni/net.d/*' },
} as const;

/** `crictl info` of containerd 1.6 (form of containerd issues 7196 and 11209). */
export function crictlInfo(
  ready: boolean,
  load = 'OK',
  confDir = '/etc/cni/net.d',
  socket = '/run/containerd/containerd.sock',
): string {
  return `${JSON.stringify(
    {
      status: {
        conditions: [
          { type: 'RuntimeReady', status: true, reason: '', message: '' },
          ready
            ? { type: 'NetworkReady', status: true, reason: '', message: '' }
            : {
                type: 'NetworkReady',
                status: false,
                reason: 'NetworkPluginNotReady',
                message: 'Network plugin returns error: cni plugin not initialized',
              },
        ],
      },
      cniconfig: { PluginDirs: ['/opt/cni/bin'], PluginConfDir: confDir, PluginMaxConfNum: 1, Prefix: 'eth' },
      config: {
        cni: { binDir: '/opt/cni/bin', confDir, maxConfNum: 1, confTemplate: '', ipPref: '' },
        containerdEndpoint: socket,
      },
      golang: 'go1.19.8',
      lastCNILoadStatus: load,
      'lastCNILoadStatus.default': load,
    },
    null,
    2,
  )}\n`;
}
