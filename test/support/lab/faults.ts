import type { Outcome } from './agent.ts';
import type { Lab, Probe } from './lab.ts';
import type { LabNode } from './node.ts';
import { containerdConfig, kubeletConfig } from './node-files.ts';
import { peerEntries, vxlanDevice } from './node-script.ts';
import type { LabSpec } from './spec.ts';

/** What a fault did: the rule that has to name it, where, and what the kernel makes of packets now. */
export interface Effect {
  readonly rule: string;
  readonly nodes: readonly string[];
  readonly breaks: readonly (Probe & { readonly outcome: Outcome })[];
  readonly keeps: readonly Probe[];
}

/** Probes between the pods of two nodes and the outside host, by short names. */
export function paths(lab: Lab, a: LabNode = lab.node(0), b: LabNode = lab.node(1)) {
  const icmp = (from: Probe['from'], to: Probe['to']): Probe => ({ from, to, proto: 'icmp' });
  const tcp = (from: Probe['from'], to: Probe['to'], port = 80): Probe => ({ from, to, proto: 'tcp', port });
  return { a, b, pa: a.pod(), pb: b.pod(), icmp, tcp };
}

export const lost = (probe: Probe) => ({ ...probe, outcome: 'lost' });
export const timeout = (probe: Probe) => ({ ...probe, outcome: 'timeout' });

/** S10: forwarding is off on the first node. */
export async function ipForwardDisabled(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh('sysctl -qw net.ipv4.ip_forward=0');
  return {
    rule: 'ip-forward-disabled',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa)), lost(icmp(pa, lab.outside))],
    keeps: [icmp(pa, a), icmp(a, pb), icmp(a, b)],
  };
}

/** S10: forwarding is off on one device of the second node, on everywhere else. */
export async function interfaceForwardingDisabled(lab: Lab, dev: 'flannel.1' | 'cni0' = 'flannel.1'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await b.sh(`sysctl -qw net.ipv4.conf.${dev.replace('.', '/')}.forwarding=0`);
  return {
    rule: 'interface-forwarding-disabled',
    nodes: [b.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(pb, b), icmp(b, pa), icmp(a, b)],
  };
}

export type ForwardDrop = 'policy' | 'reject-first' | 'other-backend' | 'nft-table';

/** New connections to the second node's pods die in FORWARD (S02, S14, S22, and a REJECT in front of flannel's chain). */
export async function forwardDropsPodTraffic(lab: Lab, how: ForwardDrop = 'policy'): Promise<Effect> {
  const { a, b, pa, pb, tcp, icmp } = paths(lab);
  const commands: Record<ForwardDrop, string> = {
    policy: `iptables -F FORWARD
iptables -P FORWARD DROP
iptables -A FORWARD -i cni0 ! -o cni0 -j ACCEPT
iptables -A FORWARD -i cni0 -o cni0 -j ACCEPT`,
    'reject-first': 'iptables -I FORWARD -j REJECT --reject-with icmp-host-prohibited',
    'other-backend': `iptables-${b.plan.iptables === 'nft' ? 'legacy' : 'nft'} -P FORWARD DROP`,
    'nft-table': `nft -f - <<'EOF'
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    reject with icmpx admin-prohibited
  }
}
EOF`,
  };
  await b.sh(commands[how]);
  const rejected = how === 'reject-first' || how === 'nft-table';
  return {
    rule: how === 'nft-table' ? 'foreign-base-chain-drops-forward' : 'forward-drops-pod-traffic',
    nodes: [b.id],
    breaks: [rejected ? { ...tcp(pa, pb), outcome: 'hostunreach' } : timeout(tcp(pa, pb))],
    keeps: [icmp(a, b), tcp(b, pb), tcp(pa, lab.outside)],
  };
}

/** S09: nothing translates the first node's pods on their way out. */
export async function egressMasqueradeMissing(lab: Lab): Promise<Effect> {
  const { a, pa, pb, tcp } = paths(lab);
  await a.sh('iptables -t nat -F POSTROUTING');
  return {
    rule: 'egress-masquerade-missing',
    nodes: [a.id],
    breaks: [timeout(tcp(pa, lab.outside))],
    keeps: [tcp(pa, pb), tcp(pb, lab.outside), tcp(a, lab.outside)],
  };
}

