import {
  DUPLICATE_CIDR,
  interfaceForwardingDisabled,
  ipForwardDisabled,
  type Lab,
  subnetOverlapsNodeNetwork,
} from '../lab/index.ts';
import { lost, ok, probe, type Scenario, sh, timeout } from './scenario.ts';

const hairpinOff = 'for p in /sys/class/net/cni0/brif/*; do echo 0 >$p/hairpin_mode; done';
const hairpinOn = 'for p in /sys/class/net/cni0/brif/*; do echo 1 >$p/hairpin_mode; done';
const bridgeCall = (value: number) => `sysctl -qw net.bridge.bridge-nf-call-iptables=${value}`;
const dnatTo = (ip: string) =>
  `iptables -t nat -F PREROUTING\niptables -t nat -I PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination ${ip}:80`;

async function podMtu(lab: Lab): Promise<void> {
  for (const node of lab.nodes) {
    const { port, netns } = node.pod().plan;
    await node.sh(`ip link set ${port} mtu 1500
ip -n ${netns} link set eth0 mtu 1500
ip link set cni0 mtu 1500`);
  }
}

async function smallUnderlay(lab: Lab): Promise<void> {
  for (const node of lab.nodes) {
    const { port, netns } = node.pod().plan;
    await node.sh(`ip -n ${netns} link set eth0 mtu 1450\nip link set ${port} mtu 1450\nip link set cni0 mtu 1450`);
  }
  await lab.node(1).sh('ip link set eth0 mtu 1400');
  await lab.switch.sh('ip link set p-node-b mtu 1400\nip link set br0 mtu 1500');
}

const KUBE_PROXY = `iptables-restore --noflush <<'EOT'
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-1 - [0:0]
:KUBE-SEP-1 - [0:0]
:KUBE-SEP-2 - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-1
-A KUBE-SVC-1 -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1
-A KUBE-SVC-1 -j KUBE-SEP-2
-A KUBE-SEP-1 -p tcp -m tcp -j DNAT --to-destination 10.244.2.10:80
-A KUBE-SEP-2 -p tcp -m tcp -j DNAT --to-destination 10.244.2.99:80
COMMIT
*filter
:KUBE-SERVICES - [0:0]
-I FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-I OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.21/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
EOT`;

