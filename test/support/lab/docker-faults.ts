import type { DockerLab } from './docker.ts';
import type { Effect } from './faults.ts';
import type { Probe } from './lab.ts';
import { kubeletConfig } from './node-files.ts';

/**
 * A Docker network over addresses of the cluster: of another node's pods (its longer prefix wins here), or of
 * services. Needs a DockerLab with a cluster.
 */
export async function containerNetworksOverlap(
  docker: DockerLab,
  what: 'pod-network' | 'service-network' = 'pod-network',
): Promise<Effect> {
  const { lab, node } = docker;
  const peer = lab.node(1);
  const subnet = what === 'pod-network' ? `${peer.plan.podPrefix}.0/25` : '10.96.8.0/24';
  await docker.docker(`network create --subnet ${subnet} overlapping`);
  await docker.container({ name: 'overlapping-1', network: 'overlapping' });
  const across: Probe = { from: node.pod(), to: peer.pod(), proto: 'icmp' };
  const dead = what === 'pod-network';
  return {
    rule: 'container-networks-overlap',
    nodes: [node.id],
    breaks: dead ? [{ ...across, outcome: 'lost' }] : [],
    keeps: [{ from: node, to: peer, proto: 'icmp' }, ...(dead ? [] : [across])],
  };
}

/** The API on TCP without TLS, for everybody or for everything on the host. */
export async function dockerApiExposed(
  docker: DockerLab,
  address: '0.0.0.0' | '127.0.0.1' = '0.0.0.0',
): Promise<Effect> {
  await docker.stopDaemon();
  // --tls=false: dockerd 20.10 would else wait 15 seconds at its own warning
  await docker.startDaemon(['-H', 'unix:///run/docker.sock', '-H', `tcp://${address}:2375`, '--tls=false']);
  const { node, outside } = docker;
  const local: Probe = { from: node, to: '127.0.0.1', proto: 'tcp', port: 2375 };
  const remote: Probe = { from: outside, to: node, proto: 'tcp', port: 2375 };
  const open = address === '0.0.0.0';
  return {
    rule: 'docker-api-exposed',
    nodes: [node.id],
    breaks: open ? [] : [{ ...remote, outcome: 'refused' }],
    keeps: open ? [local, remote] : [local],
  };
}

/** Somebody without any right on the node, by the real client. */
export const stranger = (path: string) =>
  `setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/ docker -H unix://${path} version --format '{{.Server.Version}}'`;

/** The socket is writable for everybody: uid 65534 has the API, which it did not have before. */
export async function dockerSocketOpen(docker: DockerLab, mode = 'o+rw'): Promise<Effect> {
  const { node } = docker;
  if ((await node.run(stranger('/run/docker.sock'))).rc === 0) throw new Error('the socket is open already');
  await node.sh(`chmod ${mode} /run/docker.sock`);
  await node.sh(stranger('/run/docker.sock'));
  return { rule: 'docker-api-exposed', nodes: [node.id], breaks: [], keeps: [] };
}

/** What the node's docker client needs to run in busybox:lab. */
const CLIENT = '-v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro -v "$(readlink -f "$(command -v docker)")":/bin/docker:ro';

const MOUNTS = {
  // agents of all sorts ask for it like this
  socket: { args: '-v /run/docker.sock:/var/run/docker.sock', at: '/var/run/docker.sock' },
  'read-only directory': { args: '-v /run:/host/run:ro', at: '/host/run/docker.sock' },
  'in its group': { args: '-v /:/rootfs:ro -u 1000 --group-add', at: '/rootfs/run/docker.sock' },
  nobody: { args: '-v /:/rootfs:ro -u 65534:65534', at: '/rootfs/run/docker.sock' },
} as const;

