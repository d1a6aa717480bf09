// Configuration of docker, the kubelet, flannel and the system, as kubeadm with cri-dockerd leaves it on a node.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from './random.mjs';

const data = (name) => readFileSync(join(import.meta.dirname, 'data', name), 'utf8');
const FIXED = {
  'host/sys/modules.txt': data('modules.txt'),
  'host/sys/kconfig-net.txt': data('kconfig-net.txt'),
  'host/proc/net/snmp': data('snmp'),
  'host/proc/net/netstat': data('netstat'),
};
const SYSCTL = data('sysctl.txt').trimEnd().split('\n');

export function systemTexts(node) {
  const { name, uptime, t0, cluster, index } = node;
  const peers = Array.from(
    { length: Math.min(cluster.nodes, 3) },
    (_, i) => `${cluster.underlay(i)} ${cluster.name(i)}\n`,
  );
  return {
    ...FIXED,
    'host/sys/uname.txt': `Linux ${name} 6.1.0-28-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22) x86_64 GNU/Linux\n`,
    'host/sys/hostname.txt': `${name}\n`,
    'host/sys/uptime.txt': `${uptime}.${10 + (index % 90)} ${uptime * node.cpus}.42\n`,
    'host/sys/boot_id.txt': `${node.bootId}\n`,
    'host/sys/date.txt': `${t0}\n`,
    'host/sys/cmdline.txt': 'BOOT_IMAGE=/boot/vmlinuz-6.1.0-28-amd64 root=/dev/vda1 ro quiet\n',
    'host/sys/cgroup.txt':
      'cgroup2fs\n0::/init.scope\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n',
    'host/sys/sysctl.txt': sysctl(node),
    'files/etc/os-release':
      'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
    'files/etc/machine-id': `${node.machineId}\n`,
    'files/etc/hosts': `127.0.0.1 localhost\n${node.address} ${name}\n${peers.join('')}`,
    'files/etc/resolv.conf': `search example.internal\nnameserver ${cluster.dns}\n`,
    'files/etc/nsswitch.conf': 'passwd: files systemd\nhosts: files dns\n',
    'files/etc/sysctl.d/99-kubernetes-cri.conf': 'net.bridge.bridge-nf-call-iptables = 1\nnet.ipv4.ip_forward = 1\n',
    'files/etc/iproute2/rt_tables': '255\tlocal\n254\tmain\n253\tdefault\n0\tunspec\n',
    'host/proc/net/sockstat':
      'sockets: used 612\nTCP: inuse 84 orphan 0 tw 31 alloc 233 mem 41\nUDP: inuse 7 mem 3\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n',
    'host/ct/count': `${800 + ((index * 37) % 9000)}\n`,
    'host/ct/max': '262144\n',
    'host/ct/buckets': '65536\n',
    'host/sock/ss-listen.txt': sockets(node),
  };
}

const CONF = [
  ['forwarding', 1],
  ['rp_filter', 0],
  ['arp_accept', 0],
  ['arp_announce', 0],
  ['arp_filter', 0],
  ['arp_ignore', 0],
  ['arp_notify', 0],
  ['proxy_arp', 0],
  ['accept_local', 0],
  ['route_localnet', 0],
  ['send_redirects', 1],
  ['src_valid_mark', 0],
];

function sysctl({ devices, faults }) {
  const names = ['all', 'default', ...devices.map((d) => d.name)].sort();
  const forward = faults.has('ip-forward') ? 0 : 1;
  const lines = [];
  for (const line of SYSCTL) {
    // the per-device values stand between those of IPv4 and of the bridges, as the globs of the collector order them
    if (line.startsWith('net/bridge/') && !lines.some((l) => l.startsWith('net/ipv4/conf/'))) {
      for (const [key, value] of CONF)
        for (const n of names) lines.push(`net/ipv4/conf/${n}/${key}:${key === 'forwarding' ? forward : value}`);
      for (const [key, value] of [
        ['forwarding', 0],
        ['disable_ipv6', 0],
        ['accept_ra', 1],
      ])
        for (const n of names) lines.push(`net/ipv6/conf/${n}/${key}:${value}`);
    }
    if (line.startsWith('net/ipv4/ip_forward:')) lines.push(`net/ipv4/ip_forward:${forward}`);
    else if (line.startsWith('net/bridge/bridge-nf-call-iptables:'))
      lines.push(`net/bridge/bridge-nf-call-iptables:${faults.has('bridge-nf') ? 0 : 1}`);
    else lines.push(line);
  }
  return `${lines.join('\n')}\n`;
}

