import type { NetNode } from '../../src/net/model.ts';
import { nodeOf, save, type Texts } from './hook-nodes.ts';

/** A cluster of kube-proxy in ipvs mode over flannel: node N has 192.168.50.1N, its pods 10.244.N.10 and up (fd00:N::10 and up). */
export interface NodePlan {
  readonly n: number;
  /** Last numbers of its pods' addresses. */
  readonly pods: readonly number[];
  readonly ipvs: string;
  /** Service addresses on kube-ipvs0. */
  readonly vips?: readonly string[];
  /** A kernel without it. */
  readonly none?: boolean;
  /** Beside the usual; null: not collected. */
  readonly sysctls?: Readonly<Record<string, number | null>>;
  readonly texts?: Texts;
  /** Texts that were not collected. */
  readonly without?: readonly string[];
}

interface Dev {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu?: number;
  readonly addrs: readonly string[];
  readonly more?: Readonly<Record<string, unknown>>;
}

const device = (d: Dev) => ({
  ifindex: d.index,
  ifname: d.name,
  flags: d.name === 'lo' ? ['LOOPBACK', 'UP', 'LOWER_UP'] : ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
  mtu: d.mtu ?? 1500,
  operstate: 'UP',
  link_type: d.name === 'lo' ? 'loopback' : 'ether',
  address: d.mac,
  ...d.more,
  addr_info: d.addrs.map((a) => {
    const [local, length] = a.split('/');
    const family = a.includes(':') ? 'inet6' : 'inet';
    return { family, local, prefixlen: Number(length), scope: d.name === 'lo' ? 'host' : 'global' };
  }),
});

const kind = (info_kind: string, info_data: unknown = {}) => ({ linkinfo: { info_kind, info_data } });
const LO: Dev = { index: 1, name: 'lo', mac: '00:00:00:00:00:00', mtu: 65536, addrs: ['127.0.0.1/8', '::1/128'] };
const vtep = (n: number) => `0e:00:00:00:00:0${n}`;
const podMac = (n: number, pod: number) => `0a:58:0a:f4:0${n}:${pod}`;

/** Local routes of addresses, as the kernel keeps them. */
const locals = (devs: readonly Dev[], six: boolean) =>
  devs.flatMap((d) =>
    d.addrs
      .filter((a) => a.includes(':') === six)
      .map((a) => `local ${a.split('/')[0]} dev ${d.name} table local proto kernel scope host`),
  );

function settings(devs: readonly Dev[], forwarding: 0 | 1, more: Readonly<Record<string, number | null>>): string {
  const names = ['all', 'default', ...devs.map((d) => d.name)];
  const per = (name: string, v: number) => names.map((n) => `net/ipv4/conf/${n}/${name}:${v}`);
  return [
    `net/ipv4/ip_forward:${forwarding}`,
    'net/ipv4/ip_default_ttl:64',
    'net/ipv4/icmp_echo_ignore_all:0',
    ...per('forwarding', forwarding),
    ...['rp_filter', 'accept_local', 'arp_ignore', 'proxy_arp', 'route_localnet'].flatMap((s) => per(s, 0)),
    `net/ipv6/conf/all/forwarding:${forwarding}`,
    ...names.map((n) => `net/ipv6/conf/${n}/hop_limit:64`),
    ...Object.entries(more).flatMap(([k, v]) => (v === null ? [] : [`${k}:${v}`])),
    '',
  ].join('\n');
}

export const IPVS_SYSCTLS = {
  'net/ipv4/vs/conntrack': 1,
  'net/ipv4/vs/snat_reroute': 1,
  'net/ipv4/vs/backup_only': 0,
  'net/ipv4/vs/drop_packet': 0,
  'net/ipv4/vs/cache_bypass': 0,
};
const BRIDGED = { 'net/bridge/bridge-nf-call-iptables': 1, 'net/bridge/bridge-nf-call-ip6tables': 1 };

