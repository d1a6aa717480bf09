import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { readChanges } from '../../src/cases/what-if.ts';
import { NodeFacts } from '../../src/engine/index.ts';
import type { LinkDevice, Ruleset } from '../../src/facts/index.ts';
import type { NetFacts } from '../../src/net/model.ts';
import { applyChange } from '../../src/net/what-if.ts';
import { labsAvailable } from '../support/lab/index.ts';
import { nodeEvidence } from '../support/rule-table.ts';

/** The collector's commands for what a change may touch. */
const DUMPS: Readonly<Record<string, string>> = {
  'host/ip/addr.txt': 'ip addr',
  'host/ip/link.txt': 'ip -d link',
  'host/ip/route4.txt': 'ip -4 -d route show table all',
  'host/ip/rule4.txt': 'ip -4 rule',
  'host/ip/route6.txt': 'ip -6 -d route show table all',
  'host/ip/rule6.txt': 'ip -6 rule',
  'host/fw/ip6tables-save.txt': 'ip6tables-nft-save',
  'host/ip/neigh.txt': 'ip -d neigh show nud all',
  'host/bridge/link.txt': 'bridge -d link',
  'host/bridge/fdb.txt': 'bridge -d fdb show',
  'host/bridge/sysfs.txt':
    "grep -sH '' /sys/class/net/*/bridge/nf_call_iptables /sys/class/net/*/brport/{state,hairpin_mode,isolated,learning,unicast_flood}",
  'host/sys/sysctl.txt':
    "cd /proc/sys; grep -sH '' net/ipv4/ip_forward net/ipv4/conf/*/forwarding net/ipv4/conf/*/rp_filter net/ipv4/conf/*/promote_secondaries net/ipv6/conf/*/forwarding",
  'host/fw/iptables-save.txt': 'iptables-nft-save',
  'host/fw/iptables-legacy-save.txt': 'iptables-legacy-save',
};

/** A node with a bridge, its port, an uplink with two addresses, a tunnel, static routes, policy rules and both firewalls. */
const NODE = `
mount -t sysfs sysfs /sys
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
ip link add eth0 type veth peer name wire0
ip link add pod0 type veth peer name pod0p
ip link add spare type veth peer name spare0; ip link set spare0 up
ip link add cni0 type bridge
ip link set pod0 master cni0
ip link set wire0 up; ip link set pod0p up; ip link set eth0 up; ip link set pod0 up; ip link set cni0 up
ip addr add 192.168.7.11/24 dev eth0; ip addr add 192.168.7.12/24 dev eth0; ip addr add 172.30.0.1/16 dev eth0
ip addr add 10.244.1.1/24 dev cni0
ip addr add 10.99.0.1/24 dev spare
ip link add flannel.1 type vxlan id 1 local 192.168.7.11 dev eth0 dstport 8472 nolearning
ip addr add 10.244.1.0/32 dev flannel.1; ip link set flannel.1 up
ip route add default via 192.168.7.1
ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
ip route add 10.50.0.0/16 via 192.168.7.50 src 192.168.7.12
ip route add 10.60.0.0/16 nexthop via 192.168.7.60 weight 1 nexthop via 10.244.1.60 weight 2
ip route add blackhole 10.70.0.0/16
ip neigh add 10.244.2.0 lladdr 0e:00:00:00:00:02 dev flannel.1 nud permanent
bridge fdb append 0e:00:00:00:00:02 dev flannel.1 dst 192.168.7.12 self permanent
ip rule add from 10.0.0.0/8 lookup 100 pref 1000
ip route add default via 192.168.7.2 table 100
iptables-nft -P FORWARD DROP
iptables-nft -N FLANNEL-FWD
iptables-nft -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
iptables-nft -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
iptables-nft -A FORWARD -p tcp -m tcp --dport 80 -j REJECT
iptables-nft -t nat -A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE
iptables-legacy -A INPUT -p udp -m multiport --dports 53,8472 -j ACCEPT
`;

interface Seen {
  readonly before: NetFacts;
  readonly after: NetFacts;
  readonly rc: number;
  readonly stderr: string;
}

/** The same with IPv6 as well: without duplicate address detection, which would still be at work. */
const NODE6 = `${NODE.replace(/^sysctl .*$/m, 'sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0')}
ip addr add 2001:db8:7::11/64 dev eth0 nodad
ip addr add 2001:db8:1::1/64 dev cni0 nodad
ip -6 route add default via 2001:db8:7::1
ip -6 route add 2001:db8:2::/64 via 2001:db8:7::12
ip6tables-nft -P FORWARD DROP
ip6tables-nft -A FORWARD -s 2001:db8::/32 -j ACCEPT
`;

