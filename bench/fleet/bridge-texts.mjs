// brctl, bridge link and /sys of bridges and their ports, as bridge-utils 1.7 and iproute2 6.1 print them.
/** What `bridge -j link` and `ip -d -j link` say of a port, first. */
export const PORT = {
  state: 'forwarding',
  priority: 32,
  cost: 2,
  hairpin: true,
  guard: false,
  root_block: false,
  fastleave: false,
  learning: true,
  flood: true,
};

const colon = (id) => id.replace(/:/g, '');

export function brctlShow(node) {
  const lines = ['bridge name\tbridge id\t\tSTP enabled\tinterfaces'];
  for (const b of node.devices.filter((d) => d.kind === 'bridge')) {
    const ports = node.devices.filter((d) => d.master === b);
    lines.push(`${b.name}\t\t8000.${colon(b.mac)}\tno\t\t${ports[0]?.name ?? ''}`);
    for (const p of ports.slice(1)) lines.push(`\t\t\t\t\t\t\t${p.name}`);
  }
  return `${lines.join('\n')}\n`;
}

export function brctlShowmacs(node, bridge) {
  const rows = [];
  for (const d of node.devices.filter((x) => x.master === bridge)) {
    rows.push([d.pod.port, d.pod.mac, 'no', '  12.31'], [d.pod.port, d.mac, 'yes', '   0.00']);
  }
  return (
    [
      'port no\tmac addr\t\tis local?\tageing timer',
      ...rows.map(([n, m, l, t]) => `${String(n).padStart(3)}\t${m}\t${l}\t\t${t}`),
    ].join('\n') + '\n'
  );
}

export function bridgeLinkText(node) {
  return node.devices
    .filter((d) => d.master !== undefined)
    .map(
      (d) =>
        `${d.index}: ${d.name}@eth0: <${d.flags}> mtu ${d.mtu} master ${d.master.name} state forwarding priority 32 cost 2 \n    hairpin on guard off root_block off fastleave off learning on flood on mcast_flood on bcast_flood on mcast_router 1 mcast_to_unicast off neigh_suppress off vlan_tunnel off isolated off locked off \n`,
    )
    .join('');
}

export function bridgeLinkJson(node) {
  return (
    JSON.stringify(
      node.devices
        .filter((d) => d.master !== undefined)
        .map((d) => ({
          ifindex: d.index,
          link: 'eth0',
          ifname: d.name,
          flags: d.flags,
          mtu: d.mtu,
          master: d.master.name,
          ...PORT,
          mcast_flood: true,
          bcast_flood: true,
          mcast_router: 1,
          mcast_to_unicast: false,
          neigh_suppress: false,
          vlan_tunnel: false,
          isolated: false,
          locked: false,
        })),
    ) + '\n'
  );
}

export function bridgeSysfs(node) {
  const lines = [];
  const at = (d, name, value) => lines.push(`/sys/class/net/${d.name}/${name}:${value}`);
  for (const b of node.devices.filter((d) => d.kind === 'bridge')) {
    at(b, 'bridge/bridge_id', `8000.${colon(b.mac)}`);
    for (const [name, value] of [
      ['stp_state', 0],
      ['ageing_time', 30000],
      ['nf_call_iptables', 0],
      ['nf_call_ip6tables', 0],
      ['group_fwd_mask', '0x0'],
    ])
      at(b, `bridge/${name}`, value);
  }
  for (const d of node.devices.filter((x) => x.master !== undefined)) {
    for (const [name, value] of [
      ['state', 3],
      ['hairpin_mode', 1],
      ['isolated', 0],
      ['path_cost', 2],
      ['unicast_flood', 1],
    ])
      at(d, `brport/${name}`, value);
  }
  for (const d of node.devices) at(d, 'mtu', d.mtu);
  for (const d of node.devices) at(d, 'address', d.mac);
  for (const d of node.devices) at(d, 'operstate', d.state.toLowerCase());
  for (const d of node.devices) at(d, 'carrier', d.state === 'DOWN' ? 0 : 1);
  for (const d of node.devices) at(d, 'ifindex', d.index);
  for (const d of node.devices) at(d, 'iflink', d.pod === undefined ? d.index : 2);
  return `${lines.join('\n')}\n`;
}

export function bridgeBrif(node) {
  return node.devices
    .filter((d) => d.kind === 'bridge')
    .map(
      (b) =>
        `/sys/class/net/${b.name}/brif:\n${node.devices
          .filter((d) => d.master === b)
          .map((d) => `${d.name}\n`)
          .join('')}`,
    )
    .join('\n');
}
