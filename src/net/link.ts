import { type Addr, contains, formatAddr } from './addr.ts';
import { passDevice } from './device-hooks.ts';
import { whyDown } from './devices.ts';
import { askerOf, type Resolved, resolve } from './neighbour.ts';
import { neighbourEntry } from './neighbour-table.ts';
import { leaveEvidence } from './outside.ts';
import { inPieces, offTheWire, type Packet, pieceOf } from './packet.ts';
import { end, type Frame, type Inner, lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import { add, type End, fork, step, type Way } from './way.ts';
import { bridgeOf, isUplink, type Port, peerOf, portsOf, uplinkMacs, uplinkOwners } from './wire.ts';

/** What a Linux device takes beyond its MTU: room for a VLAN tag. */
const VLAN_TAG = 4;
/** What hosts outside can be taken to send. */
const ETHERNET_MTU = 1500;

/** Kinds that find their neighbours by ARP unless somebody tells them not to (ip link set arp off). */
const ASKS: ReadonlySet<string> = new Set(['veth', 'bridge', 'bond', 'vlan', 'macvlan']);

export function transmit(
  run: Run,
  way: Way,
  port: Port,
  whole: Packet,
  nexthop: Addr,
  inner: Inner | null,
): readonly End[] {
  const { space, device } = port;
  const packet = inPieces(whole, device.mtu);
  const down = whyDown(device);
  if (down !== null) return end(way, 'dropped', down, space, packet, `link ${device.name}`, [device.cite]);
  if (device.kind === 'lo' || device.name === 'lo') return run.receivePacket(way, port, packet, inner, false);
  if (device.noArp || (UNFOLLOWED.has(device.kind) && !isUplink(port))) {
    const because =
      device.noArp && ASKS.has(device.kind)
        ? `ARP is off on ${device.name} of ${space.label} (NOARP), which neither asks for neighbours nor answers them; what becomes of its packets is not followed`
        : `what ${device.name} (${device.kind || 'a device without ARP'}) of ${space.label} does with packets is not followed`;
    return lost(way, { because, evidence: [] }, space, packet, `link ${device.name}`);
  }
  const found = neighbours(run, way, port, packet, nexthop);
  if (found.length === 1 && found[0] !== undefined)
    return towards(run, found[0].way, port, packet, nexthop, inner, found[0].to);
  // the same address twice: who answers first is not in the evidence
  const [first, ...rest] = found;
  const because = `${formatAddr(nexthop)} is on ${found.length} devices of the wire of ${device.name} of ${space.label}; which one answers is not known`;
  const { holds, fails } = fork(way, space, `answer ${space.id} ${device.name} ${nexthop}`, {
    because,
    evidence: ['ip.neigh'],
  });
  return [
    ...(holds === undefined || first === undefined ? [] : towards(run, holds, port, packet, nexthop, inner, first.to)),
    ...(fails === undefined
      ? []
      : rest.slice(0, 1).flatMap((r) => towards(run, fails, port, packet, nexthop, inner, r.to))),
  ];
}

/** Who is at a next hop. A neighbour that keeps silent is known all the same when it asked before, on this very way. */
function neighbours(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  nexthop: Addr,
): readonly { readonly to: Resolved; readonly way: Way }[] {
  const asker = askerOf(port, packet.src, nexthop);
  const found = resolve(run.cluster, port, nexthop, asker);
  const met = way.met.find((m) => m.knows === port.space && m.on === port.device.name && m.addr === nexthop);
  if (met !== undefined && found.every((r) => r.kind === 'nobody' || r.kind === 'unknown'))
    return [{ to: { kind: 'port', port: met.at, cites: [] }, way }];
  return found.map((to) => {
    if (to.kind !== 'port' || asker === null) return { to, way };
    return {
      to,
      way: { ...way, met: [...way.met, { knows: to.port.space, on: to.port.device.name, addr: asker, at: port }] },
    };
  });
}

const UNFOLLOWED = new Set([
  'wireguard',
  'tun',
  'tap',
  'ipip',
  'sit',
  'gre',
  'gretap',
  'geneve',
  'macvlan',
  'ipvlan',
  'macvtap',
  'vti',
  'xfrm',
  'dummy',
  'ifb',
]);

function towards(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  nexthop: Addr,
  inner: Inner | null,
  found: Resolved,
): readonly End[] {
  const { space, device } = port;
  const place = `neighbour ${device.name}`;
  switch (found.kind) {
    case 'nobody':
      return end(way, 'dropped', found.because, space, packet, place, found.cites);
    case 'unknown':
      return lost(way, found.reason, space, packet, place);
    case 'outside':
      return leaveEvidence(run, way, found.uplink, packet, nexthop, inner, found.failed);
    default: {
      const frame: Frame =
        found.kind === 'mac'
          ? { packet, mac: found.mac, to: null, nexthop, inner }
          : { packet, mac: found.port.device.mac, to: found.port, nexthop, inner };
      const leaving = (w: Way, next: (w: Way) => readonly End[]) => passDevice(w, port, packet, 'egress', next);
      if (device.kind === 'bridge') return leaving(way, (w) => run.bridgeTransmit(w, port, frame));
      const cited =
        found.cites.length === 0
          ? way
          : add(way, step(space, place, 'resolve', `${formatAddr(nexthop)} is ${frame.mac}`, found.cites));
      if (device.kind === 'vxlan') return leaving(cited, (w) => run.tunnel(w, port, frame));
      return run.emit(cited, port, frame);
    }
  }
}

export function emit(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const { space, device } = port;
  const down = whyDown(device);
  if (down !== null) return end(way, 'dropped', down, space, frame.packet, `link ${device.name}`, [device.cite]);
  return passDevice(way, port, frame.packet, 'egress', (w) => emitFrame(run, w, port, frame));
}

function emitFrame(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const { space, device } = port;
  const { kinds } = space.devices;
  if (kinds !== null && device.kind === '' && !device.described)
    return lost(way, kinds, space, frame.packet, `link ${device.name}`);
  if (isUplink(port)) return emitUplink(run, way, port, frame);
  if (device.kind !== 'veth' && device.peerIndex === null) {
    const because = `what is behind ${device.name} (${device.kind || 'a device'}) of ${space.label} is not followed`;
    return lost(way, { because, evidence: [] }, space, frame.packet, `link ${device.name}`);
  }
  const peer = peerOf(port);
  if (peer.kind !== 'peer') {
    const reason =
      peer.kind === 'ambiguous'
        ? peer.reason
        : {
            because: `the namespace behind ${device.name} of ${space.label} was not collected`,
            evidence: ['netns.index'],
          };
    return lost(way, reason, space, frame.packet, `link ${device.name}`);
  }
  return cross(run, way, port, peer.port, frame);
}

/** From one device to another on the same wire: marks and connection tracking stay behind where the namespace changes [V88]. */
function cross(run: Run, way: Way, from: Port, to: Port, frame: Frame): readonly End[] {
  const { mtu } = to.device;
  const { packet: sent } = frame;
  const size = sent.df ? sent.size : Math.min(pieceOf(sent), from.device.mtu ?? Number.POSITIVE_INFINITY);
  if (mtu !== null && size > mtu + VLAN_TAG) {
    const because = `${size} bytes arrive at ${to.device.name} of ${to.space.label}, whose MTU is ${mtu}`;
    if (to.device.kind === 'veth')
      return end(way, 'dropped', because, to.space, frame.packet, `mtu ${to.device.name}`, [to.device.cite]);
    return lost(
      way,
      { because: `${because}; whether the card takes them is not known`, evidence: [] },
      to.space,
      frame.packet,
      `mtu ${to.device.name}`,
    );
  }
  const mark = from.space === to.space ? frame.packet.mark : 0;
  const packet: Packet = { ...offTheWire(frame.packet), mark, srcMac: from.device.mac };
  return run.receive(way, to, { ...frame, packet });
}

function emitUplink(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const target = uplinkTarget(run, port, frame);
  if (target === 'outside') {
    const asking = bridgeOf(port) ?? port.device;
    const { entry } = neighbourEntry(port.space, asking.name, frame.nexthop);
    if (entry?.state === 'PERMANENT') {
      const because = `whether ${entry.mac}, which somebody set for ${formatAddr(frame.nexthop)} on ${port.space.label}, is right is not in the evidence`;
      return lost(way, { because, evidence: [] }, port.space, frame.packet, `neighbour ${port.device.name}`);
    }
    const failed = entry !== undefined && (entry.state === 'FAILED' || entry.state === 'INCOMPLETE') ? entry : null;
    return leaveEvidence(run, way, port, frame.packet, frame.nexthop, frame.inner, failed);
  }
  if (target === 'twins') {
    const because = `more than one node has the hardware address ${frame.mac} on the network of ${port.device.name} of ${port.space.label}: which of them gets its frames is not known`;
    return lost(way, { because, evidence: [] }, port.space, frame.packet, `neighbour ${port.device.name}`);
  }
  if (target === 'stranger') {
    const because = `${frame.mac} (${formatAddr(frame.nexthop)} in the neighbour table of ${port.space.label}) is no device of the evidence`;
    return lost(way, { because, evidence: ['ip.link'] }, port.space, frame.packet, `neighbour ${port.device.name}`);
  }
  return cross(run, way, port, entrance(target), frame);
}

/** A bridge is entered by its uplink. */
function entrance(port: Port): Port {
  if (port.device.kind !== 'bridge') return port;
  const door = portsOf(port.space, port.device.name).find((d) => isUplink({ space: port.space, device: d }));
  return door === undefined ? port : { space: port.space, device: door };
}

function uplinkTarget(run: Run, port: Port, frame: Frame): Port | 'outside' | 'stranger' | 'twins' {
  const byMac = frame.mac === null ? [] : uplinkMacs(run.cluster, frame.mac, port);
  if (areTwins(byMac, port, frame)) return 'twins';
  if (frame.to !== null) return frame.to;
  const byAddress = uplinkOwners(run.cluster, frame.nexthop, port);
  if (frame.mac === null) return byAddress[0] ?? 'outside';
  const both = byMac.find((m) => byAddress.some((a) => a.space === m.space));
  if (both !== undefined) return both;
  if (byMac[0] !== undefined) return byMac[0];
  // the address is known, its device's hardware address is not in the evidence
  const blank = byAddress.find((a) => a.device.mac === null);
  if (blank !== undefined) return blank;
  return byAddress.length > 0 ? 'stranger' : 'outside';
}

/** A cloned machine: the switch gives the frames to whoever was heard last. VRRP shares its addresses on purpose (RFC 5798). */
function areTwins(others: readonly Port[], own: Port, { mac, nexthop }: Frame): boolean {
  const ports = mac === own.device.mac ? [own, ...others] : others;
  if (ports.length < 2 || mac?.startsWith('00:00:5e:00:0') === true) return false;
  const near = ports.filter((p) => p === own || p.device.addresses.some((a) => contains(a.net, nexthop)));
  return new Set(near.map((p) => p.space.node)).size > 1;
}

/** The packet comes from outside the evidence to the namespace that has the address on an uplink. */
export function comeFromOutside(run: Run, way: Way, port: Port, packet: Packet): readonly End[] {
  const door = entrance(port);
  const { mtu } = door.device;
  if (mtu !== null && mtu < ETHERNET_MTU && packet.size > mtu) {
    const because = `${packet.size} bytes come from outside to ${door.device.name} of ${door.space.label}, whose MTU is ${mtu}; whether they come in pieces that fit is not in the evidence`;
    return lost(way, { because, evidence: [] }, door.space, packet, `mtu ${door.device.name}`);
  }
  const frame: Frame = { packet, mac: port.device.mac, to: port, nexthop: packet.dst, inner: null };
  return run.receive(way, door, frame);
}

export const ownersOutside = (run: Run, addr: Addr, nowhere: Space | null): readonly Port[] => {
  const found: Port[] = [];
  for (const owner of run.cluster.owners(addr)) {
    const node = run.cluster.node(owner.node);
    const space = owner.inode === null ? node?.host : node?.space(owner.inode);
    const device = space?.device(owner.dev);
    if (space === undefined || device === undefined || space === nowhere) continue;
    if (isUplink({ space, device })) found.push({ space, device });
  }
  return found;
};
