// ip addr and ip link in text and JSON, as iproute2 6.1 prints them.
import { PORT } from './bridge-texts.mjs';

const SIZES = 'gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 ';
const SIZES_JSON = {
  gso_max_size: 65536,
  gso_max_segs: 65535,
  tso_max_size: 524280,
  tso_max_segs: 65535,
  gro_max_size: 65536,
};

const shown = (d) => (d.pod === undefined ? d.name : `${d.name}@if2`);
const peer = (d) => (d.pod === undefined ? '' : ` link-netns ${d.pod.netns}`);
const queues = (d) => (d.kind === 'veth' ? 2 : d.name === 'eth0' ? 4 : 1);

export function addrText(node) {
  return (
    node.devices
      .map((d) => {
        const master = d.master === undefined ? '' : ` master ${d.master.name}`;
        const head = `${d.index}: ${shown(d)}: <${d.flags}> mtu ${d.mtu} qdisc ${d.qdisc}${master} state ${d.state} group default qlen 1000`;
        const brd = d.link === 'loopback' ? '00:00:00:00:00:00' : 'ff:ff:ff:ff:ff:ff';
        const lines = [head, `    link/${d.link ?? 'ether'} ${d.mac} brd ${brd}${peer(d)}`];
        for (const [ip, length, scope, broadcast] of d.addresses) {
          const six = ip.includes(':');
          const tail = six ? '' : `${d.name}`;
          lines.push(
            `    ${six ? 'inet6' : 'inet'} ${ip}/${length}${broadcast === null ? '' : ` brd ${broadcast}`} scope ${scope} ${tail}`,
          );
          lines.push('       valid_lft forever preferred_lft forever');
        }
        return lines.join('\n');
      })
      .join('\n') + '\n'
  );
}

function kindText(d, node) {
  if (d.kind === 'vxlan') {
    return `    vxlan id 1 local ${node.address} dev eth0 srcport 0 0 dstport ${d.port} nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx `;
  }
  if (d.kind === 'bridge') {
    const id = `8000.${d.mac}`;
    return `    bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0 priority 32768 vlan_filtering 0 bridge_id ${id} designated_root ${id} root_port 0 root_path_cost 0 topology_change 0 topology_change_detected 0 hello_timer    0.00 tcn_timer    0.00 topology_change_timer    0.00 gc_timer  112.40 group_fwd_mask 0 group_address 01:80:c2:00:00:00 mcast_snooping 1 no_linklocal_learn 0 mcast_vlan_snooping 0 mcast_router 1 mcast_query_use_ifaddr 0 mcast_querier 0 mcast_hash_elasticity 16 mcast_hash_max 4096 mcast_last_member_count 2 mcast_startup_query_count 2 mcast_last_member_interval 100 mcast_membership_interval 26000 mcast_querier_interval 25500 mcast_query_interval 12500 mcast_query_response_interval 1000 mcast_startup_query_interval 3125 mcast_stats_enabled 0 mcast_igmp_version 2 mcast_mld_version 1 nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0 `;
  }
  if (d.kind === 'veth') {
    const { port } = d.pod;
    const root = `8000.${d.master.mac}`;
    return `    veth \n    bridge_slave state forwarding priority 32 cost 2 hairpin on guard off root_block off fastleave off learning on flood on port_id 0x${(0x8000 + port).toString(16)} port_no 0x${port.toString(16)} designated_port ${32768 + port} designated_cost 0 designated_bridge ${root} designated_root ${root} hold_timer    0.00 message_age_timer    0.00 forward_delay_timer    0.00 topology_change_ack 0 config_pending 0 proxy_arp off proxy_arp_wifi off mcast_router 1 mcast_fast_leave off mcast_flood on bcast_flood on mcast_to_unicast off neigh_suppress off group_fwd_mask 0 group_fwd_mask_str 0x0 vlan_tunnel off isolated off locked off `;
  }
  return null;
}

export function linkText(node) {
  const pad = (n) => String(n).padStart(10);
  return (
    node.devices
      .map((d) => {
        const master = d.master === undefined ? '' : ` master ${d.master.name}`;
        const brd = d.link === 'loopback' ? '00:00:00:00:00:00' : 'ff:ff:ff:ff:ff:ff';
        const port = d.master === undefined ? 'promiscuity 0  allmulti 0' : 'promiscuity 1  allmulti 1';
        const kind = kindText(d, node);
        const rest = `addrgenmode eui64 numtxqueues ${queues(d)} numrxqueues ${queues(d)} ${SIZES}`;
        const limits = d.link === 'loopback' ? 'minmtu 0 maxmtu 0' : 'minmtu 68 maxmtu 65535';
        return [
          `${d.index}: ${shown(d)}: <${d.flags}> mtu ${d.mtu} qdisc ${d.qdisc}${master} state ${d.state} mode DEFAULT group default qlen 1000`,
          `    link/${d.link ?? 'ether'} ${d.mac} brd ${brd}${peer(d)} ${port} ${limits} ${kind === null ? rest : `\n${kind}${rest}`}`,
          '    RX:  bytes packets errors dropped  missed   mcast           ',
          `    ${pad(d.stats.rx[0])} ${pad(d.stats.rx[1])}      0       0       0       0 `,
          '    TX:  bytes packets errors dropped carrier collsns           ',
          `    ${pad(d.stats.tx[0])} ${pad(d.stats.tx[1])}      0       0       0       0 `,
        ].join('\n');
      })
      .join('\n') + '\n'
  );
}

