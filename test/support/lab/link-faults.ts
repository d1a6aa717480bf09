import { type Effect, lost, paths, timeout } from './faults.ts';
import type { Lab, Probe } from './lab.ts';
import type { LabSpec } from './spec.ts';

/** The first node lost its default route; the outside host is on its own network, so only what lies behind it is out of reach. */
export async function defaultRouteMissing(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  await a.sh('ip route del default');
  const beyond: Probe = { from: a, to: '198.41.0.4', proto: 'icmp' };
  return {
    rule: 'default-route-missing',
    nodes: [a.id],
    breaks: [{ ...beyond, outcome: 'netunreach' }],
    keeps: [icmp(pa, pb), icmp(a, b), icmp(pa, lab.outside)],
  };
}

/** V64: the third node got the second one's address, beside its own or in its place. */
export async function duplicateNodeAddress(lab: Lab, how: 'second' | 'only' = 'second'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const c = lab.node(2);
  await c.sh(
    how === 'second'
      ? `ip addr add ${b.ip}/24 dev eth0`
      : `ip addr flush dev eth0\nip addr add ${b.ip}/24 dev eth0\nip route add default via ${lab.plan.outside}`,
  );
  const lostTo = icmp(b.pod(), c.pod());
  return {
    rule: 'duplicate-node-address',
    nodes: [b.id, c.id],
    breaks: [lost(lostTo)],
    keeps: how === 'second' ? [icmp(pa, a)] : [icmp(pa, a), icmp(pb, b)],
  };
}

/** V76, V79: a rule in front of flannel's translates what pods send to pods; every connection works all the same. */
export async function overlayTrafficMasqueraded(lab: Lab, how: 'all' | 'docker' = 'all'): Promise<Effect> {
  const { a, pa, pb, tcp, icmp } = paths(lab);
  const from = how === 'all' ? '' : ` -s ${a.plan.podSubnet} ! -o cni0`;
  await a.sh(`iptables -t nat -I POSTROUTING${from} -j MASQUERADE`);
  return {
    rule: 'overlay-traffic-masqueraded',
    nodes: [a.id],
    breaks: [],
    keeps: [tcp(pa, pb), tcp(pb, pa), tcp(pa, lab.outside), icmp(pa, pb)],
  };
}

/** The first node's pods leave with an address that nobody has. */
export async function snatSourceUnexpected(lab: Lab): Promise<Effect> {
  const { a, pa, pb, tcp } = paths(lab);
  const gone = lab.plan.outside.replace(/\d+$/, '77');
  await a.sh(`iptables -t nat -I POSTROUTING -s ${a.plan.podSubnet} -o eth0 -j SNAT --to-source ${gone}`);
  return {
    rule: 'snat-source-unexpected',
    nodes: [a.id],
    breaks: [timeout(tcp(pa, lab.outside))],
    keeps: [tcp(pa, pb), tcp(a, lab.outside), tcp(pb, lab.outside)],
  };
}

export type PodLinkFault = 'outer-down' | 'inner-down' | 'unplugged' | 'no-address' | 'port-disabled' | 'isolated';

/** A lab whose first node has a second pod beside the one with the broken cable. */
export const TWO_PODS: LabSpec = { nodes: [{ pods: [10, 11] }, {}] };

/** V59: the cable of the first pod of the first node is broken, in six ways; the pod beside it is well. */
export async function podLinkBroken(lab: Lab, how: PodLinkFault): Promise<Effect> {
  const { a, pa, pb, icmp } = paths(lab);
  const { port, netns } = pa.plan;
  const beside = a.pod('pod-2');
  const commands: Record<PodLinkFault, string> = {
    'outer-down': `ip link set ${port} down`,
    'inner-down': `ip -n ${netns} link set eth0 down`,
    unplugged: `ip link set ${port} nomaster`,
    'no-address': `ip -n ${netns} addr flush dev eth0`,
    'port-disabled': `bridge link set dev ${port} state 0`,
    isolated: `bridge link set dev ${port} isolated on\nbridge link set dev ${beside.plan.port} isolated on`,
  };
  await a.sh(commands[how]);
  const apart = how === 'isolated';
  return {
    rule: 'pod-link-broken',
    nodes: [a.id],
    breaks: [lost(apart ? icmp(beside, pa) : icmp(pb, pa))],
    keeps: apart ? [icmp(pa, pb), icmp(pb, pa)] : [icmp(beside, pb), icmp(pb, beside), icmp(beside, lab.outside)],
  };
}

/** V80: the second pod of the first node has the first one's address, or one of another node's pods ('peer'). */
export async function duplicatePodAddress(lab: Lab, how: 'node' | 'peer' = 'node'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const beside = a.pod('pod-2');
  const address = how === 'node' ? pa.plan.ip : pb.plan.ip;
  await a.sh(
    `ip -n ${beside.plan.netns} addr flush dev eth0\nip -n ${beside.plan.netns} addr add ${address}/24 dev eth0`,
  );
  return {
    rule: 'duplicate-pod-address',
    nodes: how === 'node' ? [a.id] : [a.id, b.id],
    breaks: [],
    keeps: [icmp(pb, a), icmp(pb, lab.outside)],
  };
}
