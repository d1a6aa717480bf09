import type { DockerLab } from './docker.ts';
import type { Effect } from './faults.ts';
import type { Probe } from './lab.ts';

/** A NodePort in front of a program of the node that listens there, as kube-proxy writes it; its backend is `backend`. */
export async function hostPortConflict(
  docker: DockerLab,
  backend: string,
): Promise<Effect & { readonly taken: Probe }> {
  const { node, outside } = docker;
  await docker.lab.serve(node, 'tcp', 30080);
  const taken: Probe = { from: outside, to: node, proto: 'tcp', port: 30080 };
  const { seenSource } = await docker.probe(taken);
  if (seenSource !== outside.ip) throw new Error(`the program did not answer: ${seenSource}`);
  await node.sh(`iptables-restore --noflush <<'EOT'
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-EXT-LOLE4ISW44XBNF3G - [0:0]
:KUBE-SEP-GJL2QXVJL7GA2JXN - [0:0]
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web:http" -m tcp --dport 30080 -j KUBE-EXT-LOLE4ISW44XBNF3G
-A KUBE-EXT-LOLE4ISW44XBNF3G -j KUBE-SEP-GJL2QXVJL7GA2JXN
-A KUBE-SEP-GJL2QXVJL7GA2JXN -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination ${backend}
COMMIT
EOT`);
  const keeps: Probe[] = [{ from: node, to: '127.0.0.1', proto: 'tcp', port: 30080 }];
  return { rule: 'host-port-conflict', nodes: [node.id], breaks: [], keeps, taken };
}

/** A program has the port of a container before it is started; what dockerd says of it. */
export async function containerWithoutPort(docker: DockerLab): Promise<string> {
  await docker.lab.serve(docker.node, 'tcp', 9005);
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
      ? `pkill -f 'docker-proxy .*-host-port ${port} '`
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
