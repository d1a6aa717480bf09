import { type Ground, podPort } from './ground.ts';
import { nodeIp, OUTSIDE_IP, podIp, podPrefix, type Step, secondIp } from './plan.ts';
import type { Random } from './random.ts';

type Fault = (r: Random, g: Ground) => string | null;

const device = (r: Random, g: Ground): string => r.pick(g.devices.filter((d) => d !== 'lo'));
const key = (dev: string): string => dev.replaceAll('.', '/');
const peerOf = (r: Random, g: Ground) => {
  const peers = g.base.nodes.filter((n) => n !== g.node);
  return peers.length === 0 ? null : r.pick(peers);
};
const cluster = (g: Ground): boolean => g.base.backend !== 'none';
const anySubnet = (r: Random, g: Ground): string =>
  r.chance(0.6)
    ? r.pick(g.subnets)
    : `${r.pick(g.addresses).split('.').slice(0, 3).join('.')}.${r.pick(['0/25', '8/29', '10/32', '0/24'])}`;

export const sysctls: Fault = (r, g) =>
  r.pick([
    'sysctl -qw net.ipv4.ip_forward=0',
    `sysctl -qw net.ipv4.conf.${key(device(r, g))}.forwarding=0`,
    `sysctl -qw net.ipv4.conf.${key(device(r, g))}.rp_filter=${r.pick([1, 1, 2])}`,
    `sysctl -qw net.ipv4.conf.all.rp_filter=${r.pick([1, 1, 2])}`,
    'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done',
    `sysctl -qw net.bridge.bridge-nf-call-iptables=${r.pick([0, 0, 1])}`,
    ...g.bridges.map(
      (b) => `ip link set ${b} type bridge nf_call_iptables 1\nsysctl -qw net.bridge.bridge-nf-call-iptables=0`,
    ),
    `sysctl -qw net.ipv4.conf.${r.pick(['all', key(device(r, g))])}.accept_local=1`,
    `sysctl -qw net.ipv4.conf.${r.pick(['all', key(device(r, g))])}.route_localnet=1`,
    'sysctl -qw net.ipv4.conf.all.src_valid_mark=1',
    `sysctl -qw net.ipv4.conf.${r.pick(['all', 'eth0'])}.arp_ignore=${r.pick([1, 2, 8])}`,
    'sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0',
    `sysctl -qw net.ipv4.conf.${key(device(r, g))}.proxy_arp=1`,
    'sysctl -qw net.ipv4.conf.all.arp_filter=1',
    'sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.accept_local=1',
    'sysctl -qw net.ipv4.conf.all.forwarding=0',
    `sysctl -qw net.ipv4.ip_default_ttl=${r.pick([1, 2, 63, 65])}`,
  ]);

export const routes: Fault = (r, g) => {
  const peer = peerOf(r, g);
  const to = anySubnet(r, g);
  const via = peer === null ? OUTSIDE_IP : r.pick([nodeIp(peer), nodeIp(peer), OUTSIDE_IP, '192.168.50.77']);
  return r.pick([
    `ip route add ${r.pick(['blackhole', 'unreachable', 'prohibit', 'throw'])} ${to}${r.chance(0.4) ? ` metric ${r.int(1, 300)}` : ''}`,
    `ip route add ${to} via ${via} dev eth0 metric ${r.int(1, 300)}`,
    `ip route replace ${to} via ${via} dev eth0 onlink`,
    `ip route add ${to} dev ${device(r, g)} metric ${r.int(1, 300)}`,
    ...(g.base.twoNetworks && peer !== null
      ? [
          `ip route replace ${podPrefix(peer)}.0/24 via ${secondIp(peer)} dev eth1`,
          `ip route replace ${nodeIp(peer)}/32 via ${secondIp(peer)} dev eth1`,
          `ip route replace ${podPrefix(peer)}.0/24 via ${secondIp(peer)} dev eth1\nsysctl -qw net.ipv4.conf.all.rp_filter=1`,
          `ip route add ${r.pick(g.addresses)}/32 via ${secondIp(peer)} dev eth1`,
          `ip route replace default via ${secondIp(peer)} dev eth1`,
        ]
      : []),
    'ip route del default',
    `ip route replace default via ${via} dev eth0 hoplimit ${r.pick([1, 63, 65])}`,
    `ip route replace default via ${via} dev eth0${r.chance(0.5) ? ` src ${r.pick(g.own)}` : ''}`,
    `ip route add ${to} via ${via} dev eth0 src ${r.pick(g.own)} metric ${r.int(1, 99)}`,
    `ip route add ${to} nexthop via ${via} dev eth0 weight 1 nexthop via ${OUTSIDE_IP} dev eth0 weight 2`,
    ...(peer === null || !cluster(g)
      ? []
      : [
          `ip route del ${podPrefix(peer)}.0/24`,
          `ip route replace ${podPrefix(peer)}.0/24 via ${via} dev eth0`,
          `ip route add blackhole ${podPrefix(g.node)}.0/24`,
          `ip addr del ${podPrefix(g.node)}.1/24 dev cni0\nip route add blackhole ${podPrefix(g.node)}.0/24\nip addr add ${podPrefix(g.node)}.1/24 dev cni0`,
          `ip route replace ${podPrefix(peer)}.0/24 via ${nodeIp(peer)} dev eth0 metric 50`,
        ]),
  ]);
};