const NAT = `
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES ! -s 10.244.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
`;
const FILTER = `
:KUBE-FORWARD - [0:0]
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
`;
export const SETS = `create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
add KUBE-CLUSTER-IP 10.96.0.10,tcp:80
add KUBE-CLUSTER-IP 10.96.0.1,tcp:443
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536
add KUBE-LOOP-BACK 10.244.1.10,tcp:8080,10.244.1.10
add KUBE-LOOP-BACK 10.244.1.11,tcp:8080,10.244.1.11
add KUBE-LOOP-BACK 10.244.2.10,tcp:8080,10.244.2.10
`;
const LISTEN = `tcp LISTEN 0 128 *:8080 *:* users:(("web",pid=9,fd=3))
udp UNCONN 0 0 *:5353 *:* users:(("dns",pid=9,fd=4))
`;
const RULES4 = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
const RULES6 = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n';
const NO_RULES: Texts = {
  'fw.ip6-tables-names': '',
  'fw.nft-json': '{"nftables": []}',
  'fw.ip6tables-legacy-save': '',
};

function podTexts(n: number, pod: number): Texts {
  const ns = `40265${n}${pod}`;
  const eth0: Dev = {
    index: 2,
    name: 'eth0',
    mac: podMac(n, pod),
    mtu: 1450,
    addrs: [`10.244.${n}.${pod}/24`, `fd00:${n}::${pod}/64`],
    more: { link_index: 100 + pod, link_netnsid: 0, ...kind('veth') },
  };
  const devs = [LO, eth0];
  const route4 = [`default via 10.244.${n}.1 dev eth0`, `10.244.${n}.0/24 dev eth0 scope link`, ...locals(devs, false)];
  const route6 = [
    { dst: 'default', gateway: `fd00:${n}::1`, dev: 'eth0', metric: 1024, flags: [], pref: 'medium' },
    { dst: `fd00:${n}::/64`, dev: 'eth0', protocol: 'kernel', metric: 256, flags: [], pref: 'medium' },
    { type: 'local', dst: `fd00:${n}::${pod}`, dev: 'eth0', table: 'local', metric: 0, flags: [], pref: 'medium' },
  ];
  const texts = {
    'netns.addr-json': JSON.stringify(devs.map(device)),
    'netns.link-json': JSON.stringify(devs.map(device)),
    'netns.route4': `${route4.join('\n')}\n`,
    'netns.route6-json': JSON.stringify(route6),
    'netns.rule4-json':
      '[{"priority":0,"src":"all","table":"local"},{"priority":32766,"src":"all","table":"main"},{"priority":32767,"src":"all","table":"default"}]',
    'netns.sysctl': settings(devs, 0, {}),
    'netns.ss-listen': LISTEN,
    'netns.neigh-json': '[]',
    'netns.iptables-nft-save': '',
    'netns.iptables-legacy-save': '',
    'netns.ip6tables-nft-save': '',
    'netns.ip6tables-legacy-save': '',
    'netns.nft-tables': '',
    'netns.proc-ip-tables-names': '',
    'netns.proc-ip6-tables-names': '',
  };
  return Object.fromEntries(Object.entries(texts).map(([id, text]) => [`${id}@${ns}`, text]));
}

function hostDevices({ n, pods, vips = [] }: NodePlan): readonly Dev[] {
  const local = `192.168.50.1${n}`;
  const vxlan = { id: 1, local, link: 'eth0', port: 8472, learning: false, port_range: { low: 0, high: 0 } };
  return [
    LO,
    { index: 2, name: 'eth0', mac: `52:54:00:00:00:0${n}`, addrs: [`${local}/24`, `fd50::1${n}/64`] },
    {
      index: 3,
      name: 'flannel.1',
      mac: vtep(n),
      mtu: 1450,
      addrs: [`10.244.${n}.0/32`],
      more: kind('vxlan', vxlan),
    },
    {
      index: 4,
      name: 'cni0',
      mac: `66:00:00:00:00:0${n}`,
      mtu: 1450,
      addrs: [`10.244.${n}.1/24`, `fd00:${n}::1/64`],
      more: kind('bridge', { vlan_filtering: 0 }),
    },
    ...pods.map((pod, i): Dev => {
      const port = {
        info_slave_kind: 'bridge',
        info_slave_data: { state: 'forwarding', hairpin: true, isolated: false },
      };
      const more = { link_index: 2, link_netnsid: i, master: 'cni0', linkinfo: { info_kind: 'veth', ...port } };
      return { index: 100 + pod, name: `veth${pod}`, mac: `fe:00:00:00:0${n}:${pod}`, mtu: 1450, addrs: [], more };
    }),
    ...(vips.length === 0
      ? []
      : [{ index: 5, name: 'kube-ipvs0', mac: `aa:00:00:00:00:0${n}`, addrs: vips, more: kind('dummy') }]),
  ];
}