/** A container with the socket; what it makes of it is asked by the client inside. `connects`: it has the API. */
export async function dockerSocketMounted(
  docker: DockerLab,
  how: keyof typeof MOUNTS,
): Promise<Effect & { readonly connects: boolean }> {
  const { node } = docker;
  const { args, at } = MOUNTS[how];
  const group = args.endsWith('--group-add') ? ' "$(stat -c %g /run/docker.sock)"' : '';
  await docker.docker(`run -d --name agent ${CLIENT} ${args}${group} busybox:lab /bin/sleep 1000000`);
  const asked = await docker.tryDocker(`exec agent docker -H unix://${at} ps --format '{{.Names}}'`);
  if (asked.rc !== 0 && !/permission denied/.test(asked.stderr)) throw new Error(asked.stderr);
  const connects = asked.rc === 0 && asked.stdout.includes('agent');
  return { rule: 'docker-api-exposed', nodes: [node.id], breaks: [], keeps: [], connects };
}

/** Every way a daemon.json is refused, and what dockerd 20.10 says. */
export const BROKEN_DAEMON_JSON = {
  'trailing-comma': '{\n  "log-driver": "json-file",\n  "live-restore": true,\n}\n',
  comment: '{\n  // ours\n  "log-driver": "json-file"\n}\n',
  truncated: '{\n  "log-driver": "json-file",\n  "log-opts": {\n',
  'not-an-object': '["log-driver"]\n',
  bom: '\ufeff{\n  "log-driver": "json-file"\n}\n',
  'unknown-key': '{\n  "log_driver": "json-file"\n}\n',
  'newer-key': '{\n  "firewall-backend": "iptables"\n}\n',
  'wrong-type': '{\n  "log-driver": "json-file",\n  "log-opts": { "max-file": 3 }\n}\n',
  'hosts-not-array': '{\n  "hosts": "unix:///run/docker.sock"\n}\n',
  'hosts-and-flag': '{\n  "hosts": ["unix:///run/docker.sock", "tcp://127.0.0.1:2376"]\n}\n',
  'bip-network-address': '{\n  "bip": "172.30.0.0/24"\n}\n',
  'bip-without-prefix': '{\n  "bip": "172.30.0.1"\n}\n',
} as const;

/** Looks broken, and dockerd 20.10.24 starts with it: measured, so that no rule calls it fatal for that version. */
export const ACCEPTED_DAEMON_JSON = {
  'fixed-cidr-outside': '{\n  "bip": "172.30.0.1/24",\n  "fixed-cidr": "172.31.0.0/25"\n}\n',
  // the flag's name where the key is insecure-registries: no error, and no effect
  'flag-name': '{\n  "insecure-registry": ["10.0.0.1:5000"]\n}\n',
  'duplicate-key': '{\n  "log-level": "warn",\n  "log-level": "info"\n}\n',
  empty: '{}\n',
} as const;

export type BrokenDaemonJson = keyof typeof BROKEN_DAEMON_JSON;

/**
 * daemon.json is broken. The daemon that runs read the file before and goes on (`running`), or was restarted since
 * and is down; says whether dockerd really refused.
 */
export async function daemonJsonUnusable(
  docker: DockerLab,
  how: BrokenDaemonJson = 'trailing-comma',
  state: 'running' | 'down' = 'running',
): Promise<Effect & { readonly refused: boolean | null }> {
  const { node } = docker;
  let refused: boolean | null = null;
  if (state === 'down') await docker.stopDaemon();
  node.write('/etc/docker/daemon.json', BROKEN_DAEMON_JSON[how]);
  if (state === 'down') refused = !(await docker.tryDaemon());
  return { rule: 'daemon-json-unusable', nodes: [node.id], breaks: [], keeps: [], refused };
}

/** A kubelet for dockershim that wants systemd under a dockerd that says cgroupfs. */
export async function dockerCgroupDriverMismatch(docker: DockerLab): Promise<Effect> {
  const { node } = docker;
  node.write('/var/lib/kubelet/config.yaml', kubeletConfig('systemd'));
  await node.restartProcess('/usr/bin/kubelet', [
    '--config=/var/lib/kubelet/config.yaml',
    '--kubeconfig=/etc/kubernetes/kubelet.conf',
    '--network-plugin=cni',
  ]);
  return { rule: 'cgroup-driver-mismatch', nodes: [node.id], breaks: [], keeps: [] };
}