export const policyRules: Fault = (r, g) => {
  const table = r.int(100, 110);
  const content = r.pick([
    `default via ${OUTSIDE_IP} dev eth0`,
    `blackhole default`,
    `unreachable default`,
    `throw default`,
    `${anySubnet(r, g)} via ${OUTSIDE_IP} dev eth0`,
    `prohibit ${anySubnet(r, g)}`,
    `default dev ${device(r, g)}`,
  ]);
  const selector = r.pick([
    `from ${anySubnet(r, g)}`,
    `to ${anySubnet(r, g)}`,
    `iif ${r.pick(g.devices)}`,
    `fwmark 0x1/0x1`,
    'not fwmark 0xca6c',
    `fwmark 0x4000/0x4000`,
    `from ${anySubnet(r, g)} iif ${device(r, g)}`,
    'ipproto tcp',
    'ipproto udp dport 53',
    'dport 80 ipproto tcp',
    'oif eth0',
    `from ${r.pick(g.own)}`,
    'tos 0x10',
  ]);
  const action = r.pick([
    `lookup ${table}`,
    `lookup ${table}`,
    `lookup ${table}`,
    'lookup main suppress_prefixlength 0',
    'unreachable',
    'blackhole',
    'prohibit',
  ]);
  return `ip route add ${content} table ${table}\nip rule add pref ${r.int(50, 40000)} ${selector} ${action}${
    r.chance(0.3)
      ? `\nip rule add pref ${r.int(10, 49)} lookup main suppress_prefixlength ${r.pick([0, 0, 16, 24])}`
      : ''
  }`;
};

export const vxlanFaults: Fault = (r, g) => {
  const peer = peerOf(r, g);
  if (g.base.backend !== 'vxlan' || peer === null) return null;
  const mac = `0e:00:00:00:00:${(g.base.nodes.indexOf(peer) + 1).toString(16).padStart(2, '0')}`;
  const vtep = `${podPrefix(peer)}.0`;
  const again = (change: string) => `d=$(ip -d link show flannel.1 | sed -n 's/.*link\\/ether \\(\\S*\\) .*/\\1/p')
ip route show dev flannel.1 >/run/routes
ip neigh show dev flannel.1 nud permanent >/run/neigh
bridge fdb show dev flannel.1 >/run/fdb
ip link del flannel.1
ip link add flannel.1 address $d mtu 1450 type vxlan ${change} dev eth0 local ${nodeIp(g.node)} nolearning
ip addr add ${podPrefix(g.node)}.0/32 dev flannel.1
ip link set flannel.1 up
while read -r l; do ip route add $l dev flannel.1; done </run/routes
while read -r ip x mac l; do ip neigh replace $ip lladdr $mac dev flannel.1 nud permanent; done </run/neigh
while read -r mac x dst l; do bridge fdb replace $mac dev flannel.1 dst $dst self permanent; done </run/fdb`;
  return r.pick([
    `bridge fdb del ${mac} dev flannel.1`,
    `ip neigh del ${vtep} dev flannel.1`,
    `ip neigh replace ${vtep} lladdr 0e:00:00:00:00:77 dev flannel.1 nud permanent\nbridge fdb add 0e:00:00:00:00:77 dev flannel.1 dst ${nodeIp(peer)} self permanent`,
    `bridge fdb replace ${mac} dev flannel.1 dst 192.168.50.99 self permanent`,
    'ip link set flannel.1 address 0e:00:00:00:00:22',
    `bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst ${nodeIp(peer)} self permanent`,
    again('id 1 dstport 4789'),
    again('id 2 dstport 8472'),
    again('id 1 dstport 8472 srcport 20000 20100'),
    'ip link set flannel.1 down',
    'ip link set flannel.1 down\nip link set flannel.1 up',
  ]);
};

