import { type Effect, lost, paths } from './faults.ts';
import type { Lab } from './lab.ts';
import { rootOf } from './node-files.ts';

const CONF = '/etc/cni/net.d';
/** The chain of a pod's masquerade, as the CNI plugin bridge names it. */
const MASQ = 'CNI-5d0c5d0c5d0c5d0c5d0c5d0c';
const FLANNEL = `${CONF}/10-flannel.conflist`;

/** The first node cannot give new pods a network; those that run are well. */
export async function cniNotReady(
  lab: Lab,
  how: 'no-file' | 'renamed' | 'cut' | 'stranger-broken' | 'plugin-gone' | 'plugin-not-executable' | 'plugin-empty',
): Promise<Effect> {
  const a = lab.node(0);
  const commands: Record<typeof how, string> = {
    'no-file': `rm ${FLANNEL}`,
    renamed: `mv ${FLANNEL} ${FLANNEL}.bak`,
    cut: `head -c 120 ${FLANNEL} >${CONF}/cut; mv ${CONF}/cut ${FLANNEL}`,
    'stranger-broken': `echo '{"name": "old", ' >${CONF}/05-old.conf`,
    'plugin-gone': 'rm /opt/cni/bin/bridge',
    'plugin-not-executable': 'chmod 644 /opt/cni/bin/host-local',
    'plugin-empty': ': >/opt/cni/bin/flannel',
  };
  await a.sh(commands[how]);
  return { rule: 'cni-not-ready', nodes: [a.id], breaks: [], keeps: lab.mesh(['icmp']) };
}

/**
 * What containerd's release archive cri-containerd-cni lays down (incident 03). `file`: only that, with a lease of it; `pods`: on the first two
 * nodes, whose first pods were made by it and have one address.
 */
export async function cniConfigShadowed(lab: Lab, how: 'file' | 'pods' = 'file'): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: true,
    promiscMode: true,
    ipam: { type: 'host-local', ranges: [[{ subnet: '10.88.0.0/16' }]], routes: [{ dst: '0.0.0.0/0' }] },
  };
  const file = { cniVersion: '0.4.0', name: 'containerd-net', plugins: [bridge] };
  for (const node of how === 'file' ? [a] : [a, b]) {
    node.write(`${CONF}/10-containerd-net.conflist`, `${JSON.stringify(file, null, 2)}\n`);
    node.write('/var/lib/cni/networks/containerd-net/10.88.0.2', `${'5d0c'.repeat(16)}\r\neth0`);
  }
  if (how === 'file') return { rule: 'cni-config-shadowed', nodes: [a.id], breaks: [], keeps: lab.mesh(['icmp']) };
  for (const pod of [pa, pb]) {
    await pod.node.sh(`ip addr flush dev cni0
ip addr add 10.88.0.1/16 brd + dev cni0
ip -n ${pod.plan.netns} addr flush dev eth0
ip -n ${pod.plan.netns} addr add 10.88.0.2/16 brd + dev eth0
ip -n ${pod.plan.netns} route add default via 10.88.0.1
iptables -t nat -N ${MASQ}
iptables -t nat -A ${MASQ} -d 10.88.0.0/16 -j ACCEPT
iptables -t nat -A ${MASQ} ! -d 224.0.0.0/4 -j MASQUERADE
iptables -t nat -I POSTROUTING -s 10.88.0.2/32 -j ${MASQ}
iptables -I FORWARD -s 10.88.0.0/16 -j ACCEPT
iptables -I FORWARD -d 10.88.0.0/16 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`);
  }
  return {
    rule: 'cni-config-shadowed',
    nodes: [a.id, b.id],
    breaks: [],
    keeps: [icmp(a, b), icmp(pa, lab.outside), icmp(pb, lab.outside)],
  };
}

/**
 * The first node has no subnet.env. `deleted`: only that; `booted`: flanneld did not come up after a boot, so that its device and its routes
 * are gone as well; `cut`: the file has but two lines.
 */
export async function flannelSubnetEnvMissing(
  lab: Lab,
  how: 'deleted' | 'booted' | 'cut' = 'deleted',
): Promise<Effect> {
  const { a, pa, pb, icmp } = paths(lab);
  if (how === 'cut') await a.sh('sed -i 3,4d /run/flannel/subnet.env');
  else a.remove('/run/flannel/subnet.env');
  if (how === 'booted') {
    await a.stopProcess('flanneld');
    await a.sh('ip link del flannel.1');
  }
  return {
    rule: 'flannel-subnet-env-missing',
    nodes: [a.id],
    breaks: how === 'booted' ? [lost(icmp(pa, pb)), lost(icmp(pb, pa))] : [],
    keeps: how === 'booted' ? [icmp(pa, a), icmp(pa, lab.outside)] : lab.mesh(['icmp']),
  };
}

/**
 * The ConfigMap was changed from vxlan to host-gw, and the first node was booted since: flanneld there takes no notice of the others' leases,
 * nor they of its new one; what they had written for its old one stays.
 */
export async function flannelBackendMixed(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  for (const node of lab.nodes)
    await node.sh(`sed -i s/vxlan/host-gw/ ${rootOf('kube-flannel')}/etc/kube-flannel/net-conf.json`);
  await a.sh('ip link del flannel.1');
  const c = lab.node(2);
  return {
    rule: 'flannel-backend-mixed',
    nodes: [a.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(pb, c.pod()), icmp(c.pod(), pb), icmp(a, b), icmp(pa, lab.outside)],
  };
}

/**
 * host-gw with the second node behind a router, which the outside host is; the third one is on both networks. flanneld on either side tries to
 * write its route, and the kernel refuses it.
 */
export async function hostGwAcrossRouter(lab: Lab): Promise<Effect> {
  const { a, b, pa, pb, icmp } = paths(lab);
  const c = lab.node(2);
  const far = (address: string | null) => (address ?? '').replace(/^192\.168\.50\./, '192.168.60.');
  await lab.outside.sh(`ip addr add ${far(lab.plan.outside)}/24 dev eth0\nsysctl -qw net.ipv4.ip_forward=1`);
  await b.sh(`ip addr flush dev eth0
ip addr add ${far(b.ip)}/24 dev eth0
ip route add default via ${far(lab.plan.outside)}
ip route add ${c.plan.podSubnet} via ${far(c.ip)}`);
  await c.sh(`ip addr add ${far(c.ip)}/24 dev eth0\nip route replace ${b.plan.podSubnet} via ${far(b.ip)}`);
  await a.sh(`ip route del ${b.plan.podSubnet}`);
  const refused = [
    await a.run(`ip route add ${b.plan.podSubnet} via ${far(b.ip)}`),
    await b.run(`ip route add ${a.plan.podSubnet} via ${a.ip}`),
  ];
  if (refused.some((r) => r.rc === 0)) throw new Error('the kernel took a route by a next hop behind a router');
  return {
    rule: 'pod-route-missing-or-wrong',
    nodes: [a.id, b.id],
    breaks: [lost(icmp(pa, pb)), lost(icmp(pb, pa))],
    keeps: [icmp(pb, c.pod()), icmp(pa, c.pod()), icmp(b, pb)],
  };
}
