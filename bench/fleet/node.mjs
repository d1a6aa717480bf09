// The model of one node: its devices, pods and routes. Every text of its bundle is written from this.

import { clusterOf } from './cluster.mjs';
import { mac, random, sha256, uuid } from './random.mjs';

const START = 1795342939;
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The node `index` of a cluster; faults is a set of names. */
export function nodeOf(options, number, index, faults) {
  const cluster = clusterOf(options, number);
  const r = random(cluster.seed, index, 'node');
  const name = cluster.name(index);
  const t0 = START + index * 2;
  const node = {
    options,
    cluster,
    index,
    faults,
    name,
    t0,
    date: dateText(t0),
    stamp: new Date(t0 * 1000).toISOString().replace(/[-:]|\.\d+/g, ''),
    version: cluster.version(index),
    address: cluster.underlay(index),
    id: sha256(`${cluster.seed} ${index} bundle`).slice(0, 32),
    machineId: sha256(`${cluster.seed} ${index} machine`),
    bootId: uuid(cluster.seed, index, 'boot'),
    uptime: 400_000 + r.below(20_000_000),
    cpus: r.pick([4, 8, 16]),
    cgroupDriver: faults.has('cgroup-driver') ? 'cgroupfs' : 'systemd',
  };
  node.file = `netcase_${name}_${node.stamp}_${node.id.slice(0, 6)}`;
  node.pods = pods(node);
  node.hostPorts = node.pods.length > 0 && r.next() < 0.3 ? [{ pod: node.pods[0], port: 8088, target: 8080 }] : [];
  node.devices = devices(node);
  node.routes = routes(node);
  node.peers = Array.from({ length: cluster.nodes }, (_, i) => i).filter((i) => i !== index);
  return node;
}

function dateText(epoch) {
  const d = new Date(epoch * 1000);
  const two = (n) => String(n).padStart(2, '0');
  const day = String(d.getUTCDate()).padStart(2, ' ');
  return `${DAYS[d.getUTCDay()]} ${MONTHS[d.getUTCMonth()]} ${day} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())} ${d.getUTCFullYear()}`;
}

const hex = (n) => n.toString(16).padStart(2, '0');

function pods({ cluster, index }) {
  return cluster.podsOf[index].map((p, i) => {
    const id = sha256(`${cluster.seed} ${p.ip} pod`);
    return {
      ip: p.ip,
      id,
      name: `${p.service.name}-${id.slice(0, 9)}-${id.slice(9, 14)}`,
      namespace: p.service.ns,
      ports: p.service.ports,
      uid: uuid(cluster.seed, p.ip, 'uid'),
      mac: `0a:58:${p.ip
        .split('.')
        .map((n) => hex(Number(n)))
        .join(':')}`,
      veth: `veth${id.slice(20, 28)}`,
      vethMac: mac(cluster.seed, p.ip, 'veth'),
      netns: `cni-${uuid(cluster.seed, p.ip, 'netns')}`,
      inode: 4026532800 + i * 66,
      pid: 4200 + i * 37,
      nsid: i + 1,
      ifindex: 6 + i,
      port: i + 1,
    };
  });
}

function devices(node) {
  const { cluster, index, faults } = node;
  const gateway = cluster.subnet(index);
  const mtu = faults.has('flannel-mtu') ? 1500 : 1450;
  const underlay = cluster.underlayPrefix.split('.');
  // not the gateway's address: a node that seems to be the gateway would answer for other nodes' faults
  const dockerNet = faults.has('subnet-overlap') ? `${underlay[0]}.${underlay[1]}.128` : '172.17.0';
  const up = ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'];
  const down = ['NO-CARRIER', 'BROADCAST', 'MULTICAST', 'UP'];
  const vtep = cluster.vtep(index);
  const bridgeMac = mac(cluster.seed, index, 'cni0');
  const own = [
    {
      index: 1,
      name: 'lo',
      flags: ['LOOPBACK', 'UP', 'LOWER_UP'],
      mtu: 65536,
      qdisc: 'noqueue',
      state: 'UNKNOWN',
      link: 'loopback',
      mac: '00:00:00:00:00:00',
      addresses: [
        ['127.0.0.1', 8, 'host', null],
        ['::1', 128, 'host', null],
      ],
    },
    {
      index: 2,
      name: 'eth0',
      flags: up,
      mtu: 1500,
      qdisc: 'fq_codel',
      state: 'UP',
      mac: mac(cluster.seed, index, 'eth0'),
      addresses: [[node.address, 16, 'global', broadcast(node.address, 16)]],
    },
    {
      index: 3,
      name: 'docker0',
      kind: 'bridge',
      flags: down,
      mtu: 1500,
      qdisc: 'noqueue',
      state: 'DOWN',
      mac: mac(cluster.seed, index, 'docker0'),
      addresses: [[`${dockerNet}.1`, 16, 'global', broadcast(`${dockerNet}.1`, 16)]],
    },
    {
      index: 4,
      name: 'flannel.1',
      kind: 'vxlan',
      flags: up,
      mtu,
      qdisc: 'noqueue',
      state: 'UNKNOWN',
      mac: vtep,
      port: faults.has('vxlan-port') ? 4789 : 8472,
      addresses: [[`${gateway}.0`, 32, 'global', null]],
    },
    {
      index: 5,
      name: 'cni0',
      kind: 'bridge',
      flags: up,
      mtu,
      qdisc: 'noqueue',
      state: 'UP',
      mac: bridgeMac,
      addresses: [[`${gateway}.1`, 24, 'global', `${gateway}.255`]],
    },
  ];
  const veths = node.pods.map((p) => ({
    index: p.ifindex,
    name: p.veth,
    kind: 'veth',
    flags: up,
    mtu,
    qdisc: 'noqueue',
    state: 'UP',
    mac: p.vethMac,
    pod: p,
    master: own[4],
    addresses: [],
  }));
  const all = [...own, ...veths];
  for (const d of all)
    if (d.mac !== '00:00:00:00:00:00' && d.state !== 'DOWN') d.addresses.push([linkLocal(d.mac), 64, 'link', null]);
  for (const d of all) d.stats = statistics(random(cluster.seed, index, d.name, 'stats'), d.state === 'DOWN');
  return all;
}