export const deviceFaults: Fault = (r, g) => {
  const port = g.ports.length > 0 ? r.pick(g.ports) : null;
  return r.pick([
    `ip link set ${device(r, g)} down`,
    `ip link set ${device(r, g)} mtu ${r.pick([1280, 1400, 1450, 1480])}`,
    `ip addr add ${r.pick(['10.99.0.1/24', '203.0.113.7/32', `${r.pick(g.addresses)}/32`, '172.31.0.1/16'])} dev ${r.pick(['lo', device(r, g)])}`,
    `ip link add dummy0 type bridge\nip addr add ${r.pick(['10.96.0.10/32', '10.99.0.1/24', `${podPrefix(g.node)}.200/32`])} dev dummy0\nip link set dummy0 up`,
    `ip addr add 192.168.50.${r.int(150, 160)}/24 dev eth0`,
    ...(cluster(g) ? [`ip addr del ${podPrefix(g.node)}.1/24 dev cni0\nip addr add 10.244.9.1/24 dev cni0`] : []),
    ...(port === null
      ? []
      : [
          `ip link set ${port} nomaster`,
          `ip link set ${port} down`,
          `bridge link set dev ${port} hairpin off`,
          `bridge link set dev ${port} hairpin on`,
          `bridge link set dev ${port} state ${r.pick([0, 1, 4])}`,
          g.ports.map((p) => `bridge link set dev ${p} isolated on`).join('\n'),
          `bridge link set dev ${port} isolated on`,
          `bridge link set dev ${port} learning off`,
          `bridge link set dev ${port} flood off`,
          `ip link set ${port} mtu 1280`,
        ]),
  ]);
};

export const neighbourFaults: Fault = (r, g) => {
  const peer = peerOf(r, g);
  const pod = cluster(g) && g.node.pods.length > 0 ? r.pick(g.node.pods) : null;
  const choices = [
    ...(peer === null ? [] : [`ip neigh replace ${nodeIp(peer)} lladdr 0e:00:00:00:00:99 dev eth0 nud permanent`]),
    `ip neigh replace ${OUTSIDE_IP} lladdr 0e:00:00:00:00:98 dev eth0 nud permanent`,
    ...(pod === null
      ? []
      : [
          `ip neigh replace ${podIp(g.node, pod)} lladdr 0e:00:00:00:00:97 dev cni0 nud permanent`,
          `bridge fdb add 0e:00:00:00:00:96 dev ${podPort(g.node, pod)} master static`,
        ]),
  ];
  return r.pick(choices);
};

/** Faults of a pod's own namespace: its routes, its firewall (a sidecar's redirection). */
export function podFault(r: Random, g: Ground): Step | null {
  if (!cluster(g) || g.node.pods.length === 0) return null;
  const i = r.int(1, g.node.pods.length);
  const gateway = `${podPrefix(g.node)}.1`;
  const sh = r.pick([
    'ip route del default',
    `ip route replace default via ${podPrefix(g.node)}.77 dev eth0`,
    'ip link set eth0 mtu 1400',
    `ip route add ${OUTSIDE_IP}/32 via ${gateway} dev eth0 mtu 1000`,
    'iptables -t nat -A PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 80',
    'iptables -A INPUT -p tcp --dport 80 -s 10.244.0.0/16 -j DROP',
    'iptables -A OUTPUT -p udp -j DROP',
    'iptables -t nat -A OUTPUT -p tcp --dport 80 -d 192.168.50.0/24 -j REDIRECT --to-ports 80',
    'iptables -P INPUT DROP\niptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT',
    'ip addr add 10.99.1.1/32 dev eth0',
    'ip link set eth0 down',
    'ip route add blackhole 192.168.50.0/24',
    'ip link set lo down',
    `echo ${r.pick([1, 2, 63, 65])} >/proc/sys/net/ipv4/ip_default_ttl`,
  ]);
  return { at: `${g.node.name}/pod-${i}`, what: 'pod', sh };
}

/** A fault of the outside host, only where it is in the evidence. */
export function outsideFault(r: Random, g: Ground): Step {
  const node = r.pick(g.base.nodes);
  return {
    at: 'outside',
    what: 'outside',
    sh: r.pick([
      `ip route add 10.244.0.0/16 via ${nodeIp(node)}`,
      `ip route add ${podPrefix(node)}.0/24 via ${nodeIp(node)}`,
      'sysctl -qw net.ipv4.ip_forward=1',
      `sysctl -qw net.ipv4.ip_forward=1\nip route add default via ${nodeIp(node)}`,
      `ip route add 172.16.0.0/12 via ${nodeIp(node)}`,
      'iptables -A INPUT -p tcp --dport 80 -j DROP',
      'iptables -P INPUT DROP\niptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT',
      'sysctl -qw net.ipv4.conf.all.rp_filter=1',
    ]),
  };
}

const KINDS: Readonly<Record<string, readonly [number, Fault]>> = {
  sysctl: [4, sysctls],
  route: [4, routes],
  'policy rule': [2.5, policyRules],
  vxlan: [2.5, vxlanFaults],
  device: [4, deviceFaults],
  neighbour: [1, neighbourFaults],
};
const WEIGHTS = Object.fromEntries(Object.entries(KINDS).map(([name, [weight]]) => [name, weight]));

export function someFault(r: Random, g: Ground): Step | null {
  if (r.chance(0.12)) return podFault(r, g);
  const what = r.weighted(WEIGHTS);
  const sh = KINDS[what]![1](r, g);
  return sh === null ? null : { at: g.node.name, what, sh };
}