function sockets({ address, index, faults }) {
  const row = (proto, state, queue, local, ino, users) =>
    `${proto} ${state.padEnd(6)} 0      ${String(queue).padEnd(6)} ${local} ${local.startsWith('[') ? '[::]:*' : '0.0.0.0:*'}${users} ino:${ino} sk:${(ino % 4096).toString(16)} cgroup:/system.slice <->\n`;
  const base = 30_000 + index;
  return [
    row('udp', 'UNCONN', 0, `0.0.0.0:${faults.has('vxlan-port') ? 4789 : 8472}`, base, ''),
    row('tcp', 'LISTEN', 4096, '0.0.0.0:22', base + 1, ' users:(("sshd",pid=811,fd=3))'),
    row('tcp', 'LISTEN', 4096, '127.0.0.1:10248', base + 2, ' users:(("kubelet",pid=1201,fd=17))'),
    row('tcp', 'LISTEN', 4096, '127.0.0.1:10249', base + 3, ' users:(("kube-proxy",pid=1544,fd=12))'),
    row('tcp', 'LISTEN', 4096, `${address}:10250`, base + 4, ' users:(("kubelet",pid=1201,fd=21))'),
    row('tcp', 'LISTEN', 4096, `${address}:10256`, base + 5, ' users:(("kube-proxy",pid=1544,fd=9))'),
  ].join('');
}

const KUBELET = [
  '/usr/bin/kubelet',
  '--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf',
  '--kubeconfig=/etc/kubernetes/kubelet.conf',
  '--config=/var/lib/kubelet/config.yaml',
  // 1.26 or before: older than kubelets that ask the runtime for its driver
  '--container-runtime=remote',
  '--container-runtime-endpoint=unix:///run/cri-dockerd.sock',
  '--pod-infra-container-image=registry.k8s.io/pause:3.9',
];

export function kubeTexts({ cluster, index, name, pods, devices }) {
  const files = {
    'cmdline/kubelet.txt': `${KUBELET.join('\n')}\n`,
    'cmdline/kube-proxy.txt': `/usr/local/bin/kube-proxy\n--config=/var/lib/kube-proxy/config.conf\n--hostname-override=${name}\n`,
    'cmdline/flanneld.txt': '/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n',
    'cmdline/cri-dockerd.txt': '/usr/bin/cri-dockerd\n--container-runtime-endpoint\nfd://\n--network-plugin=cni\n',
    'cmdline/containerd.txt': '/usr/bin/containerd\n',
    'systemd/kubelet.txt': `# /lib/systemd/system/kubelet.service\n[Unit]\nDescription=kubelet: The Kubernetes Node Agent\n\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n\n# /etc/systemd/system/kubelet.service.d/10-kubeadm.conf\n[Service]\nEnvironment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"\nEnvironment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n`,
    'files/var/lib/kubelet/config.yaml': `apiVersion: kubelet.config.k8s.io/v1beta1\nauthentication:\n  anonymous:\n    enabled: false\n  webhook:\n    enabled: true\ncgroupDriver: systemd\nclusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local\nkind: KubeletConfiguration\nmaxPods: 200\nrotateCertificates: true\nstaticPodPath: /etc/kubernetes/manifests\n`,
    'files/var/lib/kubelet/kubeadm-flags.env':
      'KUBELET_KUBEADM_ARGS="--container-runtime=remote --container-runtime-endpoint=unix:///run/cri-dockerd.sock --pod-infra-container-image=registry.k8s.io/pause:3.9"\n',
    'files/var/lib/kube-proxy/config.conf': `apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: ${cluster.network}\nmode: iptables\n`,
    'files/run/flannel/subnet.env': `FLANNEL_NETWORK=${cluster.network}\nFLANNEL_SUBNET=${cluster.subnet(index)}.1/24\nFLANNEL_MTU=${devices[3].mtu}\nFLANNEL_IPMASQ=true\n`,
    'flannel/net-conf.json': `{\n  "Network": "${cluster.network}",\n  "EnableNFTables": false,\n  "Backend": {\n    "Type": "vxlan"${devices[3].port === 8472 ? '' : `,\n    "Port": ${devices[3].port}`}\n  }\n}\n`,
    'files/etc/cni/net.d/10-flannel.conflist':
      '{\n  "name": "cbr0",\n  "cniVersion": "0.3.1",\n  "plugins": [\n    {\n      "type": "flannel",\n      "delegate": {\n        "hairpinMode": true,\n        "isDefaultGateway": true\n      }\n    },\n    {\n      "type": "portmap",\n      "capabilities": {\n        "portMappings": true\n      }\n    }\n  ]\n}\n',
    'cni/bin.txt':
      'total 18660\n-rwxr-xr-x 1 root root 4016001 Jan 11  2024 bridge\n-rwxr-xr-x 1 root root 2342446 Jan 11  2024 flannel\n-rwxr-xr-x 1 root root 3356587 Jan 11  2024 host-local\n-rwxr-xr-x 1 root root 3388154 Jan 11  2024 loopback\n-rwxr-xr-x 1 root root 3939867 Jan 11  2024 portmap\n',
    'cni/ipam.txt':
      pods
        .map((p) => `/var/lib/cni/networks/cbr0/${p.ip}:${p.id}\n/var/lib/cni/networks/cbr0/${p.ip}:eth0\n`)
        .join('') + (pods.length > 0 ? `/var/lib/cni/networks/cbr0/last_reserved_ip.0:${pods.at(-1).ip}\n` : ''),
    'cni/cache.txt': `/var/lib/cni/cache/results:\ntotal ${pods.length * 4}\n${pods.map((p) => `-rw------- 1 root root 1432 Nov 20 08:12 cbr0-${p.id}-eth0\n`).join('')}`,
  };
  if (index === 0)
    files['staticpods.txt'] =
      `kube-apiserver.yaml\nkube-controller-manager.yaml\n/etc/kubernetes/manifests/kube-controller-manager.yaml:    - --allocate-node-cidrs=true\n/etc/kubernetes/manifests/kube-controller-manager.yaml:    - --cluster-cidr=${cluster.network}\n/etc/kubernetes/manifests/kube-controller-manager.yaml:    - --service-cluster-ip-range=10.96.0.0/12\n/etc/kubernetes/manifests/kube-apiserver.yaml:    - --service-cluster-ip-range=10.96.0.0/12\n`;
  return files;
}