export const FORWARDING: readonly Scenario[] = [
  {
    id: 'S10',
    title: 'ip_forward and per-device forwarding',
    stages: [
      {
        apply: ipForwardDisabled,
        probes: [lost('pA -> pB icmp', 'node-a forwarding'), ok('pA -> A icmp'), ok('A -> pB icmp')],
      },
      {
        fresh: true,
        apply: (lab) => interfaceForwardingDisabled(lab, 'flannel.1'),
        probes: [lost('pA -> pB icmp', 'node-b forwarding'), lost('pB -> pA icmp', 'node-b forwarding reply')],
      },
      {
        fresh: true,
        apply: (lab) => interfaceForwardingDisabled(lab, 'cni0'),
        probes: [lost('pA -> pB icmp', 'node-b forwarding reply')],
      },
    ],
  },
  {
    id: 'S11',
    title: 'strict rp_filter and an asymmetric return route',
    stages: [
      { apply: sh({ 1: 'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=1' }), probes: [ok('pA -> pB icmp')] },
      { apply: sh({ 1: 'ip route del 10.244.1.0/24' }), probes: [lost('pA -> pB icmp', 'node-b rp-filter')] },
      {
        apply: sh({ 1: 'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=2' }),
        probes: [lost('pA -> pB icmp', '- forwarding|route reply')],
      },
      {
        apply: sh({ 1: 'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=0 net.ipv4.conf.all.rp_filter=1' }),
        probes: [lost('pA -> pB icmp', 'node-b rp-filter')],
      },
    ],
  },
  {
    id: 'S12',
    title: 'bridge-nf-call-iptables with two pods on one bridge',
    spec: { nodes: [{ pods: [10, 11] }, {}] },
    stages: [
      {
        apply: sh({ 0: `iptables -F FORWARD\niptables -P FORWARD DROP\n${bridgeCall(1)}` }),
        probes: [lost('pA -> q1 icmp', 'node-a firewall')],
      },
      { apply: sh({ 0: bridgeCall(0) }), probes: [ok('pA -> q1 icmp')] },
      {
        apply: sh({ 0: `iptables -P FORWARD ACCEPT\n${dnatTo('10.244.1.11')}` }),
        probes: [
          timeout('pA -> 10.96.0.10:80 tcp', 'node-a client|source reply'),
          timeout('pB -> 10.96.0.10:80 tcp', '- forwarding|route'),
        ],
      },
      { apply: sh({ 0: bridgeCall(1) }), probes: [ok('pA -> 10.96.0.10:80 tcp', '10.244.1.10')] },
      {
        apply: sh({ 0: `${dnatTo('10.244.1.10')}\n${hairpinOff}` }),
        probes: [timeout('pA -> 10.96.0.10:80 tcp', 'node-a bridge')],
      },
      {
        apply: sh({
          0: `iptables -t nat -I POSTROUTING -s 10.244.1.10 -d 10.244.1.10 -j MASQUERADE\n${hairpinOn}`,
        }),
        probes: [ok('pA -> 10.96.0.10:80 tcp', '10.244.1.1')],
      },
    ],
  },
  {
    id: 'S13',
    title: 'MTU: recoverable, filtered, and a small port of the switch',
    stages: [
      {
        apply: podMtu,
        probes: [
          probe('pA -> pB icmp', 'emsgsize', 'node-a mtu', { size: 1472, df: true }),
          ok('pA -> pB icmp', undefined, { size: 100, df: true }),
        ],
      },
      {
        fresh: true,
        apply: async (lab) => {
          await podMtu(lab);
          await lab.node(0).sh('iptables -A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP');
        },
        probes: [
          lost('pA -> pB icmp', 'node-a mtu|firewall', { size: 1472, df: true }),
          ok('pA -> pB icmp', undefined, { size: 100, df: true }),
        ],
      },
      {
        fresh: true,
        apply: smallUnderlay,
        probes: [
          lost('pA -> pB icmp', '- mtu|link', { size: 1400, df: true }),
          ok('pA -> pB icmp', undefined, { size: 100, df: true }),
        ],
      },
    ],
  },
  {
    id: 'S14',
    title: 'iptables-legacy and iptables-nft both loaded on B',
    stages: [
      {
        apply: sh({ 1: 'iptables-nft -A FORWARD -j ACCEPT\niptables-legacy -P FORWARD DROP' }),
        probes: [lost('pA -> pB icmp', 'node-b firewall')],
      },
      {
        fresh: true,
        apply: async (lab) => {
          const dnat = (tool: string, port: number) =>
            `${tool} -t nat -A PREROUTING -p tcp --dport 30090 -j DNAT --to-destination 10.244.2.10:${port}`;
          await lab.node(1).sh(`${dnat('iptables-legacy', 81)}\n${dnat('iptables-nft', 82)}`);
          for (const port of [81, 82]) await lab.serve('node-b/pod-1', 'tcp', port);
        },
        probes: [ok('ext -> B:30090 tcp', undefined, { answeredPort: 82 })],
      },
    ],
  },
  {
    id: 'S15',
    title: 'a service with one live and one dead endpoint, and one without endpoints',
    stages: [
      {
        apply: sh({ 0: KUBE_PROXY }),
        probes: [
          probe('pA -> 10.96.0.20:80 tcp', 'ok', 'node-b neighbour', { tries: 20 }),
          probe('pA -> 10.96.0.21:80 tcp', 'refused', 'node-a firewall'),
        ],
      },
    ],
  },
  {
    id: 'S16',
    title: "a blackhole route listed before cni0's connected route",
    stages: [
      {
        apply: sh({
          0: 'ip addr del 10.244.1.1/24 dev cni0\nip route add blackhole 10.244.1.0/24\nip addr add 10.244.1.1/24 dev cni0',
        }),
        probes: [
          probe('A -> pA icmp', 'invalid', 'node-a route'),
          lost('pB -> pA icmp', 'node-a route'),
          lost('pA -> pB icmp', 'node-a route reply'),
        ],
      },
    ],
  },
  {
    id: 'S17',
    title: 'the same pod CIDR on two nodes; docker0 over the LAN',
    spec: DUPLICATE_CIDR,
    stages: [
      {
        probes: [lost('pA -> 10.244.2.30 icmp', 'node-b neighbour'), lost('pC -> pA icmp', 'node-b neighbour reply')],
      },
      {
        fresh: true,
        apply: subnetOverlapsNodeNetwork,
        probes: [lost('A -> B icmp', 'node-a neighbour'), lost('pA -> pB icmp', 'node-a neighbour')],
      },
    ],
  },
];