/** S17: a docker0 over the LAN, whose own route has NetworkManager's metric. */
export async function subnetOverlapsNodeNetwork(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const lan = a.ip!.replace(/\d+$/, '');
  const gateway = lab.plan.outside;
  // a port with a carrier, as a container's veth is: without it the bridge's route is dead and the LAN's wins
  await a.sh(`ip link add docker0 type bridge
ip link add veth7d0c51a type veth peer name eth0c
ip link set veth7d0c51a master docker0 up
ip link set eth0c up
ip link set docker0 up
ip route add ${lan}0/24 dev eth0 proto kernel scope link src ${a.ip} metric 100
ip route del ${lan}0/24 dev eth0 proto kernel scope link src ${a.ip} metric 0
ip route replace default via ${gateway} dev eth0
ip addr add ${lan}1/24 brd + dev docker0`);
  return {
    rule: 'subnet-overlaps-node-network',
    nodes: [a.id],
    breaks: [lost(icmp(a, b)), lost(icmp(pa, pb))],
    keeps: [icmp(pa, a), icmp(b, pb)],
  };
}

/** S17: a lab whose third node was cloned from the second and kept its lease. */
export const DUPLICATE_CIDR: LabSpec = {
  nodes: [{}, {}, { podSubnet: '10.244.2.0/24', pods: [30] }],
};

/** What DUPLICATE_CIDR breaks; there is nothing to inject. */
export async function podCidrDuplicate(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const c = lab.node(2);
  return {
    rule: 'pod-cidr-duplicate',
    nodes: [b.id, c.id],
    breaks: [lost(icmp(pa, c.pod())), lost(icmp(c.pod(), pa))],
    keeps: [icmp(pa, pb), icmp(a, c)],
  };
}

/** S23: the lease changed, the bridge did not: cni0 of the first node has an address of another subnet. */
export async function bridgeAddressNotInLease(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh(`ip addr del ${a.plan.gateway}/24 dev cni0\nip addr add 10.244.9.1/24 brd + dev cni0`);
  return {
    rule: 'bridge-address-not-in-lease',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pa, lab.outside))],
    keeps: [icmp(a, b), icmp(b, pb)],
  };
}

/** S05, S06: the second node's flannel.1 is made again with another port or VNI. */
export async function vxlanParametersDisagree(lab: Lab, what: 'port' | 'vni' = 'port'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const entries = peerEntries(lab.plan, b.plan);
  const device = vxlanDevice(b.plan, what === 'port' ? { port: 4789 } : { id: 2 });
  await b.sh(`ip link del flannel.1
ip -batch - <<'EOF'\n${[...device, ...entries.ip].join('\n')}\nEOF
bridge -batch - <<'EOF'\n${entries.bridge.join('\n')}\nEOF`);
  return {
    rule: 'vxlan-parameters-disagree',
    nodes: [a.id, b.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(a, b), icmp(pa, lab.outside)],
  };
}

export type ForwardingEntryFault = 'no-fdb' | 'no-neighbour' | 'stale-mac' | 'dead-underlay' | 'peer-mac-changed';

/** S07: the first node cannot find the second one's tunnel end, in five ways. */
export async function vxlanForwardingEntryWrong(lab: Lab, how: ForwardingEntryFault = 'no-fdb'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const vtep = `${b.plan.podPrefix}.0`;
  const mac = b.plan.vtepMac;
  const dead = lab.plan.outside.replace(/\d+$/, '99');
  const fdb = (command: string, hw: string, dst = b.ip) => `bridge fdb ${command} ${hw} dev flannel.1 dst ${dst} self`;
  const commands: Record<ForwardingEntryFault, string> = {
    'no-fdb': fdb('del', mac),
    'no-neighbour': `ip neigh del ${vtep} dev flannel.1`,
    'stale-mac': `ip neigh replace ${vtep} lladdr 0e:00:00:00:00:77 dev flannel.1 nud permanent
${fdb('del', mac)}
${fdb('add', '0e:00:00:00:00:77')} permanent`,
    'dead-underlay': fdb('replace', mac, dead),
    'peer-mac-changed': ':',
  };
  await a.sh(commands[how]);
  if (how === 'peer-mac-changed') await b.sh('ip link set flannel.1 address 0e:00:00:00:00:22');
  return {
    rule: 'vxlan-forwarding-entry-wrong',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb))],
    keeps: [icmp(a, b), icmp(pa, lab.outside)],
  };
}

export type SmallUnderlay = 'device' | 'route' | 'fragments-pass';

/**
 * V35, V37: the underlay shrank under flannel.1, which did not follow: every NIC, or (`route`) the first node's route to the second. Large packets
 * leave as two fragments, and get through where nobody filters those.
 */
