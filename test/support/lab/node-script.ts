import { rootOf } from './node-files.ts';
import { producerRules } from './producers.ts';
import type { Bind, LabPlan, NodePlan, PodPlan } from './spec.ts';

/** Of the host's own set-up a node must not see this. */
const HIDDEN = [
  '.dockerenv',
  'etc/docker',
  'etc/containerd',
  'etc/cni',
  'etc/kubernetes',
  'etc/kube-flannel',
  'etc/rancher',
  'etc/default/docker',
  'etc/default/kubelet',
  'etc/sysctl.d',
  'etc/machine-id',
  'etc/iptables',
  'etc/nftables.conf',
  'opt',
  'run',
  'sys',
  'var/log',
  'var/lib/docker',
  'var/lib/containerd',
  'var/lib/kubelet',
  'var/lib/cni',
];

/** Nobody else has a lab's addresses: IPv6 need not wait a second to find out. */
export const NO_DAD = 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad';

/**
 * The namespaces' first process gives the node a root directory of its own: the host's file system, with an
 * upper layer in memory for everything that is written, and without what the host itself is set up for.
 */
export function mountScript(name: string, bootId: string, binds: readonly Bind[] = []): string {
  const dirs = new Set(HIDDEN.flatMap((path) => (path.includes('/') ? [path.slice(0, path.lastIndexOf('/'))] : [])));
  return `
hostname ${name}
mount -t tmpfs -o mode=755 tmpfs /srv
cd /srv
mkdir upper work root
cd upper
mkdir -p ${[...dirs].join(' ')}
for path in ${HIDDEN.join(' ')}; do mknod $path c 0 0; done
cd ..
mount -t overlay -o lowerdir=/,upperdir=/srv/upper,workdir=/srv/work overlay root
mkdir -p root/opt root/run root/sys root/proc root/var/log root/var/lib/kubelet root/etc/sysctl.d
mount -t proc proc root/proc
mount -t sysfs sysfs root/sys
mount -t cgroup2 cgroup2 root/sys/fs/cgroup
mount --rbind /dev root/dev
mount -t tmpfs -o mode=755 tmpfs root/run
mkdir -p root/run/netns root/run/lock
${binds.map(({ from, to }) => `mkdir -p root${to}\nmount --bind ${from} root${to}`).join('\n')}
echo ${bootId} >boot_id
mount --bind boot_id root/proc/sys/kernel/random/boot_id
cd root
pivot_root . .
umount -l .
cd /
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
${NO_DAD}`;
}

/** flannel.1 as flanneld makes it, or with other parameters: `ip -batch` lines. */
export function vxlanDevice(node: NodePlan, change: { id?: number; port?: number; mac?: string } = {}): string[] {
  const { id = 1, port = 8472, mac = node.vtepMac } = change;
  const vxlan = `type vxlan id ${id} dev eth0 local ${node.address} dstport ${port} nolearning`;
  return [
    `link add flannel.1 address ${mac} mtu 1450 ${vxlan}`,
    `addr add ${node.podPrefix}.0/32 dev flannel.1`,
    'link set flannel.1 up',
  ];
}

/** Routes, neighbours and forwarding entries of `node` for its peers. */
export function peerEntries(plan: LabPlan, node: NodePlan): { ip: string[]; bridge: string[] } {
  const ip: string[] = [];
  const bridge: string[] = [];
  const seen = new Set([node.podSubnet]);
  for (const peer of plan.nodes) {
    if (peer === node || seen.has(peer.podSubnet)) continue;
    seen.add(peer.podSubnet);
    if (plan.backend === 'host-gw') ip.push(`route add ${peer.podSubnet} via ${peer.address} dev eth0`);
    if (plan.backend !== 'vxlan') continue;
    const vtep = `${peer.podPrefix}.0`;
    ip.push(`route add ${peer.podSubnet} via ${vtep} dev flannel.1 onlink`);
    ip.push(`neigh replace ${vtep} lladdr ${peer.vtepMac} dev flannel.1 nud permanent`);
    bridge.push(`fdb replace ${peer.vtepMac} dev flannel.1 dst ${peer.address} self permanent`);
  }
  return { ip, bridge };
}

const batch = (tool: string, lines: readonly string[]) =>
  lines.length === 0 ? '' : `${tool} -batch - <<'EOF'\n${lines.join('\n')}\nEOF\n`;