export function dockerTexts(node) {
  const { name, cgroupDriver, pods, cluster, index, devices } = node;
  const id = (what) => sha256(`${cluster.seed} ${index} ${what}`);
  const [[gateway]] = devices[2].addresses;
  const subnet = `${gateway.split('.').slice(0, 2).join('.')}.0.0/16`;
  const networks = [
    ['bridge', 'bridge'],
    ['host', 'host'],
    ['none', 'null'],
  ];
  const created = '2026-10-02T08:11:02.113412532Z';
  const inspect = networks.map(([n, driver]) => ({
    Name: n,
    Id: id(n),
    Created: created,
    Scope: 'local',
    Driver: driver,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: n === 'bridge' ? [{ Subnet: subnet, Gateway: gateway }] : [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options:
      n === 'bridge'
        ? {
            'com.docker.network.bridge.default_bridge': 'true',
            'com.docker.network.bridge.enable_icc': 'true',
            'com.docker.network.bridge.enable_ip_masquerade': 'true',
            'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
            'com.docker.network.bridge.name': 'docker0',
            'com.docker.network.driver.mtu': '1500',
          }
        : {},
    Labels: {},
  }));
  const info = {
    ID: 'b1b2c3d4',
    Containers: pods.length * 2,
    ContainersRunning: pods.length * 2,
    Images: 21,
    Driver: 'overlay2',
    IPv4Forwarding: true,
    LoggingDriver: 'json-file',
    CgroupDriver: cgroupDriver,
    CgroupVersion: '2',
    KernelVersion: '6.1.0-28-amd64',
    OperatingSystem: 'Debian GNU/Linux 12 (bookworm)',
    OSType: 'linux',
    Architecture: 'x86_64',
    NCPU: node.cpus,
    MemTotal: 33_567_000_000,
    DockerRootDir: '/var/lib/docker',
    Name: name,
    ServerVersion: '27.3.1',
    DefaultRuntime: 'runc',
    Swarm: { NodeID: '', LocalNodeState: 'inactive' },
    LiveRestoreEnabled: false,
    SecurityOptions: ['name=seccomp,profile=builtin', 'name=cgroupns'],
    Warnings: null,
  };
  const daemon = {
    'exec-opts': [`native.cgroupdriver=${cgroupDriver}`],
    'log-driver': 'json-file',
    'log-opts': { 'max-size': '100m' },
    'storage-driver': 'overlay2',
    ...(gateway.startsWith('172.17.') ? {} : { bip: `${gateway}/16` }),
  };
  return {
    'docker/version.json': `${JSON.stringify({ Client: { Version: '27.3.1', ApiVersion: '1.47' }, Server: { Version: '27.3.1', ApiVersion: '1.47', MinAPIVersion: '1.24', Os: 'linux', Arch: 'amd64', KernelVersion: '6.1.0-28-amd64' } })}\n`,
    'docker/info.json': `${JSON.stringify(info)}\n`,
    'docker/info.txt': `Client:\n Version:    27.3.1\n Context:    default\n Debug Mode: false\n\nServer:\n Containers: ${pods.length * 2}\n  Running: ${pods.length * 2}\n  Paused: 0\n  Stopped: 0\n Images: 21\n Server Version: 27.3.1\n Storage Driver: overlay2\n Logging Driver: json-file\n Cgroup Driver: ${cgroupDriver}\n Cgroup Version: 2\n Plugins:\n  Volume: local\n  Network: bridge host ipvlan macvlan null overlay\n Swarm: inactive\n Kernel Version: 6.1.0-28-amd64\n Operating System: Debian GNU/Linux 12 (bookworm)\n OSType: linux\n Architecture: x86_64\n CPUs: ${node.cpus}\n Name: ${name}\n Docker Root Dir: /var/lib/docker\n Live Restore Enabled: false\n\n`,
    'docker/network-ls.txt': `${'NETWORK ID'.padEnd(64)}   NAME      DRIVER    SCOPE\n${networks.map(([n, driver]) => `${id(n)}   ${n.padEnd(9)} ${driver.padEnd(9)} local\n`).join('')}`,
    'docker/network-inspect.json': `${JSON.stringify(inspect, null, 4)}\n`,
    'docker/ps.json': pods
      .map(
        (p) =>
          `${JSON.stringify({ ID: p.id, Names: `k8s_POD_${p.name}_${p.namespace}_${p.uid}_0`, Image: 'registry.k8s.io/pause:3.9', CreatedAt: '2026-11-20 08:12:09 +0000 UTC', Status: 'Up 2 days', Ports: '', Networks: 'none', Labels: '' })}\n`,
      )
      .join(''),
    'docker/containers.jsonl': pods
      .map(
        (p) =>
          `${JSON.stringify({ Id: p.id, Name: `/k8s_POD_${p.name}_${p.namespace}_${p.uid}_0`, Created: '2026-11-20T08:12:09.949215608Z', State: { Pid: p.pid, Status: 'running' }, RestartCount: 0, Config: { Image: 'registry.k8s.io/pause:3.9', Hostname: p.name, ExposedPorts: null, Labels: { 'io.kubernetes.pod.name': p.name, 'io.kubernetes.pod.namespace': p.namespace, 'io.kubernetes.pod.uid': p.uid } }, HostConfig: { NetworkMode: 'none', PortBindings: {}, Privileged: false, ExtraHosts: null, CapAdd: null, CgroupParent: `kubepods-besteffort-pod${p.uid.replace(/-/g, '_')}.slice`, RestartPolicy: { Name: '', MaximumRetryCount: 0 } }, NetworkSettings: { Bridge: '', Gateway: '', IPAddress: '', IPPrefixLen: 0, MacAddress: '', Networks: { none: { Gateway: '', IPAddress: '', IPPrefixLen: 0, NetworkID: id('none') } }, Ports: {} } })}\n`,
      )
      .join(''),
    'files/etc/docker/daemon.json': `${JSON.stringify(daemon, null, 2)}\n`,
    'systemd/docker.txt':
      '# /lib/systemd/system/docker.service\n[Unit]\nDescription=Docker Application Container Engine\nAfter=network-online.target docker.socket containerd.service\nRequires=docker.socket\n\n[Service]\nType=notify\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\nRestart=always\nDelegate=yes\nKillMode=process\n\n[Install]\nWantedBy=multi-user.target\n\n# /lib/systemd/system/docker.socket\n[Unit]\nDescription=Docker Socket for the API\n\n[Socket]\nListenStream=/run/docker.sock\nSocketMode=0660\nSocketUser=root\nSocketGroup=docker\n\n[Install]\nWantedBy=sockets.target\nActiveState=active\nExecMainStartTimestamp=Fri 2026-11-20 08:10:55 UTC\nNRestarts=0\nEnvironment=\n',
    'cmdline/dockerd.txt': '/usr/bin/dockerd\n-H\nfd://\n--containerd=/run/containerd/containerd.sock\n',
    'docker/socket.txt':
      'socket mode=srw-rw---- uid=0 user=root gid=998 group=docker listening=yes path=/run/docker.sock\ndir mode=drwxr-xr-x uid=0 gid=0 path=/run\ndir mode=drwxr-xr-x uid=0 gid=0 path=/\nlink path=/var/run/docker.sock target=/run/docker.sock\n',
    'docker/socket-mounts.txt': `socket dev=0:25 root=/docker.sock path=/run/docker.sock\nlooked namespaces=${pods.length * 2 + 12} containers=${pods.length * 2} unread=0\n`,
  };
}
