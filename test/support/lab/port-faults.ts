import type { DockerLab } from './docker.ts';
import { type Effect, paths, timeout } from './faults.ts';
import type { Lab, Probe } from './lab.ts';
import type { LabNode } from './node.ts';
import type { LabSpec } from './spec.ts';

/** So that `program` answers: it says nothing to an empty line. */
const ASKED = { size: 4 } as const;

/** A web server of the node with this name, as `ss -p` shows it; what it is asked it refuses, which is an answer. */
async function program(node: LabNode, name: string, port: number): Promise<void> {
  await node.sh(`cp "$(command -v busybox)" /run/${name}
setsid bash -c 'exec -a httpd /run/${name} -f -p ${port} -h /run' </dev/null >/dev/null 2>&1 &
i=0
until ss -Hltn 'sport = :${port}' | grep -q .; do
  [ $i -lt 200 ] || exit 1
  sleep 0.05
  i=$((i + 1))
done`);
}

/** A hostPort in front of a program of the node that listens there, as the CNI plugin portmap leads it to a container. */
export async function hostPortConflict(docker: DockerLab, container: string): Promise<Effect> {
  const { node, outside } = docker;
  await program(node, 'nginx', 8080);
  const taken: Probe = { from: outside, to: node, proto: 'tcp', port: 8080, ...ASKED };
  const before = await docker.probe(taken);
  if (before.outcome !== 'ok' || before.answeredBy !== undefined) throw new Error(`nginx: ${before.outcome}`);
  await node.sh(`iptables-restore --noflush <<'EOT'
*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-2b8bb1c8e9b1c5dd6d7b4 - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"4f1a\\"" -m multiport --dports 8080 -j CNI-DN-2b8bb1c8e9b1c5dd6d7b4
-A CNI-DN-2b8bb1c8e9b1c5dd6d7b4 -p tcp -m tcp --dport 8080 -j DNAT --to-destination ${container}:9000
COMMIT
*filter
-I FORWARD -i eth0 -d ${container} -p tcp -m tcp --dport 9000 -j ACCEPT
COMMIT
EOT`);
  const after = await docker.probe(taken);
  if (after.answeredBy === undefined) throw new Error(`nginx still answers: ${after.outcome}`);
  const keeps: Probe[] = [{ ...taken, from: node, to: '127.0.0.1' }];
  return { rule: 'host-port-conflict', nodes: [node.id], breaks: [], keeps };
}

/** A program has the port of a container before it is started; what dockerd says of it. */
export async function containerWithoutPort(docker: DockerLab): Promise<string> {
  await program(docker.node, 'haproxy', 9005);
  const ran = await docker.tryDocker('run -d --name late -p 9005:9000 busybox:lab /bin/sleep 1000000');
  if (ran.rc === 0) throw new Error('dockerd has started it');
  return ran.stderr;
}

/** A host firewall drops what a bridge's containers send to a published port. */
export async function publishedPortBlocked(docker: DockerLab, client: string, port: number): Promise<Effect> {
  const { node, outside } = docker;
  await node.sh(`iptables -A INPUT -i docker0 -p tcp --dport ${port} -j DROP`);
  const use = (from: Probe['from']): Probe => ({ from, to: node, proto: 'tcp', port });
  return {
    rule: 'published-port-blocked-for-containers',
    nodes: [node.id],
    breaks: [{ ...use(client), outcome: 'timeout' }],
    keeps: [use(outside), use(node)],
  };
}

/** Docker’s rule that accepts what stays on docker0 is gone; the policy of FORWARD drops. */
export async function sameBridgeDropped(docker: DockerLab, client: string, server: string): Promise<Effect> {
  const { node, outside } = docker;
  await node.sh('iptables -P FORWARD DROP; iptables -D FORWARD -i docker0 -o docker0 -j ACCEPT');
  return {
    rule: 'bridge-netfilter-drops-same-bridge',
    nodes: [node.id],
    breaks: [{ from: client, to: server, proto: 'tcp', port: 9000, outcome: 'timeout' }],
    keeps: [
      { from: client, to: outside, proto: 'tcp', port: 80 },
      { from: node, to: server, proto: 'tcp', port: 9000 },
    ],
  };
}

/** `proxy`: docker-proxy of the port died; `route_localnet`: where dockerd runs none, the bridge’s setting was taken back. */
export async function loopbackPublishBroken(
  docker: DockerLab,
  how: 'proxy' | 'route_localnet',
  port: number,
): Promise<Effect> {
  const { node, outside } = docker;
  await node.sh(
    how === 'proxy'
      ? `pkill -f '[d]ocker-proxy .*-host-port ${port} '`
      : 'sysctl -qw net.ipv4.conf.docker0.route_localnet=0',
  );
  const outcome = how === 'proxy' ? 'refused' : 'timeout';
  return {
    rule: 'loopback-publish-broken',
    nodes: [node.id],
    breaks: [{ from: node, to: '127.0.0.1', proto: 'tcp', port, outcome }],
    keeps: [{ from: outside, to: node, proto: 'tcp', port }],
  };
}

/** Pods and an API server of the first node; the backend of its service is one of the pods. */
export const CONTROL_PLANE: LabSpec = {
  services: [{ name: 'default/web:http', clusterIp: '10.96.0.20', port: 80, endpoints: ['10.244.1.10:80'] }],
};

/** The firewall of the first node lets the other nodes in and forgets its own pods (flannel 2116). */
export async function hostFirewallBlocksControlPlane(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, tcp } = paths(lab);
  await program(a, 'kube-apiserver', 6443);
  await a.sh(`iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A INPUT -s ${b.ip} -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
iptables -A INPUT -j DROP`);
  const api = (from: Probe['from']): Probe => ({ ...tcp(from, a, 6443), ...ASKED });
  return {
    rule: 'host-firewall-blocks-control-plane',
    nodes: [a.id],
    breaks: [timeout(api(pa))],
    keeps: [api(b), api(pb)],
  };
}

/** Ports of cni0 without hairpin mode, as the plugin bridge makes them unless it is told otherwise. */
export async function hairpinModeOff(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, tcp } = paths(lab);
  await a.sh('for p in /sys/class/net/cni0/brif/*; do echo 0 > $p/hairpin_mode; done');
  return {
    rule: 'hairpin-mode-off',
    nodes: [a.id],
    breaks: [timeout(tcp(pa, '10.96.0.20'))],
    keeps: [tcp(pb, '10.96.0.20'), tcp(b, '10.96.0.20')],
  };
}