/** Devices, addresses, routes, pods, rules and processes, once the node's eth0 is there. */
export function nodeScript(plan: LabPlan, node: NodePlan): string {
  const ip = [
    'link set lo up',
    `addr add ${node.address}/${plan.underlayLength} brd + dev eth0`,
    'link set eth0 up',
    `route add default via ${plan.outside} dev eth0`,
  ];
  let bridge: string[] = [];
  if (plan.backend !== 'none') {
    if (plan.backend === 'vxlan') ip.push(...vxlanDevice(node));
    ip.push(
      'link add cni0 type bridge',
      `link set cni0 mtu ${plan.podMtu} up`,
      `addr add ${node.gateway}/24 brd + dev cni0`,
    );
    const peers = peerEntries(plan, node);
    ip.push(...peers.ip);
    bridge = peers.bridge;
  }
  const rules = producerRules(plan, node);
  const cluster = plan.backend !== 'none';
  return `
${cluster ? 'echo 1 >/proc/sys/net/ipv4/ip_forward\necho 1 >/proc/sys/net/bridge/bridge-nf-call-iptables' : ''}
echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter
${batch('ip', ip)}${batch('bridge', bridge)}
${cluster ? node.pods.map((pod) => podScript(plan, node, pod)).join('') : ''}
${rules === '' ? '' : `iptables-restore --noflush <<'EOF'\n${rules}EOF\n`}
${cluster && plan.processes ? processScript(plan, node) : ''}
${node.setup}
`;
}

/** A pod: a namespace pinned as CNI plugins pin it, a veth into cni0, and a pause process in it. */
export function podScript(plan: LabPlan, node: NodePlan, pod: PodPlan): string {
  const root = rootOf(pod.netns);
  return `ip netns add ${pod.netns}
${batch('ip', [
  `link add ${pod.port} mtu ${plan.podMtu} type veth peer name eth0 mtu ${plan.podMtu} address ${pod.mac} netns ${pod.netns}`,
  `link set ${pod.port} master cni0 up`,
])}ip -n ${pod.netns} -batch - <<'EOF'
link set lo up
addr add ${pod.ip}/24 brd + dev eth0
link set eth0 up
route add default via ${node.gateway} dev eth0
route add ${plan.clusterCidr} via ${node.gateway} dev eth0
EOF
echo 1 >/sys/class/net/${pod.port}/brport/hairpin_mode
${detached(`nsenter --net=/run/netns/${pod.netns} unshare --uts sh -c 'hostname ${pod.name}; exec chroot ${root} /pause'`)}`;
}

function processScript(plan: LabPlan, node: NodePlan): string {
  const kubelet = [
    '--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf',
    '--kubeconfig=/etc/kubernetes/kubelet.conf',
    '--config=/var/lib/kubelet/config.yaml',
    '--container-runtime-endpoint=unix:///run/containerd/containerd.sock',
    '--pod-infra-container-image=registry.k8s.io/pause:3.8',
  ];
  const proxy = `/usr/local/bin/kube-proxy --config=/var/lib/kube-proxy/config.conf --hostname-override=${node.name}`;
  return [
    processOnNode('/usr/bin/kubelet', kubelet),
    processOnNode('/usr/bin/containerd', []),
    detached(`chroot ${rootOf('kube-flannel')} /opt/bin/flanneld --ip-masq --kube-subnet-mgr`),
    plan.services === null ? '' : detached(`chroot ${rootOf('kube-proxy')} ${proxy}`),
  ].join('');
}

/** A process with this path and these flags in /proc; its program is /opt/idle/NAME, which must be there. */
export function processOnNode(path: string, flags: readonly string[]): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const quoted = flags.map((flag) => `'${flag}'`).join(' ');
  return detached(`bash -c 'exec -a "$0" "$@"' ${path} /opt/idle/${name} ${quoted}`);
}

function detached(command: string): string {
  return `${command} </dev/null >/dev/null 2>&1 &\n`;
}

/** What kube-flannel and the package kubernetes-cni leave in /opt/cni/bin, as far as pods of flannel need it. */
const CNI_PLUGINS = ['bridge', 'flannel', 'host-local', 'loopback', 'portmap'];

/** Where the idle program has to be for the processes of this node. */
export function idlePrograms(plan: LabPlan, node: NodePlan): string[] {
  if (plan.backend === 'none') return [];
  return [
    '/opt/idle/kubelet',
    '/opt/idle/containerd',
    ...CNI_PLUGINS.map((name) => `/opt/cni/bin/${name}`),
    `${rootOf('kube-flannel')}/opt/bin/flanneld`,
    ...(plan.services === null ? [] : [`${rootOf('kube-proxy')}/usr/local/bin/kube-proxy`]),
    ...node.pods.map((pod) => `${rootOf(pod.netns)}/pause`),
  ];
}
