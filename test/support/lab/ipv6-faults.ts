import type { Lab } from './lab.ts';

/** What the outside host has by IPv6. */
export const OUTSIDE6 = 'fd00:50::64';

/** Gives the first node, its pod and the outside host IPv6 beside IPv4, by plain routes. */
export async function dualStack(lab: Lab): Promise<void> {
  const node = lab.node(0);
  const pod = node.pod();
  await lab.outside.sh(`ip addr add ${OUTSIDE6}/64 dev eth0 nodad; ip -6 route add fd00:10:244::/48 via fd00:50::11`);
  await node.sh(`sysctl -qw net.ipv6.conf.all.forwarding=1
ip addr add fd00:50::11/64 dev eth0 nodad
ip -6 route add default via ${OUTSIDE6}
ip addr add fd00:10:244:1::1/64 dev cni0 nodad`);
  await pod.sh('ip addr add fd00:10:244:1::10/64 dev eth0 nodad; ip -6 route add default via fd00:10:244:1::1');
}

/** The node does not route IPv6 any more; IPv4 is as it was. */
export async function ipv6ForwardDisabled(lab: Lab): Promise<void> {
  await lab.node(0).sh('sysctl -qw net.ipv6.conf.all.forwarding=0');
}