export async function overlayMtuTooLarge(lab: Lab, how: SmallUnderlay = 'device'): Promise<Effect> {
  const { a, b, pa, pb, icmp, tcp } = paths(lab);
  if (how === 'route') await a.sh(`ip route add ${b.ip}/32 dev eth0 mtu 1400`);
  else
    for (const node of lab.nodes) {
      await node.sh('ip link set eth0 mtu 1400');
      await lab.switch.sh(`ip link set p-${node.id} mtu 1400`);
    }
  if (how !== 'fragments-pass')
    await lab.switch.sh(`nft -f - <<'EOF'
table bridge fabric {
  chain forward {
    type filter hook forward priority 0
    ip frag-off & 0x3fff != 0 drop
  }
}
EOF`);
  const large = [
    { ...icmp(pa, pb), size: 1400, df: true },
    { ...icmp(pb, pa), size: 1400, df: true },
  ];
  return {
    rule: 'overlay-mtu-too-large',
    nodes: how === 'route' ? [a.id] : lab.nodes.map((node) => node.id),
    breaks: how === 'fragments-pass' ? [] : large.map(lost),
    keeps: [
      ...(how === 'fragments-pass' ? large : []),
      { ...icmp(pa, pb), size: 1322, df: true },
      { ...icmp(a, b), size: 1372, df: true },
      tcp(pa, pb),
    ],
  };
}

/** Sets the MTU of a node's overlay and of all its pods, as flanneld and the CNI plugin do for new ones. */
async function setPodMtu(node: LabNode, mtu: number): Promise<void> {
  const pods = node.pods.map(
    ({ plan }) => `ip link set ${plan.port} mtu ${mtu}\nip -n ${plan.netns} link set eth0 mtu ${mtu}`,
  );
  await node.sh(`${pods.join('\n')}
ip link set cni0 mtu ${mtu}
ip link set flannel.1 mtu ${mtu}
sed -i s/^FLANNEL_MTU=.*/FLANNEL_MTU=${mtu}/ /run/flannel/subnet.env`);
}

/** S13: the second node has a smaller MTU than the others, its overlay and pods as well: `underlay`: its port takes no larger frames. */
export async function mtuDiffersAcrossNodes(lab: Lab, what: 'underlay' | 'overlay' = 'underlay'): Promise<Effect> {
  const { a, b, pa, pb, icmp, tcp } = paths(lab);
  await setPodMtu(b, 1350);
  if (what === 'underlay') await b.sh('ip link set eth0 mtu 1400');
  const small = [icmp(pa, pb), tcp(pa, pb), tcp(pb, pa), { ...icmp(pb, pa), size: 1322, df: true }];
  const large = { ...icmp(pa, pb), size: 1400, df: true };
  return {
    rule: 'mtu-differs-across-nodes',
    nodes: [b.id],
    // over an equal underlay the second node tells the sender the smaller MTU
    breaks: what === 'underlay' ? [lost(large)] : [{ ...large, outcome: 'emsgsize' }],
    keeps: [...small, icmp(a, b), ...(what === 'underlay' ? [] : [{ ...icmp(a, b), size: 1472, df: true }])],
  };
}

export type VxlanDeviceFault = 'deleted' | 'down' | 'below-down' | 'below-unplugged';

/** V83: the first node's flannel.1 is gone or down, or the device that it sends by is. */
export async function vxlanDeviceMissing(lab: Lab, how: VxlanDeviceFault = 'deleted'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const commands: Record<VxlanDeviceFault, string> = {
    deleted: 'ip link del flannel.1',
    down: 'ip link set flannel.1 down',
    'below-down': 'ip link set eth0 down',
    'below-unplugged': ':',
  };
  await a.sh(commands[how]);
  if (how === 'below-unplugged') await lab.switch.sh(`ip link set p-${a.id} down`);
  const below = how === 'below-down' || how === 'below-unplugged';
  return {
    rule: 'vxlan-device-missing',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(pa, a), icmp(b, pb), ...(below ? [] : [icmp(a, b), icmp(pa, lab.outside)])],
  };
}

export type BridgeFault = 'down' | 'no-address' | 'address-moved';

