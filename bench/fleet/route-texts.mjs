// Routes, rules, neighbours and forwarding entries in the forms of iproute2 6.1 and /proc/net.
import { toNumber } from './node.mjs';
import { random } from './random.mjs';

export function routeText(routes) {
  return routes
    .map((r) => {
      const via = r.via === undefined ? '' : `via ${r.via} `;
      const src = r.src === undefined ? '' : `src ${r.src} `;
      const metric = r.metric === undefined ? '' : `metric ${r.metric} `;
      return `${r.type} ${r.dst} ${via}dev ${r.dev} table ${r.table} proto ${r.proto} scope ${r.scope} ${src}${metric}${r.onlink ? 'onlink ' : ''}${r.linkdown ? 'linkdown ' : ''}\n`;
    })
    .join('');
}

export function routeJson(routes) {
  return (
    JSON.stringify(
      routes.map((r) => ({
        type: r.type,
        dst: r.dst,
        ...(r.via === undefined ? {} : { gateway: r.via }),
        dev: r.dev,
        table: r.table,
        protocol: r.proto,
        scope: r.scope,
        ...(r.src === undefined ? {} : { prefsrc: r.src }),
        ...(r.metric === undefined ? {} : { metric: r.metric }),
        flags: [...(r.onlink ? ['onlink'] : []), ...(r.linkdown ? ['linkdown'] : [])],
      })),
    ) + '\n'
  );
}

const little = (address) => {
  const n = toNumber(address);
  return [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24]
    .map((b) => b.toString(16).toUpperCase().padStart(2, '0'))
    .join('');
};