/** Runs a command on the node in namespaces of its own, and reads the node before and after. */
function run(command: string, node = NODE): Seen {
  const mark = '=====';
  const dump = (when: string) =>
    Object.entries(DUMPS)
      .map(([path, how]) => `echo "${mark} ${when} ${path}"; (${how}) 2>/dev/null`)
      .join('\n');
  const script = `set -e\niptables() { iptables-nft "$@"; }\n${node}\nset +e\n${dump('before')}\n{ ${command}\n}; rc=$?\n${dump('after')}\necho "${mark} rc $rc"`;
  const ran = spawnSync('unshare', ['--net', '--mount', 'bash', '-c', script], { encoding: 'utf8' });
  const files: Record<string, Record<string, string>> = { before: {}, after: {} };
  let rc = -1;
  for (const part of ran.stdout.split(`${mark} `).slice(1)) {
    const head = part.slice(0, part.indexOf('\n'));
    const [when = '', path = ''] = head.split(' ');
    if (when === 'rc') rc = Number(path);
    else (files[when] as Record<string, string>)[path] = part.slice(head.length + 1);
  }
  if (rc < 0) throw new Error(`the node could not be built: ${ran.stderr}`);
  const facts = (when: string): NetFacts => new NodeFacts(nodeEvidence('node-a', { files: files[when] ?? {} }));
  return { before: facts('before'), after: facts('after'), rc, stderr: ran.stderr };
}

const KINDS = [
  'addresses',
  'links',
  'routes4',
  'rules4',
  'neighbours',
  'bridgePorts',
  'fdb',
  'sysfs',
  'sysctl',
  'iptables',
  'iptablesLegacy',
  'routes6',
  'rules6',
  'ip6tables',
] as const;

type Row = Readonly<Record<string, unknown>>;

/** Where a fact says something, and what changes by itself: counters, carrier, timers. */
const IGNORED = new Set(['line', 'endLine', 'col', 'length', 'bridge', 'used', 'linkNetnsId']);

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([k, v]) => !IGNORED.has(k) && v !== undefined);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, plain(v)]));
}

function device(d: LinkDevice): Row {
  const { state: _s, flags, port, ...rest } = d;
  const own = port === undefined ? {} : { hairpin: port.hairpin, isolated: port.isolated, state: port.state };
  return { ...rest, up: flags.includes('UP'), port: own };
}

const multicast = /^(01:00:5e|33:33|ff02|224\.)/;

/** What a fact says, in one order where order means nothing. */
function essence(facts: NetFacts, kind: (typeof KINDS)[number]): unknown {
  const fact = facts.get(kind);
  if (fact.missing) return `missing: ${fact.because}`;
  if (/^ip6?tables/.test(fact.kind)) {
    const tables = [...(fact.value as Ruleset).tables].map(([name, table]) => [
      name,
      Object.fromEntries(
        [...table.chains].map(([chain, c]) => [chain, [c.policy, c.rules().map((r) => r.text.trim())]]),
      ),
    ]);
    return plain(Object.fromEntries(tables));
  }
  const rows = (Object.values(fact.value).find(Array.isArray) ?? []) as Row[];
  const kept = rows.filter((r) => !multicast.test(String(r['mac'] ?? '')) && !multicast.test(String(r['ip'] ?? '')));
  const shown = kept.map((r) =>
    JSON.stringify(plain('flags' in r && 'ifindex' in r && 'addresses' in r ? device(r as never) : r)),
  );
  if (kind === 'rules4' || kind === 'rules6') return shown;
  if (kind !== 'routes4' && kind !== 'routes6') return shown.sort();
  // among routes of one destination and metric the order decides
  const place = (t: string) => ((r: Row) => `${r['table']} ${r['dst']} ${r['metric']}`)(JSON.parse(t) as Row);
  return [...shown].sort((a, b) => (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0));
}

