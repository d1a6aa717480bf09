import type { Effect } from './faults.ts';
import type { Lab } from './lab.ts';

/** Set-ups that look like a fault and are none: `rule` is the one that has to stay silent. */
function harmless(lab: Lab, rule: string): Effect {
  return { rule, nodes: lab.nodes.map((node) => node.id), breaks: [], keeps: lab.mesh() };
}

/** S01: policy DROP on every node, as after Docker; flannel's own chain accepts. */
export async function dropPolicyWithAccepts(lab: Lab): Promise<Effect> {
  for (const node of lab.nodes) await node.sh('iptables -P FORWARD DROP');
  return harmless(lab, 'forward-drops-pod-traffic');
}

/** S09b: flannel's masquerading is gone, and a broader SNAT covers it. */
export async function broaderSnat(lab: Lab): Promise<Effect> {
  for (const node of lab.nodes) {
    await node.sh(`iptables -t nat -F POSTROUTING
iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to-source ${node.ip}`);
  }
  return harmless(lab, 'egress-masquerade-missing');
}

/** S09c: nothing masquerades, and the outside host has routes back. */
export async function routedPodNetwork(lab: Lab): Promise<Effect> {
  for (const node of lab.nodes) {
    await node.sh('iptables -t nat -F POSTROUTING');
    await lab.outside.sh(`ip route add ${node.plan.podSubnet} via ${node.ip}`);
  }
  return harmless(lab, 'egress-masquerade-missing');
}

/** The other iptables backend has tables because somebody listed them; they are empty. */
export async function emptyLegacyTables(lab: Lab): Promise<Effect> {
  for (const node of lab.nodes) {
    const other = node.plan.iptables === 'nft' ? 'legacy' : 'nft';
    await node.sh(`iptables-${other} -t filter -S >/dev/null\niptables-${other} -t nat -S >/dev/null`);
  }
  return harmless(lab, 'iptables-backends-both-active');
}

/** A device through which nothing is ever forwarded says no. */
export async function loForwardingOff(lab: Lab): Promise<Effect> {
  for (const node of lab.nodes) await node.sh('sysctl -qw net.ipv4.conf.lo.forwarding=0');
  return harmless(lab, 'interface-forwarding-disabled');
}