/** /proc/net/route: the main table only, each line filled up to 127 characters. */
export function procRoute(routes) {
  const lines = ['Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT'.padEnd(127)];
  for (const r of routes) {
    if (r.table !== 'main') continue;
    const [dst, length] = r.dst === 'default' ? ['0.0.0.0', '0'] : r.dst.split('/');
    const mask =
      Number(length) === 0
        ? '00000000'
        : little(
            [0, 0, 0, 0]
              .map((_, i) => (256 - 2 ** Math.max(0, Math.min(8, 8 * (i + 1) - Number(length)))) & 255)
              .join('.'),
          );
    const flags = r.via === undefined ? '0001' : '0003';
    lines.push(
      `${r.dev}\t${little(dst)}\t${r.via === undefined ? '00000000' : little(r.via)}\t${flags}\t0\t0\t${r.metric ?? 0}\t${mask}\t0\t0\t0`.padEnd(
        127,
      ),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** /proc/net/fib_trie without its inner nodes: every address once, with its routes. */
export function fibTrie(routes) {
  const leaves = new Map();
  for (const r of routes) {
    const [dst, length] = r.dst === 'default' ? ['0.0.0.0', '0'] : [...r.dst.split('/'), '32'];
    const line = `           /${length} ${r.scope === 'global' ? 'universe' : r.scope} ${r.type.toUpperCase()}`;
    if (!leaves.has(dst)) leaves.set(dst, []);
    leaves.get(dst).push(line);
  }
  const sorted = [...leaves].sort((a, b) => toNumber(a[0]) - toNumber(b[0]));
  const trie = sorted.map(([dst, lines]) => `     |-- ${dst}\n${lines.join('\n')}\n`).join('');
  return `Main:\n  +-- 0.0.0.0/0 3 0 5\n${trie}Local:\n  +-- 0.0.0.0/0 3 0 5\n${trie}`;
}

export const RULE4 = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n';
export const RULE4_JSON =
  '[{"priority":0,"src":"all","table":"local"},{"priority":32766,"src":"all","table":"main"},{"priority":32767,"src":"all","table":"default"}]\n';
export const RULE6 = '0:\tfrom all lookup local\n32766:\tfrom all lookup main\n';
export const RULE6_JSON =
  '[{"priority":0,"src":"all","table":"local"},{"priority":32766,"src":"all","table":"main"}]\n';

export function routes6(devices) {
  const six = devices.filter((d) => d.name !== 'lo' && d.state !== 'DOWN');
  const lines = [
    ...six.map((d) => ['unicast', 'fe80::/64', d.name, 'main', 256]),
    ['local', '::1', 'lo', 'local', 0],
    ...six.map((d) => ['multicast', 'ff00::/8', d.name, 'local', 256]),
  ];
  const text = lines
    .map(
      ([type, dst, dev, table, metric]) =>
        `${type} ${dst} dev ${dev} table ${table} proto kernel scope global metric ${metric} pref medium\n`,
    )
    .join('');
  const json =
    JSON.stringify(
      lines.map(([type, dst, dev, table, metric]) => ({
        type,
        dst,
        dev,
        table,
        protocol: 'kernel',
        scope: 'global',
        metric,
        flags: [],
        pref: 'medium',
      })),
    ) + '\n';
  return { text, json };
}

/** Neighbours: the VTEPs of all peers, the pods of this node, the gateway. */
export function neighbours(node) {
  const { cluster, peers, pods } = node;
  const r = random(cluster.seed, node.index, 'neigh');
  const age = Math.min(node.uptime, 90_000 + r.below(4_000_000));
  const list = peers.map((i) => ({
    dst: `${cluster.subnet(i)}.0`,
    dev: 'flannel.1',
    mac: cluster.vtep(i),
    used: age + r.below(3),
    state: 'PERMANENT',
  }));
  for (const p of pods)
    list.push({ dst: p.ip, dev: 'cni0', mac: p.mac, used: r.below(60), state: r.pick(['REACHABLE', 'STALE']) });
  list.push({ dst: cluster.gateway, dev: 'eth0', mac: '02:00:0a:00:00:01', used: r.below(20), state: 'REACHABLE' });
  return list;
}

export const neighText = (list) =>
  list
    .map((n) => `${n.dst} dev ${n.dev} lladdr ${n.mac}  used ${n.used}/${n.used}/${n.used}probes 0 ${n.state} \n`)
    .join('');

export const neighJson = (list) =>
  JSON.stringify(
    list.map((n) => ({
      dst: n.dst,
      dev: n.dev,
      lladdr: n.mac,
      used: n.used,
      confirmed: n.used,
      updated: n.used,
      probes: 0,
      state: [n.state],
    })),
  ) + '\n';

export function procArp(list) {
  const head = 'IP address       HW type     Flags       HW address            Mask     Device\n';
  return (
    head +
    list
      .map(
        (n) =>
          `${n.dst.padEnd(16)} 0x1         ${n.state === 'PERMANENT' ? '0x6' : '0x2'}         ${n.mac}     *        ${n.dev}\n`,
      )
      .join('')
  );
}

/** Forwarding entries of flannel.1 and of the pods' ports. */
export function fdb(node) {
  const { cluster, peers, pods, devices } = node;
  const r = random(cluster.seed, node.index, 'fdb');
  const age = Math.min(node.uptime, 90_000 + r.below(4_000_000));
  const list = [
    { mac: '33:33:00:00:00:01', dev: 'eth0', self: true },
    { mac: '01:00:5e:00:00:01', dev: 'eth0', self: true },
  ];
  for (const i of peers)
    list.push({ mac: cluster.vtep(i), dev: 'flannel.1', dst: cluster.underlay(i), used: age + r.below(3), self: true });
  list.push(
    { mac: '33:33:00:00:00:01', dev: 'cni0', self: true },
    { mac: '01:00:5e:00:00:01', dev: 'cni0', self: true },
  );
  for (const p of pods) {
    list.push({ mac: p.mac, dev: p.veth, used: r.below(200), master: 'cni0' });
    list.push({ mac: devices.find((d) => d.pod === p).mac, dev: p.veth, used: age, master: 'cni0', permanent: true });
  }
  return list;
}

export const fdbText = (list) =>
  list
    .map((f) => {
      const used = f.used === undefined ? '' : `used ${f.used}/${f.used} `;
      return `${f.mac} dev ${f.dev} ${f.dst === undefined ? '' : `dst ${f.dst} `}${used}${f.self ? 'self permanent' : `master ${f.master} ${f.permanent ? 'permanent' : ''}`}\n`;
    })
    .join('');

export const fdbJson = (list) =>
  JSON.stringify(
    list.map((f) => ({
      mac: f.mac,
      ifname: f.dev,
      ...(f.dst === undefined ? {} : { dst: f.dst }),
      ...(f.used === undefined ? {} : { used: f.used, updated: f.used }),
      flags: f.self ? ['self'] : [],
      ...(f.master === undefined ? {} : { master: f.master }),
      state: f.self || f.permanent ? 'permanent' : '',
    })),
  ) + '\n';

export function procDev(devices) {
  const head =
    'Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n';
  return (
    head +
    devices
      .map(
        (d) =>
          `${d.name.padStart(6)}: ${String(d.stats.rx[0]).padStart(7)} ${String(d.stats.rx[1]).padStart(7)}    0    0    0     0          0         0 ${String(d.stats.tx[0]).padStart(8)} ${String(d.stats.tx[1]).padStart(7)}    0    0    0     0       0          0\n`,
      )
      .join('')
  );
}