const FLUSHES = {
  filter: 'iptables -F',
  // as where ip_forward was on before dockerd came: everything is let through
  'filter-accept': 'iptables -P FORWARD ACCEPT; iptables -F',
  nat: 'iptables -t nat -F',
  // nftables.service (re)starts: its configuration begins with this
  ruleset: 'nft flush ruleset',
} as const;

/** Somebody empties the tables behind a dockerd that runs (S20, V45, V46); of a container that publishes 9001 and one that does not. */
export async function dockerRulesMissing(docker: DockerLab, how: keyof typeof FLUSHES = 'filter'): Promise<Effect> {
  const { node, outside } = docker;
  const web = await docker.container({ name: 'web', publish: ['9001:9000'] });
  const client = await docker.container({ name: 'client' });
  await node.sh(FLUSHES[how]);
  const published: Probe = { from: outside, to: node, proto: 'tcp', port: 9001 };
  const egress: Probe = { from: client.id, to: outside, proto: 'tcp', port: 80 };
  const local: Probe = { from: node, to: web.ip, proto: 'tcp', port: 9000 };
  const dead = (p: Probe) => ({ ...p, outcome: 'timeout' as const });
  const fates: Record<keyof typeof FLUSHES, readonly Probe[]> = {
    filter: [published, egress],
    'filter-accept': [],
    nat: [egress],
    ruleset: [egress],
  };
  const broken = fates[how];
  return {
    rule: 'docker-rules-missing',
    nodes: [node.id],
    breaks: broken.map(dead),
    keeps: [local, ...[published, egress].filter((p) => !broken.includes(p))],
  };
}

/** Somebody empties one of Docker's own chains: the jumps there stay. Of a container that publishes 9001. */
export async function dockerPortRulesMissing(docker: DockerLab, table: 'nat' | 'filter'): Promise<Effect> {
  const { node, outside } = docker;
  await docker.container({ name: 'web', publish: ['9001:9000'] });
  await node.sh(`iptables -t ${table} -F DOCKER`);
  const published: Probe = { from: outside, to: node, proto: 'tcp', port: 9001 };
  // docker-proxy takes what no rule translates
  const dead = table === 'filter';
  return {
    rule: 'docker-rules-missing',
    nodes: [node.id],
    breaks: dead ? [{ ...published, outcome: 'timeout' }] : [],
    keeps: dead ? [] : [published],
  };
}

/**
 * DOCKER-USER keeps everybody from a published port. Then FORWARD is emptied, and dockerd, restarted with live-restore, puts back all but
 * the jump there: the port is open. Needs live-restore.
 */
export async function dockerUserIneffective(docker: DockerLab): Promise<Effect & { readonly guarded: Probe }> {
  const { node, outside } = docker;
  await docker.container({ name: 'web', publish: ['9001:9000'] });
  await node.sh('iptables -I DOCKER-USER -i eth0 -m conntrack --ctstate NEW -j DROP');
  const guarded: Probe = { from: outside, to: node, proto: 'tcp', port: 9001 };
  const { outcome } = await docker.probe(guarded);
  if (outcome !== 'timeout') throw new Error(`DOCKER-USER does not guard: ${outcome}`);
  await node.sh('iptables -F FORWARD');
  await docker.restartDaemon();
  return { rule: 'docker-user-ineffective', nodes: [node.id], breaks: [], keeps: [guarded], guarded };
}

/** DOCKER-USER names the port that the host publishes; packets have the container's by then, and the port is open. */
export async function dockerUserHostPort(docker: DockerLab): Promise<Effect & { readonly guarded: Probe }> {
  const { node, outside } = docker;
  await docker.container({ name: 'web', publish: ['9001:9000'] });
  await node.sh('iptables -I DOCKER-USER -i eth0 -p tcp --dport 9001 -j DROP');
  const guarded: Probe = { from: outside, to: node, proto: 'tcp', port: 9001 };
  return { rule: 'docker-user-ineffective', nodes: [node.id], breaks: [], keeps: [guarded], guarded };
}