function linkInfo(d, node) {
  if (d.kind === 'vxlan') {
    return {
      info_kind: 'vxlan',
      info_data: {
        id: 1,
        local: node.address,
        link: 'eth0',
        port_range: { low: 0, high: 0 },
        port: d.port,
        learning: false,
        ttl: 0,
        df: 'unset',
        ageing: 300,
        udp_csum: true,
        udp_zero_csum6_tx: false,
        udp_zero_csum6_rx: false,
      },
    };
  }
  if (d.kind === 'bridge') {
    const id = `8000.${d.mac}`;
    return {
      info_kind: 'bridge',
      info_data: {
        forward_delay: 1500,
        hello_time: 200,
        max_age: 2000,
        ageing_time: 30000,
        stp_state: 0,
        priority: 32768,
        vlan_filtering: 0,
        bridge_id: id,
        root_id: id,
        root_port: 0,
        root_path_cost: 0,
        topology_change: 0,
        topology_change_detected: 0,
        group_fwd_mask: '0',
        group_addr: '01:80:c2:00:00:00',
        mcast_snooping: 1,
        mcast_router: 1,
        nf_call_iptables: 0,
        nf_call_ip6tables: 0,
        nf_call_arptables: 0,
      },
    };
  }
  if (d.kind === 'veth') {
    const { port } = d.pod;
    const root = `8000.${d.master.mac}`;
    return {
      info_kind: 'veth',
      info_slave_kind: 'bridge',
      info_slave_data: {
        ...PORT,
        id: `0x${(0x8000 + port).toString(16)}`,
        no: `0x${port.toString(16)}`,
        designated_port: 32768 + port,
        designated_cost: 0,
        bridge_id: root,
        root_id: root,
        hold_timer: 0,
        message_age_timer: 0,
        forward_delay_timer: 0,
        topology_change_ack: 0,
        config_pending: 0,
        proxy_arp: false,
        proxy_arp_wifi: false,
        multicast_router: 1,
        mcast_flood: true,
        bcast_flood: true,
        mcast_to_unicast: false,
        neigh_suppress: false,
        group_fwd_mask: '0',
        group_fwd_mask_str: '0x0',
        vlan_tunnel: false,
        isolated: false,
        locked: false,
      },
    };
  }
  return undefined;
}

/** One device of ip -d -s -j; with addresses for addr.json. */
function deviceJson(d, node, withAddresses) {
  const forever = { valid_life_time: 4294967295, preferred_life_time: 4294967295 };
  const stats = ([bytes, packets], last) => ({ bytes, packets, errors: 0, dropped: 0, ...last });
  return {
    ifindex: d.index,
    ...(d.pod === undefined ? {} : { link_index: 2 }),
    ifname: d.name,
    flags: d.flags,
    mtu: d.mtu,
    qdisc: d.qdisc,
    ...(d.master === undefined ? {} : { master: d.master.name }),
    operstate: d.state,
    ...(withAddresses ? {} : { linkmode: 'DEFAULT' }),
    group: 'default',
    txqlen: 1000,
    link_type: d.link ?? 'ether',
    address: d.mac,
    broadcast: d.link === 'loopback' ? '00:00:00:00:00:00' : 'ff:ff:ff:ff:ff:ff',
    ...(d.pod === undefined ? {} : { link_netnsid: d.pod.nsid }),
    promiscuity: d.master === undefined ? 0 : 1,
    allmulti: d.master === undefined ? 0 : 1,
    min_mtu: d.link === 'loopback' ? 0 : 68,
    max_mtu: d.link === 'loopback' ? 0 : 65535,
    ...(d.kind === undefined ? {} : { linkinfo: linkInfo(d, node) }),
    ...(withAddresses ? {} : { inet6_addr_gen_mode: 'eui64' }),
    num_tx_queues: queues(d),
    num_rx_queues: queues(d),
    ...SIZES_JSON,
    ...(withAddresses
      ? {
          addr_info: d.addresses.map(([ip, length, scope, broadcast]) => ({
            family: ip.includes(':') ? 'inet6' : 'inet',
            local: ip,
            prefixlen: length,
            ...(broadcast === null ? {} : { broadcast }),
            scope,
            ...(ip.includes(':') ? {} : { label: d.name }),
            ...forever,
          })),
        }
      : {}),
    stats64: {
      rx: stats(d.stats.rx, { over_errors: 0, multicast: 0 }),
      tx: stats(d.stats.tx, { carrier_errors: 0, collisions: 0 }),
    },
  };
}

export const addrJson = (node) => JSON.stringify(node.devices.map((d) => deviceJson(d, node, true))) + '\n';
export const linkJson = (node) => JSON.stringify(node.devices.map((d) => deviceJson(d, node, false))) + '\n';
