import { type Effect, lost, paths } from './faults.ts';
import type { Lab } from './lab.ts';

/** A device that takes packets and gives none back, as the tunnel of a VPN that knows no pods. */
const VPN = `ip link add vpn0 type veth peer name vpn1
ip link set vpn0 arp off up
ip link set vpn1 up`;

/**
 * A VPN client sends all that the first node routes into its tunnel. The second node has the rules of wg-quick, which leave all but the default
 * route to the main table.
 */
export async function policyRuleCapturesPodTraffic(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh(`${VPN}
ip route add default dev vpn0 table 200
ip rule add pref 100 lookup 200`);
  await b.sh(`ip route add default via ${lab.plan.outside} dev eth0 table 200
ip rule add pref 32765 not fwmark 0xca6c lookup 200
ip rule add pref 32764 lookup main suppress_prefixlength 0`);
  return {
    rule: 'policy-rule-captures-pod-traffic',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa)), lost(icmp(a, pa))],
    keeps: [icmp(b, pb), icmp(pb, lab.outside)],
  };
}

/**
 * V40, S16: the first node has a blackhole for its own pods from before cni0 had its address. The second one has the same behind the route of
 * cni0, and one for the whole pod range, which take nothing.
 */
export async function blackholeShadowsPodCidr(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh(`ip addr flush dev cni0
ip route add blackhole ${a.plan.podSubnet}
ip addr add ${a.plan.gateway}/24 brd + dev cni0`);
  await b.sh(`ip route append blackhole ${b.plan.podSubnet}
ip route add blackhole ${lab.plan.clusterCidr}`);
  return {
    rule: 'blackhole-shadows-pod-cidr',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(b, pb), icmp(pb, lab.outside)],
  };
}