const CHANGES: readonly string[] = [
  // iptables
  'iptables -I FORWARD -j ACCEPT',
  'iptables -I FORWARD 2 -s 10.244.1.7 -d 10.0.0.0/255.0.0.0 -j ACCEPT',
  'iptables -A FORWARD -i cni0 ! -o cni0 -p tcp --dport 8080:8090 -m comment --comment "let me" -j ACCEPT',
  'iptables -A FORWARD -p tcp -m conntrack --ctstate RELATED,ESTABLISHED,NEW --syn -j ACCEPT',
  'iptables -A FORWARD -p udp --source-port 53 -m state --state ESTABLISHED -j DROP',
  'iptables -I FORWARD -s 10.1.0.0/16,10.2.0.0/16 -j ACCEPT',
  'iptables -D FORWARD -p tcp --dport 80 -j REJECT',
  'iptables -D FORWARD 1',
  'iptables -R FORWARD 2 -p icmp --icmp-type echo-request -j ACCEPT',
  'iptables -P FORWARD ACCEPT',
  'iptables -F FORWARD',
  'iptables -F',
  'iptables -N MINE',
  'iptables -t mangle -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu',
  'iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to 10.244.1.10:80',
  'iptables -t nat -A POSTROUTING -s 10.244.1.0/24 -o eth0 -j SNAT --to-source 192.168.7.11',
  'iptables -t nat -D POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE',
  'iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p udp --dport 53 -j REDIRECT --to-port 5353',
  'iptables -t mangle -A PREROUTING -j MARK --set-mark 5',
  'iptables -t mangle -A PREROUTING -m mark --mark 16/0xff -j MARK --or-mark 0x4000',
  'iptables -t raw -A PREROUTING -d 10.9.0.0/16 -j NOTRACK',
  'iptables -A FORWARD -m statistic --mode random --probability 0.5 -j ACCEPT',
  'iptables -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT',
  'iptables-legacy -I INPUT -i eth0 -j DROP',
  'iptables-legacy -t nat -A POSTROUTING -j MASQUERADE',
  // sysctl
  'sysctl -qw net.ipv4.ip_forward=1',
  'sysctl -q net.ipv4.conf.all.forwarding=1',
  'sysctl -qw net.ipv4.conf.flannel/1.forwarding=1',
  'sysctl -qw net/ipv4/conf/flannel.1/rp_filter=1 net.ipv4.conf.all.rp_filter=2',
  'sysctl -qw net.ipv4.conf.eth0.forwarding=1 && sysctl -qw net.ipv4.ip_forward=1',
  'sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.conf.cni0.forwarding=0; sysctl -qw net.ipv4.ip_forward=1',
  // ip route
  'ip route add 10.80.0.0/16 via 192.168.7.80',
  'ip route add 10.80.0.0/16 via 192.168.7.80 dev eth0 metric 50',
  'ip route add 10.80.0.0/16 dev eth0',
  'ip route add 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink',
  'ip route replace default via 192.168.7.9',
  'ip route append default via 192.168.7.9',
  'ip route prepend default via 192.168.7.9',
  'ip route add default via 192.168.7.9 metric 10',
  'ip route change default via 192.168.7.9',
  'ip route del default',
  'ip route del 10.50.0.0/16',
  'ip route del blackhole 10.70.0.0/16',
  'ip route add unreachable 10.71.0.0/16',
  'ip route replace 10.244.2.0/24 via 192.168.7.12 dev eth0',
  'ip route add 10.90.0.0/16 nexthop via 192.168.7.60 weight 3 nexthop via 10.244.1.60 weight 2',
  'ip route add 10.91.0.0/16 via 192.168.7.80 table 100 src 192.168.7.12',
  'ip r a 10.92.3.4 via 192.168.7.80 mtu 1400',
  // ip rule
  'ip rule add from 10.244.0.0/16 lookup main pref 500',
  'ip rule add fwmark 0x10/0xff table 100',
  'ip rule add to 10.3.0.0/16 iif eth0 blackhole',
  'ip rule del from 10.0.0.0/8',
  'ip rule del pref 1000',
  // ip link
  'ip link set eth0 mtu 1400',
  'ip link set dev flannel.1 mtu 1300',
  'ip link set cni0 down',
  'ip link set flannel.1 down',
  'ip link set eth0 down',
  'ip link set spare up',
  'ip link set spare down',
  'ip link set pod0 nomaster',
  'ip link set spare master cni0',
  'ip link set pod0 down',
  // bridge
  'bridge link set dev pod0 hairpin on',
  'bridge link set dev pod0 isolated on',
  'ip link set pod0 type bridge_slave hairpin on',
  'bridge fdb replace 0e:00:00:00:00:02 dev flannel.1 dst 192.168.7.13',
  'bridge fdb add 0e:00:00:00:00:03 dev flannel.1 dst 192.168.7.13 self permanent',
  'bridge fdb append 0e:00:00:00:00:03 dev flannel.1 dst 192.168.7.13',
  'bridge fdb del 0e:00:00:00:00:02 dev flannel.1',
  'bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.168.7.13',
  // ip neigh
  'ip neigh add 10.244.3.0 lladdr 0e:00:00:00:00:03 dev flannel.1',
  'ip neigh replace 10.244.2.0 lladdr 0e:00:00:00:00:99 dev flannel.1 nud permanent',
  // ip addr
  'ip addr add 192.168.7.13/24 dev eth0',
  'ip addr add 10.5.5.1/24 dev cni0',
  'ip addr add 10.5.5.1 dev spare',
  'ip addr del 192.168.7.12/24 dev eth0',
  'ip addr del 192.168.7.11/24 dev eth0',
  'sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1; ip addr del 192.168.7.11/24 dev eth0',
  'ip addr del 172.30.0.1/16 dev eth0',
  'ip addr del 10.244.1.1/24 dev cni0',
  'ip addr del 10.244.1.0/32 dev flannel.1',
];

