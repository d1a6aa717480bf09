import { bridgeAddressNotInLease, forwardDropsPodTraffic } from '../lab/index.ts';
import { lost, ok, probe, type Scenario, sh, timeout } from './scenario.ts';

export const HOSTS: readonly Scenario[] = [
  {
    id: 'S18',
    title: 'policy routing of a VPN captures pod traffic',
    stages: [
      {
        apply: sh({
          0: 'ip route add default via 192.168.50.100 table 51820\nip rule add pref 100 not fwmark 0xca6c lookup 51820',
        }),
        probes: [lost('pA -> pB icmp', '- forwarding|route')],
      },
      { apply: sh({ 0: 'ip rule add pref 90 lookup main suppress_prefixlength 0' }), probes: [ok('pA -> pB icmp')] },
    ],
  },
  {
    id: 'S19',
    title: 'the raw rule of Docker >= 28 with the flannel subnet on docker0',
    stages: [
      {
        apply: sh({ 1: 'ip link set cni0 down\nip link set cni0 name docker0\nip link set docker0 up' }),
        probes: [ok('pA -> pB:80 tcp', '10.244.1.10')],
      },
      {
        apply: sh({ 1: 'iptables -t raw -A PREROUTING -d 10.244.2.10/32 ! -i docker0 -j DROP' }),
        probes: [timeout('pA -> pB:80 tcp', 'node-b firewall'), ok('B -> pB:80 tcp', '10.244.2.1')],
      },
    ],
  },
  {
    id: 'S20',
    title: 'dockerd 20.10: published ports and a blanket accept',
    docker: true,
    stages: [
      {
        probes: [
          ok('ext -> host:9001 tcp', '10.3.20.99'),
          ok('host -> 127.0.0.1:9001 tcp', '172.17.0.1'),
          ok('c2 -> host:9001 tcp', '172.17.0.1'),
          timeout('c3 -> c1:9000 tcp', 'docker-host firewall'),
          ok('c1 -> ext:80 tcp', '10.3.20.87'),
          timeout('ext -> c1:7000 tcp', 'docker-host firewall'),
        ],
      },
      {
        apply: sh({ 0: 'iptables -I FORWARD -s 0.0.0.0/0 -j ACCEPT' }),
        probes: [ok('ext -> c1:7000 tcp', '10.3.20.99'), ok('c3 -> c1:9000 tcp', '172.17.0.1')],
      },
      {
        apply: sh({
          0: `iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -P INPUT DROP`,
        }),
        probes: [ok('ext -> host:9001 tcp', '10.3.20.99'), timeout('c2 -> host:9001 tcp', 'docker-host firewall')],
      },
      {
        apply: async (lab) => {
          await lab.node(0).sh('iptables -P INPUT ACCEPT\niptables -t nat -F');
          // with its route to the containers the outside host could answer them
          await lab.outside.sh('ip route del 172.16.0.0/12');
        },
        probes: [ok('ext -> host:9001 tcp', '172.17.0.1'), timeout('c1 -> ext:80 tcp', '- client|source|route reply')],
      },
    ],
  },
  {
    id: 'S21',
    title: "a NodePort to another node's pod without source NAT",
    stages: [
      {
        apply: sh({
          0: 'iptables -t nat -F\niptables -t nat -A PREROUTING -p tcp -m addrtype --dst-type LOCAL --dport 30080 -j DNAT --to-destination 10.244.2.10:80',
        }),
        probes: [
          timeout('ext -> A:30080 tcp', '- client|source reply'),
          probe('A -> 192.168.50.11:30080 tcp', 'refused', 'node-a socket'),
        ],
      },
      {
        apply: sh({ 0: 'iptables -t nat -A POSTROUTING ! -s 10.244.0.0/16 -d 10.244.0.0/16 -j MASQUERADE' }),
        probes: [ok('ext -> A:30080 tcp', '10.244.1.0'), probe('A -> A:30080 tcp', 'refused', 'node-a socket')],
      },
    ],
  },
  {
    id: 'S22',
    title: 'a firewalld-shaped table rejects after iptables accepted',
    stages: [
      {
        apply: (lab) => forwardDropsPodTraffic(lab, 'nft-table'),
        probes: [probe('pA -> pB:80 tcp', 'hostunreach', 'node-b firewall')],
      },
      {
        apply: sh({ 1: 'nft insert rule inet firewalld filter_FORWARD iifname "flannel.1" accept' }),
        probes: [ok('pA -> pB:80 tcp', '10.244.1.10')],
      },
    ],
  },
  {
    id: 'S23',
    title: 'an old bridge address, a port without a bridge, isolated ports',
    spec: { nodes: [{ pods: [10, 11] }, {}] },
    stages: [
      {
        apply: bridgeAddressNotInLease,
        probes: [lost('pA -> pB icmp', 'node-a neighbour')],
      },
      {
        fresh: true,
        apply: (lab) => lab.node(0).sh(`ip link set ${lab.node(0).pod().plan.port} nomaster`),
        probes: [lost('pA -> 10.244.1.1 icmp', 'node-a neighbour reply')],
      },
      {
        fresh: true,
        apply: (lab) =>
          lab.node(0).sh(
            lab
              .node(0)
              .pods.map((pod) => `bridge link set dev ${pod.plan.port} isolated on`)
              .join('\n'),
          ),
        probes: [lost('pA -> q1 icmp', 'node-a bridge|neighbour'), ok('pA -> pB icmp')],
      },
    ],
  },
];
