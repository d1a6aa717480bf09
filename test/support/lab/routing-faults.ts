import { type Effect, lost, paths, timeout } from './faults.ts';
import type { Lab, Probe } from './lab.ts';
import type { LabNode } from './node.ts';

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

/**
 * S11, V20: both nodes have a second network card, and flannel took another one on each: what the second node sends to the first one's overlay
 * comes by eth0 from an address that is behind eth1. Pods of the first node leave by eth1, for a rule marks what they send. Strict filters there
 * drop both; the second node has the same ways and loose filters.
 */
export async function rpFilterDropsPath(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp, tcp } = paths(lab);
  const second = (i: number) => `10.98.0.1${i}`;
  await lab.switch.sh('ip link add br1 type bridge\nip link set br1 up');
  for (const [i, place] of [lab.outside, a, b].entries()) {
    await lab.switch.sh(`ip link add p2-${i} type veth peer name eth1 netns ${/\d+/.exec(place.netns)?.[0]}
ip link set p2-${i} master br1 up`);
    await place.sh(`ip addr add ${i === 0 ? '10.98.0.100' : second(i)}/24 dev eth1\nip link set eth1 up`);
  }
  for (const node of [a, b])
    await node.sh(`ip route add default via 10.98.0.100 dev eth1 table 100
ip rule add pref 100 fwmark 1 lookup 100
iptables -t mangle -A PREROUTING -i cni0 ! -d ${lab.plan.clusterCidr} -j MARK --set-mark 1`);
  await b.sh(`ip link set flannel.1 type vxlan local ${second(2)} || exit 7
sysctl -qw net.ipv4.conf.all.rp_filter=2`);
  await a.sh(`bridge fdb replace ${b.plan.vtepMac} dev flannel.1 dst ${second(2)} self permanent
sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth1.rp_filter=1`);
  return {
    rule: 'rp-filter-drops-path',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa)), timeout(tcp(pa, lab.outside))],
    keeps: [icmp(a, b), tcp(pb, lab.outside), icmp(a, pa)],
  };
}

/**
 * kube-proxy made the first node take packets for loopback addresses, and nothing drops them; on the second one the rule of the kubelet does. The
 * outside host plays the neighbour: 127.0.0.1 is no address of its own, and it routes it to a node.
 */
export async function routeLocalnetExposed(
  lab: Lab,
): Promise<Effect & { readonly steal: (node: LabNode) => Promise<Probe> }> {
  const { a, b, pa, pb, icmp } = paths(lab);
  for (const node of [a, b]) {
    await node.sh('sysctl -qw net.ipv4.conf.all.route_localnet=1');
    await lab.serve(node, 'tcp', 2379, '127.0.0.1');
  }
  await b.sh(`iptables -N KUBE-FIREWALL
iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
iptables -A INPUT -j KUBE-FIREWALL`);
  await lab.outside.sh(`sysctl -qw net.ipv4.conf.all.route_localnet=1
ip -4 addr flush dev lo`);
  const steal = async (node: LabNode): Promise<Probe> => {
    await lab.outside.sh(`ip route replace 127.0.0.1 via ${node.ip} dev eth0 src ${lab.plan.outside}`);
    return { from: lab.outside, to: '127.0.0.1', proto: 'tcp', port: 2379 };
  };
  return { rule: 'route-localnet-exposed', nodes: [a.id], breaks: [], keeps: [icmp(pa, pb)], steal };
}

const manifest = (range: string) => `apiVersion: v1
kind: Pod
metadata:
  name: kube-controller-manager
  namespace: kube-system
spec:
  containers:
  - command:
    - kube-controller-manager
    - --allocate-node-cidrs=true
    - --cluster-cidr=${range}
    image: registry.k8s.io/kube-controller-manager:v1.27.4
    name: kube-controller-manager
  hostNetwork: true
`;

/** Files of a control plane that cuts the subnets of nodes out of this range. */
export const subnetRange = (range: string): Readonly<Record<string, string>> => ({
  '/etc/kubernetes/manifests/kube-controller-manager.yaml': manifest(range),
});

/** Leases as host-local writes them, for every address of the node's subnet. */
export async function fillLeases(node: LabNode): Promise<void> {
  await node.sh(`cd /var/lib/cni/networks/cbr0
for i in $(seq 2 254); do
  [ -e ${node.plan.podPrefix}.$i ] || printf '%064x\\r\\neth0' "$i" > ${node.plan.podPrefix}.$i
done`);
}
