import {
  dropPolicyWithAccepts,
  type ForwardingEntryFault,
  type Lab,
  vxlanForwardingEntryWrong,
  vxlanParametersDisagree,
} from '../lab/index.ts';
import { lost, ok, probe, type Scenario, type Stage, sh, timeout } from './scenario.ts';

const DOCKER_STYLE = `iptables -F FORWARD
iptables -P FORWARD DROP
iptables -A FORWARD -i cni0 ! -o cni0 -j ACCEPT
iptables -A FORWARD -i cni0 -o cni0 -j ACCEPT`;

/** flannel 0.25-0.28 with EnableNFTables: nothing in iptables, a table of its own. */
async function flannelNft(lab: Lab): Promise<void> {
  for (const node of lab.nodes) {
    const own = node.plan.podSubnet;
    await node.sh(`iptables -F FORWARD
iptables -t nat -F POSTROUTING
iptables -F FLANNEL-FWD
iptables -X FLANNEL-FWD
iptables -t nat -F FLANNEL-POSTRTG
iptables -t nat -X FLANNEL-POSTRTG
nft -f - <<'EOT'
table ip flannel-ipv4 {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr 10.244.0.0/16 accept
    ip daddr 10.244.0.0/16 accept
  }
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr ${own} ip daddr 10.244.0.0/16 return
    ip saddr 10.244.0.0/16 ip daddr ${own} return
    ip saddr != ${own} ip daddr ${own} return
    ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
  }
}
EOT`);
  }
}

const HOST_FIREWALL = `iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -P INPUT DROP`;

const entryFault = (how: ForwardingEntryFault, dies: string, first = false): Stage => ({
  ...(first ? {} : { fresh: true }),
  apply: (lab) => vxlanForwardingEntryWrong(lab, how),
  probes: [lost('pA -> pB icmp', dies)],
});

export const OVERLAY: readonly Scenario[] = [
  {
    id: 'S01',
    title: 'healthy flannel vxlan, policy FORWARD DROP, flannel accepts',
    stages: [
      {
        apply: dropPolicyWithAccepts,
        probes: [
          ok('pA -> pB:80 tcp', '10.244.1.10'),
          ok('pA -> pB:53 udp', '10.244.1.10'),
          probe('pA -> pB:81 tcp', 'refused', 'node-b socket'),
          ok('pA -> ext:80 tcp', '192.168.50.11'),
          ok('A -> pB:80 tcp', '10.244.1.0'),
          ok('pA -> B icmp'),
          probe('ext -> pB:80 tcp', 'netunreach', 'outside route'),
        ],
      },
    ],
  },
  {
    id: 'S02',
    title: 'FORWARD policy DROP on B with Docker-style accepts only',
    stages: [
      {
        apply: sh({ 1: DOCKER_STYLE }),
        probes: [timeout('pA -> pB:80 tcp', 'node-b firewall'), timeout('pB -> pA:80 tcp', 'node-b firewall reply')],
      },
      {
        apply: sh({ 1: 'iptables -I FORWARD -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT' }),
        probes: [ok('pB -> pA:80 tcp', '10.244.2.10'), timeout('pA -> pB:80 tcp', 'node-b firewall')],
      },
    ],
  },
  {
    id: 'S03',
    title: 'flannel in nftables mode while the iptables FORWARD policy is DROP on B',
    stages: [
      { apply: flannelNft, probes: [ok('pA -> pB:80 tcp', '10.244.1.10')] },
      {
        apply: sh({ 1: 'iptables -P FORWARD DROP' }),
        probes: [timeout('pA -> pB:80 tcp', 'node-b firewall'), ok('pA -> ext:80 tcp', '192.168.50.11')],
      },
    ],
  },
  {
    id: 'S04',
    title: 'a stateful host firewall on B that never opened udp/8472',
    stages: [
      {
        apply: sh({ 1: HOST_FIREWALL }),
        probes: [
          timeout('pA -> pB:80 tcp', 'node-b firewall'),
          timeout('pB -> pA:80 tcp', 'node-b firewall reply'),
          lost('A -> B icmp', 'node-b firewall'),
        ],
      },
      {
        apply: sh({ 1: 'iptables -A INPUT -p udp --dport 8472 -j ACCEPT' }),
        probes: [ok('pA -> pB:80 tcp', '10.244.1.10')],
      },
    ],
  },
  {
    id: 'S05',
    title: 'VXLAN ports differ',
    stages: [
      {
        apply: (lab) => vxlanParametersDisagree(lab, 'port'),
        probes: [lost('pA -> pB icmp', 'node-b socket'), lost('pB -> pA icmp', 'node-a socket')],
      },
    ],
  },
  {
    id: 'S06',
    title: 'VNIs differ',
    stages: [
      {
        apply: (lab) => vxlanParametersDisagree(lab, 'vni'),
        probes: [lost('pA -> pB icmp', 'node-b vxlan-vni')],
      },
    ],
  },
  {
    id: 'S07',
    title: 'forwarding entries and neighbours of flannel.1 on A',
    stages: [
      entryFault('no-fdb', 'node-a vxlan-fdb', true),
      entryFault('no-neighbour', 'node-a vxlan-neighbour'),
      entryFault('stale-mac', 'node-b vxlan-mac'),
      entryFault('dead-underlay', 'node-a neighbour'),
      // the change wiped B's own neighbours as well, but the request dies first
      entryFault('peer-mac-changed', 'node-b vxlan-mac'),
    ],
  },
  {
    id: 'S08',
    title: 'host-gw: right, wrong next hop, loop, no way back',
    spec: { backend: 'host-gw' },
    stages: [
      { probes: [ok('pA -> pB:80 tcp', '10.244.1.10')] },
      {
        apply: sh({ 0: 'ip route replace 10.244.2.0/24 via 192.168.50.100 dev eth0' }),
        probes: [lost('pA -> pB icmp', '- forwarding|route')],
      },
      {
        apply: async (lab) => {
          await lab.outside.sh(
            `sysctl -qw net.ipv4.ip_forward=1\nip route add default via ${lab.node(0).ip}\nsysctl -qw net.ipv4.conf.eth0.send_redirects=0 net.ipv4.conf.all.send_redirects=0`,
          );
        },
        probes: [lost('pA -> pB icmp', '- forwarding|route|ttl')],
      },
      {
        fresh: true,
        apply: sh({ 1: 'ip route del 10.244.1.0/24' }),
        probes: [lost('pA -> pB icmp', '- forwarding|route reply')],
      },
    ],
  },
  {
    id: 'S09',
    title: 'missing MASQUERADE, and two situations that look like it',
    stages: [
      {
        apply: sh({ 0: 'iptables -t nat -F POSTROUTING' }),
        probes: [timeout('pA -> ext:80 tcp', '- route|source reply')],
      },
      {
        apply: sh({ 0: 'iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to-source 192.168.50.11' }),
        probes: [ok('pA -> ext:80 tcp', '192.168.50.11')],
      },
      {
        apply: async (lab) => {
          await lab.node(0).sh('iptables -t nat -F POSTROUTING');
          await lab.outside.sh('ip route add 10.244.0.0/16 via 192.168.50.11');
        },
        probes: [ok('pA -> ext:80 tcp', '10.244.1.10')],
      },
    ],
  },
];