const CHANGES6: readonly string[] = [
  'ip6tables -I FORWARD -p tcp --dport 443 -d 2001:db8:1::7 -j ACCEPT',
  'ip6tables -A FORWARD -p icmpv6 --icmpv6-type echo-request -j REJECT',
  'ip6tables -D FORWARD -s 2001:db8::/32 -j ACCEPT',
  'ip6tables -P FORWARD ACCEPT',
  'ip -6 route add 2001:db8:3::/64 via 2001:db8:7::13',
  'ip route add 2001:db8:3::/64 via 2001:db8:7::13 dev eth0 metric 50',
  'ip -6 route replace default via 2001:db8:7::2',
  'ip -6 route del 2001:db8:2::/64',
  'ip -6 route add blackhole 2001:db8:9::/64',
  'ip -6 rule add from 2001:db8:1::/64 lookup 100 pref 500',
  'ip addr add 2001:db8:8::1/64 dev cni0',
  'ip addr del 2001:db8:1::1/64 dev cni0',
  'ip link set cni0 down',
];

/** Commands that fail on this node: refused by the kernel or its tools, and by what-if. */
const REFUSED: readonly string[] = [
  'iptables -D FORWARD -p tcp --dport 81 -j REJECT',
  'iptables -I FORWARD 9 -j ACCEPT',
  'iptables -A NOWHERE -j ACCEPT',
  'iptables -A FORWARD -j NOWHERE',
  'iptables -A OUTPUT -i eth0 -j ACCEPT',
  'iptables -A FORWARD -j MASQUERADE',
  'iptables -A FORWARD --dport 80 -j ACCEPT',
  'iptables -X FLANNEL-FWD',
  'ip route add default via 192.168.7.9',
  'ip route add 10.80.0.0/16 via 10.88.0.1 dev eth0',
  'ip route add 10.80.0.0/16 via 192.168.7.80 src 9.9.9.9',
  'ip route add 10.99.1.0/24 via 10.99.0.7 dev spare',
  'ip route del 10.81.0.0/16',
  'ip rule del pref 77',
  'ip link set flannel.1 mtu 1480',
  'ip addr add 192.168.7.11/24 dev eth0',
  'ip addr del 9.9.9.9/32 dev eth0',
  'ip neigh add 10.244.2.0 lladdr 0e:00:00:00:00:99 dev flannel.1',
  'bridge fdb add 0e:00:00:00:00:02 dev flannel.1 dst 192.168.7.13',
  'bridge link set dev eth0 hairpin on',
  'sysctl -w net.ipv4.conf.nothere.forwarding=1',
];

describe.skipIf(!labsAvailable())('what-if against the kernel', () => {
  it.each(CHANGES)('%s', (command) => {
    const seen = run(command);
    expect([seen.rc, seen.stderr]).toEqual([0, '']);
    let facts = seen.before;
    for (const { change } of readChanges([command], ['node-a'])) facts = applyChange(facts, change);
    for (const kind of KINDS) expect(essence(facts, kind), kind).toEqual(essence(seen.after, kind));
  });

  it.each(CHANGES6)('IPv6: %s', (command) => {
    const seen = run(command, NODE6);
    expect([seen.rc, seen.stderr]).toEqual([0, '']);
    let facts = seen.before;
    for (const { change } of readChanges([command], ['node-a'])) facts = applyChange(facts, change);
    for (const kind of KINDS) expect(essence(facts, kind), kind).toEqual(essence(seen.after, kind));
  });

  it.each(REFUSED)('refuses %s', (command) => {
    const seen = run(command);
    expect(seen.rc, 'the machine took it').not.toBe(0);
    expect(() => {
      for (const { change } of readChanges([command], ['node-a'])) applyChange(seen.before, change);
    }).toThrow();
  });
});