/** One node of the cluster, with its pods. */
export function ipvsNode(plan: NodePlan, peers: readonly number[]): NetNode {
  const { n, pods, ipvs, none = false, sysctls = {}, texts = {}, without = [] } = plan;
  const devs = hostDevices(plan);
  const others = peers.filter((p) => p !== n);
  const route4 = [
    'default via 192.168.50.254 dev eth0',
    `192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.1${n}`,
    `10.244.${n}.0/24 dev cni0 proto kernel scope link src 10.244.${n}.1`,
    ...others.map((p) => `10.244.${p}.0/24 via 10.244.${p}.0 dev flannel.1 onlink`),
    ...locals(devs, false),
  ];
  const route6 = [
    `fd50::/64 dev eth0 proto kernel metric 256 pref medium`,
    `fd00:${n}::/64 dev cni0 proto kernel metric 256 pref medium`,
    ...others.map((p) => `fd00:${p}::/64 via fd50::1${p} dev eth0 metric 1024 pref medium`),
    ...locals(devs, true).map((l) => `${l} metric 0 pref medium`),
  ];
  const legacy = texts?.['fw.iptables-legacy-save'] ?? save('nat', NAT, 'legacy') + save('filter', FILTER, 'legacy');
  const all: Record<string, string> = {
    'ip.addr-json': JSON.stringify(devs.map(device)),
    'ip.link-json': JSON.stringify(devs.map(device)),
    'ip.route4': `${route4.join('\n')}\n`,
    'ip.route6': `${route6.join('\n')}\n`,
    'ip.rule4': RULES4,
    'ip.rule6': RULES6,
    'ip.neigh': others.map((p) => `10.244.${p}.0 dev flannel.1 lladdr ${vtep(p)} PERMANENT\n`).join(''),
    'bridge.fdb': others.map((p) => `${vtep(p)} dev flannel.1 dst 192.168.50.1${p} self permanent\n`).join(''),
    'sys.sysctl': settings(devs, 1, { ...BRIDGED, ...(none ? {} : IPVS_SYSCTLS), ...sysctls }),
    'sys.modules': `nf_nat 61440 1 - Live 0x0\n${none ? '' : 'ip_vs 200704 3 ip_vs_rr, Live 0x0\n'}`,
    'sock.ss-listen': 'tcp LISTEN 0 128 *:6443 *:* users:(("apiserver",pid=7,fd=3))\n',
    ...NO_RULES,
    'fw.iptables-legacy-save': legacy,
    'fw.ip-tables-names': [...legacy.matchAll(/^\*(\w+)$/gm)].map(([, name]) => `${name}\n`).join(''),
    'fw.ipset-save': SETS,
    'fw.ipvs': ipvs,
    ...Object.assign({}, ...pods.map((pod) => podTexts(n, pod))),
    ...texts,
  };
  for (const id of without) delete all[id];
  return nodeOf(all, `node-${'abc'[n - 1]}`);
}

/** Services in the three forms. */
export function saved(
  services: readonly (readonly [service: string, scheduler: string, ...servers: string[]])[],
): string {
  return services
    .map(([service, scheduler, ...servers]) => {
      const head = `-A ${service} -s ${scheduler}\n`;
      return head + servers.map((s) => `-a ${service} -r ${s}\n`).join('');
    })
    .join('');
}

export const VIPS = ['10.96.0.10/32', '10.96.0.1/32', 'fd00:96::10/128'];
