// Evidence of the pods' network namespaces, as nsenter and /proc/PID/net give it.
import { fibTrie, neighJson, procArp, procRoute, RULE4_JSON, routeJson, routeText } from './route-texts.mjs';

const SIZES = {
  gso_max_size: 65536,
  gso_max_segs: 65535,
  tso_max_size: 524280,
  tso_max_segs: 65535,
  gro_max_size: 65536,
};
const COUNTED = {
  rx: { bytes: 0, packets: 0, errors: 0, dropped: 0, over_errors: 0, multicast: 0 },
  tx: { bytes: 0, packets: 0, errors: 0, dropped: 0, carrier_errors: 0, collisions: 0 },
};

/** Files of one pod's namespace below netns/<inode>/. */
function podTexts(node, pod) {
  const { cluster, index } = node;
  const subnet = cluster.subnet(index);
  const { mtu } = node.devices[4];
  const six = `fe80::858:${pod.mac.slice(6, 8).replace(/^0/, '')}ff:fe${pod.mac.slice(9, 11)}:${pod.mac.slice(12).replace(':', '')}`;
  const forever = { valid_life_time: 4294967295, preferred_life_time: 4294967295 };
  const lo = (more) => ({
    ifindex: 1,
    ifname: 'lo',
    flags: ['LOOPBACK', 'UP', 'LOWER_UP'],
    mtu: 65536,
    qdisc: 'noqueue',
    operstate: 'UNKNOWN',
    group: 'default',
    txqlen: 1000,
    link_type: 'loopback',
    address: '00:00:00:00:00:00',
    broadcast: '00:00:00:00:00:00',
    promiscuity: 0,
    allmulti: 0,
    min_mtu: 0,
    max_mtu: 0,
    num_tx_queues: 1,
    num_rx_queues: 1,
    ...SIZES,
    ...more,
    stats64: COUNTED,
  });
  const eth0 = (more) => ({
    ifindex: 2,
    link_index: pod.ifindex,
    ifname: 'eth0',
    flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
    mtu,
    qdisc: 'noqueue',
    operstate: 'UP',
    group: 'default',
    txqlen: 1000,
    link_type: 'ether',
    address: pod.mac,
    broadcast: 'ff:ff:ff:ff:ff:ff',
    link_netnsid: 0,
    promiscuity: 0,
    allmulti: 0,
    min_mtu: 68,
    max_mtu: 65535,
    linkinfo: { info_kind: 'veth' },
    num_tx_queues: 2,
    num_rx_queues: 2,
    ...SIZES,
    ...more,
    stats64: COUNTED,
  });
  const addresses = (list) => ({
    addr_info: list.map(([family, local, prefixlen, scope, more]) => ({
      family,
      local,
      prefixlen,
      ...more,
      scope,
      ...forever,
    })),
  });
  const via = { via: `${subnet}.1`, dev: 'eth0', table: 'main', proto: 'boot', scope: 'global' };
  const local = { dev: 'eth0', table: 'local', proto: 'kernel', src: pod.ip };
  const loopback = { dev: 'lo', table: 'local', proto: 'kernel', src: '127.0.0.1' };
  const routes = [
    { type: 'unicast', dst: 'default', ...via },
    { type: 'unicast', dst: cluster.network, ...via },
    { type: 'unicast', dst: `${subnet}.0/24`, dev: 'eth0', table: 'main', proto: 'kernel', scope: 'link', src: pod.ip },
    { type: 'local', dst: pod.ip, ...local, scope: 'host' },
    { type: 'broadcast', dst: `${subnet}.255`, ...local, scope: 'link' },
    { type: 'local', dst: '127.0.0.0/8', ...loopback, scope: 'host' },
    { type: 'local', dst: '127.0.0.1', ...loopback, scope: 'host' },
    { type: 'broadcast', dst: '127.255.255.255', ...loopback, scope: 'link' },
  ];
  const neigh = [{ dst: `${subnet}.1`, dev: 'eth0', mac: node.devices[4].mac, used: 4, state: 'REACHABLE' }];
  const listen = pod.ports.map(
    (p, i) =>
      `${p.proto === 'udp' ? 'udp UNCONN 0      0     ' : 'tcp LISTEN 0      4096  '} 0.0.0.0:${p.target} 0.0.0.0:* ino:${700_000 + pod.pid + i} sk:${(pod.pid + i).toString(16)} cgroup:/kubepods <->\n`,
  );
  const conf = (key, value) =>
    ['all', 'default', 'eth0', 'lo'].map((d) => `net/ipv4/conf/${d}/${key}:${value}\n`).join('');
  return {
    'addr.json': `${JSON.stringify([
      lo(
        addresses([
          ['inet', '127.0.0.1', 8, 'host', {}],
          ['inet6', '::1', 128, 'host', {}],
        ]),
      ),
      eth0(
        addresses([
          ['inet', pod.ip, 24, 'global', { broadcast: `${subnet}.255` }],
          ['inet6', six, 64, 'link', {}],
        ]),
      ),
    ])}\n`,
    'link.json': `${JSON.stringify([lo({}), eth0({})])}\n`,
    'route4.json': routeJson(routes),
    'route4.txt': routeText(routes),
    'route6.json':
      '[{"type":"unicast","dst":"fe80::/64","dev":"eth0","table":"main","protocol":"kernel","scope":"global","metric":256,"flags":[],"pref":"medium"}]\n',
    'rule4.json': RULE4_JSON,
    'neigh.json': neighJson(neigh),
    'ss-listen.txt': listen.join(''),
    'sysctl.txt': `net/ipv4/ip_forward:0\nnet/ipv4/ip_local_port_range:32768\t60999\n${conf('rp_filter', 0)}${conf('forwarding', 0)}${conf('arp_ignore', 0)}${conf('accept_local', 0)}`,
    'iptables-nft-save.txt': '',
    'iptables-legacy-save.txt': '',
    'resolv.conf': `search ${pod.namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n`,
    'net/route': procRoute(routes),
    'net/fib_trie': fibTrie(routes),
    'net/arp': procArp(neigh),
    'net/ip_tables_names': '',
  };
}

export function namespaceTexts(node) {
  const files = {};
  const index = ['4026531840 1 systemd - -\n'];
  for (const pod of node.pods) {
    for (const [name, text] of Object.entries(podTexts(node, pod))) files[`netns/${pod.inode}/${name}`] = text;
    index.push(`${pod.inode} ${pod.pid} pause ${pod.id.slice(0, 12)} /run/netns/${pod.netns}\n`);
  }
  files['netns/index.txt'] = index.join('');
  return files;
}
