import type { DockerLab } from './docker.ts';
import { type Effect, paths, timeout } from './faults.ts';
import type { Lab } from './lab.ts';

/**
 * Somebody’s rule takes what the first node’s pods send to services in front of kube-proxy’s, in two ways. Needs services with cluster DNS
 * (WITH_DNS).
 */
export async function servicesAstray(lab: Lab, how: 'accepted' | 'untracked'): Promise<Effect> {
  const { a, pa, pb } = paths(lab);
  const commands: Record<typeof how, string> = {
    accepted: `iptables -t nat -I PREROUTING -s ${a.plan.podSubnet} -j ACCEPT`,
    untracked: 'iptables -t raw -I PREROUTING -d 10.96.0.0/12 -j CT --notrack',
  };
  await a.sh(commands[how]);
  const ask = (from: typeof pa) => ({ from, to: '10.96.0.10', proto: 'udp', port: 53 }) as const;
  return {
    rule: 'service-proxy-not-programmed',
    nodes: [a.id],
    breaks: [timeout(ask(pa))],
    keeps: [ask(pb), { from: pa, to: pb, proto: 'icmp' }],
  };
}

/** The second node routes services into a hole: its own connections are routed before they are translated, those of pods after. */
export async function servicesBlackholed(lab: Lab): Promise<Effect> {
  const { b, pb } = paths(lab);
  await b.sh('ip route add blackhole 10.96.0.0/12');
  const ask = (from: typeof pb | typeof b) => ({ from, to: '10.96.0.10', proto: 'udp', port: 53 }) as const;
  return {
    rule: 'trace-pod-to-service-and-external',
    nodes: [b.id],
    breaks: [{ ...ask(b), outcome: 'invalid' }],
    keeps: [ask(pb)],
  };
}

/** A port is led by hand to a container that has another address since it was made anew. */
export async function ledByHand(docker: DockerLab): Promise<Effect> {
  const { node, outside } = docker;
  const web = await docker.container({ name: 'web' });
  await node.sh(
    `iptables -t nat -A PREROUTING -p tcp --dport 8443 -j DNAT --to-destination ${web.ip.replace(/\d+$/, '9')}:9000`,
  );
  return {
    rule: 'dnat-to-missing-container',
    nodes: [node.id],
    breaks: [timeout({ from: outside, to: node, proto: 'tcp', port: 8443 })],
    keeps: [{ from: node, to: web.ip, proto: 'tcp', port: 9000 }],
  };
}
