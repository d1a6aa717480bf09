import { formatAddr, parseAddr } from './addr.ts';
import type { Cite } from './doubt.ts';
import { type FdbEntry, fdbOf } from './fdb.ts';
import { writtenWhenMissed } from './neighbour.ts';
import { makePacket, offTheWire, type Packet, UDP } from './packet.ts';
import { end, type Frame, type Inner, lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import { add, type End, fork, step, type Way } from './way.ts';
import type { Port } from './wire.ts';

/** What VXLAN over IPv4 adds to an IP packet: Ethernet 14, VXLAN 8, UDP 8, IP 20. */
const OVERHEAD_4 = 50;
const OVERHEAD_6 = 70;
const MAX_DEPTH = 4;
const DEFAULT_PORTS: readonly [number, number] = [32768, 60999];

/** A vxlan device takes a frame: its forwarding entry says which node gets it (vxlan_xmit). */
export function tunnel(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const { space, device } = port;
  const place = `vxlan ${device.name}`;
  const { vxlan } = device;
  const { packet, mac } = frame;
  if (depthOf(frame.inner) >= MAX_DEPTH)
    return end(way, 'dropped', 'tunnels inside tunnels without an end', space, packet, place, [device.cite]);
  if (vxlan === null || vxlan.external || mac === null) {
    const because = `how ${device.name} of ${space.label} is set up is not known (ip -d link)`;
    return lost(way, { because, evidence: ['ip.link'] }, space, packet, place);
  }
  const fdb = fdbOf(space, device.name);
  if (fdb === null) {
    const because = `the forwarding entries of ${device.name} of ${space.label} were not collected`;
    return lost(way, { because, evidence: ['bridge.fdb'] }, space, packet, place);
  }
  const entries = fdb.entries.filter((e) => e.mac === mac && e.dst !== null);
  const fallback = fdb.entries.filter((e) => e.mac === '00:00:00:00:00:00' && e.dst !== null);
  const remotes = entries.length > 0 ? entries : fallback;
  if (remotes.length === 0) {
    const remote = vxlan.remote ?? vxlan.group;
    const dst = remote === undefined ? null : parseAddr(remote);
    if (dst !== null && vxlan.group === undefined)
      return wrap(run, way, port, frame, {
        dst,
        dport: vxlan.dstPort,
        vni: vxlan.vni,
        oif: vxlan.dev ?? null,
        cite: device.cite,
      });
    if (vxlan.group !== undefined || !fdb.closed) {
      const because =
        vxlan.group === undefined
          ? `the forwarding entries of ${space.label} were not collected whole`
          : `${device.name} of ${space.label} asks a multicast group, which is not followed`;
      return lost(way, { because, evidence: ['bridge.fdb'] }, space, packet, place);
    }
    if (vxlan.misses === true) return lost(way, writtenWhenMissed(port), space, packet, place);
    return end(
      way,
      'dropped',
      `${device.name} has no forwarding entry for ${mac}`,
      space,
      packet,
      `fdb ${device.name}`,
      [fdb.absent(mac)],
    );
  }
  const [first, second] = remotes;
  if (first === undefined) return [];
  if (second === undefined) return viaEntry(run, way, port, frame, first);
  const because = `${device.name} of ${space.label} has ${remotes.length} forwarding entries for ${mac}; which one is used is not known`;
  const { holds, fails } = fork(way, space, `fdb ${space.id} ${device.name} ${mac}`, {
    because,
    evidence: ['bridge.fdb'],
  });
  return [
    ...(holds === undefined ? [] : viaEntry(run, holds, port, frame, first)),
    ...(fails === undefined ? [] : viaEntry(run, fails, port, frame, second)),
  ];
}

function viaEntry(run: Run, way: Way, port: Port, frame: Frame, entry: FdbEntry): readonly End[] {
  const { vxlan } = port.device;
  const dst = entry.dst === null ? null : parseAddr(entry.dst);
  if (vxlan === null || dst === null) {
    const because = `the forwarding entry in ${entry.cite.fact.path}:${entry.cite.line} has no readable remote`;
    return lost(way, { because, evidence: ['bridge.fdb'] }, port.space, frame.packet, `fdb ${port.device.name}`);
  }
  return wrap(run, way, port, frame, {
    dst,
    dport: entry.port ?? vxlan.dstPort,
    vni: entry.vni ?? vxlan.vni,
    oif: entry.via,
    cite: entry.cite,
  });
}

interface Remote {
  readonly dst: Packet['dst'];
  readonly dport: number;
  readonly vni: number;
  readonly oif: string | null;
  readonly cite: Cite;
}

function wrap(run: Run, way: Way, port: Port, frame: Frame, remote: Remote): readonly End[] {
  const { space, device } = port;
  const local = device.vxlan?.local;
  const source = local === undefined ? null : parseAddr(local);
  const inner: Inner = {
    packet: frame.packet,
    mac: frame.mac ?? '',
    vni: remote.vni,
    dev: device.name,
    inner: frame.inner,
  };
  const outer = makePacket({
    src: source ?? remote.dst,
    dst: remote.dst,
    proto: UDP,
    sport: sourcePorts(space, device.vxlan?.srcPort),
    dport: remote.dport,
    size: frame.packet.size + (typeof remote.dst === 'number' ? OVERHEAD_4 : OVERHEAD_6),
    df: device.vxlan?.df === 'set' || (device.vxlan?.df === 'inherit' && frame.packet.df),
    ...(frame.packet.anySize === true ? { anySize: true } : {}),
    mark: frame.packet.mark,
    // it stays on the packet within the namespace (skb_scrub_packet)
    balanced: frame.packet.balanced === true,
    ...outerTtl(device.vxlan?.ttl, frame.packet),
  });
  const [route] = space.routing(typeof remote.dst === 'number' ? 4 : 6).lookup({
    dst: remote.dst,
    src: source,
    iif: 'lo',
    oif: remote.oif,
    mark: outer.mark,
    tos: 0,
    proto: UDP,
    sport: outer.sport,
    dport: outer.dport,
  });
  if (route?.type === 'unicast' && route.dev === device.name)
    return end(
      way,
      'dropped',
      `the way to the tunnel end ${formatAddr(remote.dst)} leads into ${device.name} itself`,
      space,
      frame.packet,
      `vxlan ${device.name}`,
      route.cites,
    );
  const text = `VNI ${remote.vni}, to ${formatAddr(remote.dst)}:${remote.dport} (${frame.mac})`;
  const wrapped = add(way, step(space, `vxlan ${device.name}`, 'encapsulate', text, [remote.cite]));
  return run.send(wrapped, space, outer, inner, source, remote.oif);
}

/** A TTL that the tunnel sets; nothing: as everything that the node sends. */
function outerTtl(ttl: string | undefined, { ttl: own, ttlGap = null }: Packet): Partial<Packet> {
  if (ttl === 'inherit') return { ttl: own, ttlGap };
  const n = Number(ttl);
  return n > 0 ? { ttl: n, ttlGap: null } : {};
}

function sourcePorts(space: Space, set: readonly [number, number] | undefined): readonly [number, number] {
  if (set !== undefined && set[0] < set[1]) return set;
  const range = space.text('net/ipv4/ip_local_port_range');
  const m = /^(\d+)\s+(\d+)$/.exec(range ?? '');
  return m === null ? DEFAULT_PORTS : [Number(m[1]), Number(m[2])];
}

function depthOf(inner: Inner | null): number {
  let depth = 0;
  for (let i = inner; i !== null; i = i.inner) depth += 1;
  return depth;
}

/** The tunnel's packet arrived: the vxlan device with this port and VNI takes the frame out (vxlan_rcv). */
export function untunnel(run: Run, way: Way, space: Space, outer: Packet, inner: Inner): readonly End[] {
  const { devices } = space;
  const tunnels = devices.list.filter((d) => d.vxlan !== null && d.up !== false);
  const blind = devices.list.find((d) => d.kind === 'vxlan' && d.vxlan === null);
  const listening = tunnels.filter((d) => d.vxlan?.dstPort === outer.dport);
  if (listening.length === 0) {
    const unsaid = devices.kinds !== null && devices.list.some((d) => d.kind === '' && !d.described);
    if (devices.gap !== null || unsaid || blind !== undefined) {
      const because = `whether ${space.label} has a vxlan device on port ${String(outer.dport)} is not known`;
      return lost(way, { because, evidence: ['ip.link'] }, space, outer, 'socket');
    }
    const near = devices.list.find((d) => d.vxlan !== null);
    const because =
      near === undefined
        ? `${space.label} has no vxlan device`
        : `no vxlan device of ${space.label} listens on port ${String(outer.dport)}${near.up === false ? ` (${near.name} is down)` : `: ${near.name} uses ${near.vxlan?.dstPort}`}`;
    return end(way, 'dropped', because, space, outer, 'socket', near === undefined ? [] : [near.cite]);
  }
  const device = listening.find((d) => d.vxlan?.vni === inner.vni || d.vxlan?.external === true);
  if (device === undefined) {
    const near = listening[0];
    const because = `VNI ${inner.vni} is unknown to ${space.label}: ${near?.name} has ${near?.vxlan?.vni}`;
    return end(way, 'dropped', because, space, outer, 'vxlan vni', near === undefined ? [] : [near.cite]);
  }
  if (device.vxlan?.external === true) {
    const because = `${device.name} of ${space.label} is set up from outside (external), which is not followed`;
    return lost(way, { because, evidence: [] }, space, outer, `vxlan ${device.name}`);
  }
  const taken = add(
    way,
    step(space, `vxlan ${device.name}`, 'decapsulate', `VNI ${inner.vni} from ${formatAddr(outer.src)}`, [device.cite]),
  );
  // the mark of what it came in stays (skb_scrub_packet, within one namespace)
  const packet = { ...offTheWire(inner.packet), mark: outer.mark };
  return run.receive(
    taken,
    { space, device },
    { packet, mac: inner.mac, to: null, nexthop: packet.dst, inner: inner.inner },
  );
}
