import { type Effect, lost, paths } from './faults.ts';
import type { Lab, Probe } from './lab.ts';
import type { LabNode } from './node.ts';
import type { LabSpec } from './spec.ts';

/** What a firewall of a node lets in: answers, pings of other machines, and ssh. */
const HARDENED = `iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -P INPUT DROP`;

const GUARD = `nft -f - <<'EOF'
table inet guard {
  chain input {
    type filter hook input priority filter; policy accept;
    ct state { established, related } accept
    iifname "eth0" udp dport 1024-65535 reject with icmpx admin-prohibited
  }
}
EOF`;

/** S04: a firewall on each of the first two nodes lets no vxlan in: of iptables on one, of nft on the other. */
export async function vxlanUdpBlocked(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh(HARDENED);
  await b.sh(GUARD);
  return {
    rule: 'vxlan-udp-blocked',
    nodes: [a.id, b.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(a, b), icmp(b, a), icmp(pa, lab.outside)],
  };
}

const CLONED = '0e:00:00:00:00:01';

/** A lab whose first two nodes have one VTEP MAC. */
export const CLONES: LabSpec = { nodes: [{ vtepMac: CLONED }, { vtepMac: CLONED }, {}, {}] };

/** What a tunnel sends to its own node skips the wire and comes in as if it were for the device, whatever its MAC (vxlan_encap_bypass). */
const round = (probe: Probe) => ({ ...probe, outcome: 'ttlexceeded' });

/** V57: two clones with one VTEP MAC; and two nodes that both announce 10.0.2.15, which each has behind a NAT of its own. */
export async function flannelIdentityDuplicate(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const [c, d] = [lab.node(2), lab.node(3)];
  for (const [node, other] of [
    [c, d],
    [d, c],
  ] as const)
    await node.sh(`ip link add nat0 type veth peer name nat1
ip link set nat0 up
ip link set nat1 up
ip addr add 10.0.2.15/24 dev nat0
mac=$(cat /sys/class/net/flannel.1/address)
ip link del flannel.1
ip link add flannel.1 address $mac mtu 1450 type vxlan id 1 dev nat0 local 10.0.2.15 dstport 8472 nolearning
ip addr add ${node.plan.podPrefix}.0/32 dev flannel.1
ip link set flannel.1 up
ip route add ${other.plan.podSubnet} via ${other.plan.podPrefix}.0 dev flannel.1 onlink
ip neigh replace ${other.plan.podPrefix}.0 lladdr ${other.plan.vtepMac} dev flannel.1 nud permanent
bridge fdb replace ${other.plan.vtepMac} dev flannel.1 dst 10.0.2.15 self permanent`);
  return {
    rule: 'flannel-identity-duplicate',
    nodes: [a.id, b.id, c.id, d.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa)), round(icmp(c.pod(), d.pod())), round(icmp(d.pod(), c.pod()))],
    keeps: [icmp(a, b), icmp(pa, lab.outside), icmp(c.pod(), lab.outside)],
  };
}

/** A node whose flannel took cni0’s address, inside the pod network; the other one’s is of a network that the first rejects. */
export async function flannelPublicIpUnreachable(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const remake = (dev: string, local: string, { plan }: LabNode, other: LabNode, to: string) => `ip link del flannel.1
ip link add flannel.1 address ${plan.vtepMac} mtu 1450 type vxlan id 1 dev ${dev} local ${local} dstport 8472 nolearning
ip addr add ${plan.podPrefix}.0/32 dev flannel.1
ip link set flannel.1 up
ip route add ${other.plan.podSubnet} via ${other.plan.podPrefix}.0 dev flannel.1 onlink
ip neigh replace ${other.plan.podPrefix}.0 lladdr ${other.plan.vtepMac} dev flannel.1 nud permanent
bridge fdb replace ${other.plan.vtepMac} dev flannel.1 dst ${to} self permanent`;
  const inner = b.plan.gateway;
  const outer = '172.30.8.11';
  await a.sh(`ip link add wan0 type veth peer name wan1
ip link set wan0 up
ip link set wan1 up
ip addr add ${outer}/24 dev wan0
${remake('wan0', outer, a, b, inner)}`);
  // over cni0 flannel has 50 bytes less
  await b.sh(`sed -i s/FLANNEL_MTU=1450/FLANNEL_MTU=1400/ /run/flannel/subnet.env
ip route add unreachable 172.30.8.0/24
${remake('cni0', inner, b, a, outer)}`);
  return {
    rule: 'flannel-public-ip-unreachable',
    nodes: [a.id, b.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(a, b), icmp(b, a), icmp(pa, lab.outside)],
  };
}

/** flannel.1 kept the address of an earlier lease: what the node itself sends to other nodes' pods has it as its source. */
export async function flannelIdentityDisagrees(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh(`ip addr add 10.244.9.0/32 dev flannel.1
ip addr del ${a.plan.podPrefix}.0/32 dev flannel.1`);
  return {
    rule: 'flannel-identity-disagrees',
    nodes: [a.id],
    breaks: [lost(icmp(a, pb))],
    keeps: [icmp(pa, pb), icmp(pb, pa), icmp(b, pa), icmp(a, b)],
  };
}

/** Somebody flushed the tables behind a policy DROP, and flanneld does not write its rules again. */
export async function flannelRulesMissing(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, tcp, icmp } = paths(lab);
  await a.sh('iptables -P FORWARD DROP; iptables -F; iptables -t nat -F');
  return {
    rule: 'flannel-rules-missing',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa)), lost(icmp(pa, lab.outside))],
    keeps: [icmp(a, b), icmp(a, pb), tcp(pb, lab.outside)],
  };
}
