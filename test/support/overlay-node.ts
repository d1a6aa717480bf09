import type { NodeFiles } from './rule-table.ts';

/** A flannel vxlan node as ground-truth.md builds it; every field of `change` replaces one piece, so that a fault is one word of a test. */
export interface OverlayNode {
  readonly n: number;
  readonly peers: readonly number[];
  readonly vni?: number;
  readonly port?: number;
  readonly subnet?: number;
  readonly cni0?: string;
  readonly forward?: string;
  readonly flannelForwarding?: string;
  readonly cniForwarding?: string;
  readonly neigh?: (peer: number, line: string) => string;
  readonly fdb?: (peer: number, line: string) => string;
  readonly files?: NodeFiles['files'];
  readonly info?: NodeFiles['info'];
}

const mac = (n: number) => `0e:00:00:00:00:${String(n).padStart(2, '0')}`;

/** Text in the exact form of iproute2 6.1, bridge-utils 1.7.1 and iptables 1.8.9 on Debian 12. */
export function overlayNode(o: OverlayNode): NodeFiles {
  const { n } = o;
  const s = o.subnet ?? n;
  const underlay = `192.168.50.${10 + n}`;
  const neigh = o.neigh ?? ((_, l) => l);
  const fdb = o.fdb ?? ((_, l) => l);
  const files: NodeFiles['files'] = {
    'host/ip/addr.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:0${n} brd ff:ff:ff:ff:ff:ff link-netnsid 0
    inet ${underlay}/24 scope global eth0
       valid_lft forever preferred_lft forever
3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default qlen 1000
    link/ether ${mac(n)} brd ff:ff:ff:ff:ff:ff
    inet 10.244.${s}.0/32 scope global flannel.1
       valid_lft forever preferred_lft forever
4: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP group default qlen 1000
    link/ether 0a:58:0a:f4:0${n}:01 brd ff:ff:ff:ff:ff:ff
    inet ${o.cni0 ?? `10.244.${s}.1/24`} scope global cni0
       valid_lft forever preferred_lft forever
5: veth1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue master cni0 state UP group default qlen 1000
    link/ether 02:00:00:00:01:0${n} brd ff:ff:ff:ff:ff:ff link-netnsid 1
`,
    'host/ip/link.txt': `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0 addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
    RX:  bytes packets errors dropped  missed   mcast           
             0       0      0       0       0       0 
    TX:  bytes packets errors dropped carrier collsns           
             0       0      0       0       0       0 
2: eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:00:0${n} brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    veth addrgenmode eui64 numtxqueues 2 numrxqueues 2 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
    RX:  bytes packets errors dropped  missed   mcast           
           816       8      0       0       0       0 
    TX:  bytes packets errors dropped carrier collsns           
           816       8      0       0       0       0 
3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/ether ${mac(n)} brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    vxlan id ${o.vni ?? 1} local ${underlay} dev eth0 srcport 0 0 dstport ${o.port ?? 8472} nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
    RX:  bytes packets errors dropped  missed   mcast           
             0       0      0       0       0       0 
    TX:  bytes packets errors dropped carrier collsns           
             0       0      0       0       0       0 
4: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 0a:58:0a:f4:0${n}:01 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0 priority 32768 vlan_filtering 0 vlan_protocol 802.1Q bridge_id 8000.a:58:a:f4:${n}:1 designated_root 8000.a:58:a:f4:${n}:1 root_port 0 root_path_cost 0 topology_change 0 topology_change_detected 0 nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0 addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 
    RX:  bytes packets errors dropped  missed   mcast           
             0       0      0       0       0       0 
    TX:  bytes packets errors dropped carrier collsns           
             0       0      0       0       0       0 
5: veth1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue master cni0 state UP mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:01:0${n} brd ff:ff:ff:ff:ff:ff link-netnsid 1 promiscuity 1  allmulti 1 minmtu 68 maxmtu 65535 
    veth 
    bridge_slave state forwarding priority 32 cost 2 hairpin off guard off root_block off fastleave off learning on flood on port_id 0x8001 port_no 0x1 addrgenmode eui64 numtxqueues 2 numrxqueues 2 gso_max_size 65536 
    RX:  bytes packets errors dropped  missed   mcast           
             0       0      0       0       0       0 
    TX:  bytes packets errors dropped carrier collsns           
             0       0      0       0       0       0 
`,
    'host/ip/route4.txt': `${[
      'unicast default via 192.168.50.100 dev eth0 proto boot scope global ',
      `unicast 10.244.${s}.0/24 dev cni0 proto kernel scope link src 10.244.${s}.1 `,
      ...o.peers.map((p) => `unicast 10.244.${p}.0/24 via 10.244.${p}.0 dev flannel.1 proto boot scope global onlink `),
      `unicast 192.168.50.0/24 dev eth0 proto kernel scope link src ${underlay} `,
      `local 10.244.${s}.0 dev flannel.1 table local proto kernel scope host src 10.244.${s}.0 `,
      `local 10.244.${s}.1 dev cni0 table local proto kernel scope host src 10.244.${s}.1 `,
      'local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 ',
      `local ${underlay} dev eth0 table local proto kernel scope host src ${underlay} `,
      `broadcast 192.168.50.255 dev eth0 table local proto kernel scope link src ${underlay} `,
    ].join('\n')}\n`,
    'host/ip/rule4.txt': '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n',
    'host/ip/neigh.txt': `${[
      '192.168.50.100 dev eth0 lladdr 02:00:00:00:00:64 used 3/3/0 probes 1 REACHABLE ',
      ...o.peers.map((p) => neigh(p, `10.244.${p}.0 dev flannel.1 lladdr ${mac(p)} used 12/12/12 probes 0 PERMANENT `)),
    ]
      .filter((l) => l !== '')
      .join('\n')}\n`,
    'host/bridge/fdb.txt': `${[
      '33:33:00:00:00:01 dev eth0 self permanent',
      ...o.peers.map((p) => fdb(p, `${mac(p)} dev flannel.1 dst 192.168.50.${10 + p} used 9/9 self permanent`)),
      `0a:58:0a:f4:0${n}:01 dev cni0 vlan 1 master cni0 permanent`,
    ]
      .filter((l) => l !== '')
      .join('\n')}\n`,
    'host/bridge/brctl-show.txt': `bridge name\tbridge id\t\tSTP enabled\tinterfaces\ncni0\t\t8000.0a580af40${n}01\tno\t\tveth1\n`,
    'files/run/flannel/subnet.env': `FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.${s}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`,
    'host/sys/sysctl.txt': [
      `net/ipv4/ip_forward:${o.forward ?? '1'}`,
      `net/ipv4/conf/all/forwarding:${o.forward ?? '1'}`,
      `net/ipv4/conf/default/forwarding:${o.forward ?? '1'}`,
      `net/ipv4/conf/lo/forwarding:${o.forward ?? '1'}`,
      `net/ipv4/conf/eth0/forwarding:${o.forward ?? '1'}`,
      `net/ipv4/conf/flannel.1/forwarding:${o.flannelForwarding ?? o.forward ?? '1'}`,
      `net/ipv4/conf/cni0/forwarding:${o.cniForwarding ?? o.forward ?? '1'}`,
      'net/ipv4/conf/all/rp_filter:0',
      'net/ipv4/conf/eth0/rp_filter:0',
      'net/ipv4/conf/flannel.1/rp_filter:0',
      'net/ipv4/conf/cni0/rp_filter:0',
      'net/bridge/bridge-nf-call-iptables:1',
      '',
    ].join('\n'),
    'host/fw/iptables-save.txt': firewall(s),
    'host/fw/ip_tables_names.txt': '',
    ...o.files,
  };
  return { files, ...(o.info === undefined ? {} : { info: o.info }) };
}

/** FORWARD DROP as docker leaves it, flannel >= 0.21.3 accepts and masquerades: healthy. `edit` changes lines. */
export function firewall(s: number, edit: (text: string) => string = (t) => t): string {
  return edit(`# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
[0:0] -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
[0:0] -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
[0:0] -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
# Completed on Tue Nov 24 10:00:00 2026
# Generated by iptables-save v1.8.9 (nf_tables) on Tue Nov 24 10:00:00 2026
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
[0:0] -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
[0:0] -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
[0:0] -A FLANNEL-POSTRTG -s 10.244.${s}.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
[0:0] -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.${s}.0/24 -m comment --comment "flanneld masq" -j RETURN
[0:0] -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.${s}.0/24 -m comment --comment "flanneld masq" -j RETURN
[0:0] -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
[0:0] -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
# Completed on Tue Nov 24 10:00:00 2026
`);
}