function statistics(r, down) {
  if (down) return { rx: [0, 0], tx: [0, 0] };
  const packets = Math.floor(10 ** (3 + r.next() * 5));
  const other = Math.floor(packets * (0.6 + r.next()));
  return { rx: [packets * r.between(80, 1100), packets], tx: [other * r.between(80, 1100), other] };
}

export function broadcast(address, length) {
  const value = toNumber(address);
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  return toText(((value & mask) | ~mask) >>> 0);
}

export const toNumber = (address) => address.split('.').reduce((n, part) => n * 256 + Number(part), 0);
export const toText = (n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join('.');

/** The link-local address that the kernel makes of a MAC (eui64). */
function linkLocal(address) {
  const b = address.split(':').map((x) => Number.parseInt(x, 16));
  const words = [((b[0] ^ 2) << 8) | b[1], (b[2] << 8) | 0xff, 0xfe00 | b[3], (b[4] << 8) | b[5]];
  return `fe80::${words.map((w) => w.toString(16)).join(':')}`;
}

function network(address, length) {
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  return `${toText((toNumber(address) & mask) >>> 0)}/${length}`;
}

/** IPv4 routes in the kernel's order: main, then local. */
function routes(node) {
  const { cluster, index, address } = node;
  const list = [];
  const main = (dst, rest) => list.push({ type: 'unicast', dst, table: 'main', ...rest });
  const docker = node.devices[2].addresses[0][0];
  main('default', { via: cluster.gateway, dev: 'eth0', proto: 'dhcp', scope: 'global', src: address, metric: 100 });
  const connected = [
    [
      network(docker, 16),
      () => main(network(docker, 16), { dev: 'docker0', proto: 'kernel', scope: 'link', src: docker, linkdown: true }),
    ],
    [
      network(address, 16),
      () => main(network(address, 16), { dev: 'eth0', proto: 'kernel', scope: 'link', src: address, metric: 100 }),
    ],
  ];
  const pods = Array.from({ length: cluster.nodes }, (_, i) => i).map((i) => [
    `${cluster.subnet(i)}.0/24`,
    () => {
      const subnet = cluster.subnet(i);
      if (i === index) main(`${subnet}.0/24`, { dev: 'cni0', proto: 'kernel', scope: 'link', src: `${subnet}.1` });
      else
        main(`${subnet}.0/24`, { via: `${subnet}.0`, dev: 'flannel.1', proto: 'boot', scope: 'global', onlink: true });
    },
  ]);
  const order = [...connected, ...pods].sort((a, b) => toNumber(a[0].split('/')[0]) - toNumber(b[0].split('/')[0]));
  for (const [, add] of order) add();
  const local = [];
  for (const d of node.devices) {
    for (const [ip, , , brd] of d.addresses) {
      if (ip.includes(':')) continue;
      local.push({ type: 'local', dst: ip, dev: d.name, table: 'local', proto: 'kernel', scope: 'host', src: ip });
      if (ip === '127.0.0.1')
        local.push({
          type: 'local',
          dst: '127.0.0.0/8',
          dev: 'lo',
          table: 'local',
          proto: 'kernel',
          scope: 'host',
          src: ip,
        });
      const last = ip === '127.0.0.1' ? '127.255.255.255' : brd;
      if (last !== null)
        local.push({
          type: 'broadcast',
          dst: last,
          dev: d.name,
          table: 'local',
          proto: 'kernel',
          scope: 'link',
          src: ip,
          linkdown: d.state === 'DOWN',
        });
    }
  }
  local.sort((a, b) => toNumber(a.dst.split('/')[0]) - toNumber(b.dst.split('/')[0]));
  return [...list, ...local];
}