/** V59, V74: the first node's cni0 is down, or has lost its address, or another device has it. */
export async function bridgeDownOrAddressless(lab: Lab, how: BridgeFault = 'down'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const gateway = `${a.plan.gateway}/24`;
  // pods on one bridge need no gateway to reach each other, but a bridge that is up
  const beside = a.pods.slice(1).map((pod) => icmp(pa, pod));
  // what a pod still knows of the gateway hides the loss for some time
  const forget = `ip -n ${pa.plan.netns} neigh flush all`;
  const commands: Record<BridgeFault, string> = {
    down: 'ip link set cni0 down',
    'no-address': `ip addr del ${gateway} dev cni0\n${forget}`,
    'address-moved': `ip addr del ${gateway} dev cni0
ip link add br9 type bridge
ip link set br9 up
ip addr add ${gateway} brd + dev br9
${forget}`,
  };
  await a.sh(commands[how]);
  return {
    rule: 'bridge-down-or-addressless',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pa, lab.outside)), ...(how === 'down' ? beside.map(lost) : [])],
    keeps: [icmp(a, b), icmp(b, pb), ...(how === 'down' ? [] : beside)],
  };
}

export type PodRouteFault = 'missing' | 'blackhole' | 'next-hop' | 'detour';

/** S08 and its like: the first node does not route the second one's pods to it. `detour`: by the third node, which passes them on. */
export async function podRouteMissingOrWrong(lab: Lab, how: PodRouteFault = 'missing'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const subnet = b.plan.podSubnet;
  const commands: Record<PodRouteFault, string> = {
    missing: `ip route del ${subnet}`,
    blackhole: `ip route replace blackhole ${subnet}`,
    'next-hop': `ip route replace ${subnet} via ${lab.plan.outside} dev eth0`,
    detour: `ip route replace ${subnet} via ${lab.plan.nodes[2]?.podPrefix}.0 dev flannel.1 onlink`,
  };
  await a.sh(commands[how]);
  const pods = [icmp(pa, pb), icmp(pb, pa)];
  return {
    rule: 'pod-route-missing-or-wrong',
    nodes: [a.id],
    breaks: how === 'detour' ? [] : pods.map(lost),
    keeps: [icmp(a, b), icmp(pa, lab.outside), icmp(pb, lab.outside), ...(how === 'detour' ? pods : [])],
  };
}

/** The kubelet and containerd disagree; `config`: in containerd's file, `flag`: by a flag of the kubelet. */
export async function cgroupDriverMismatch(lab: Lab, where: 'config' | 'flag' = 'config'): Promise<Effect> {
  const a = lab.node(0);
  if (where === 'config') {
    a.write('/var/lib/kubelet/config.yaml', kubeletConfig('systemd'));
    a.write('/etc/containerd/config.toml', containerdConfig('cgroupfs'));
  } else {
    a.write('/etc/containerd/config.toml', containerdConfig('systemd'));
    await a.restartProcess('/usr/bin/kubelet', ['--config=/var/lib/kubelet/config.yaml', '--cgroup-driver=cgroupfs']);
  }
  return { rule: 'cgroup-driver-mismatch', nodes: [a.id], breaks: [], keeps: lab.mesh(['icmp']) };
}

/** The first node lacks tools that the collector calls. */
export async function bundleIncomplete(
  lab: Lab,
  tools: readonly string[] = ['nft', 'iptables-legacy-save'],
): Promise<Effect> {
  const a = lab.node(0);
  for (const tool of tools) for (const dir of ['/usr/sbin', '/usr/bin']) a.remove(`${dir}/${tool}`);
  return { rule: 'bundle-incomplete', nodes: [a.id], breaks: [], keeps: lab.mesh(['icmp']) };
}

/** A lab whose first node has two pods, one of them a backend of a service. */
export const SERVICE_ON_THE_BRIDGE: LabSpec = {
  nodes: [{ pods: [10, 11] }, {}],
  services: [{ name: 'default/web', clusterIp: '10.96.0.10', port: 80, endpoints: ['10.244.1.11:80'] }],
};

/** S12: answers between pods of the first node's bridge are not seen by connection tracking. */
export async function bridgeNetfilterOff(lab: Lab): Promise<Effect> {
  const { a, pa, pb, tcp } = paths(lab);
  const service = '10.96.0.10';
  await a.sh('sysctl -qw net.bridge.bridge-nf-call-iptables=0');
  return {
    rule: 'bridge-netfilter-off',
    nodes: [a.id],
    breaks: [timeout(tcp(pa, service))],
    keeps: [tcp(pb, service), tcp(pa, pb), tcp(pa, a.pod('pod-2'))],
  };
}
