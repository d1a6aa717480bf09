import { type Addr, formatAddr } from './addr.ts';
import { type Device, whyDown } from './devices.ts';
import type { Cite, Reason } from './doubt.ts';
import { bridgeFdb } from './fdb.ts';
import { throughIpvs } from './ipvs.ts';
import { familyOf, keyOf, perAnswer } from './layer3.ts';
import { bridgeFilters } from './link-filters.ts';
import { askerOf, forwardsFrames, resolve, segmentOf } from './neighbour.ts';
import { type Packet, pieceOf } from './packet.ts';
import { confirm, end, type Frame, hooked, lost, type Run, restoreDestination, restoreSource } from './run.ts';
import { bridgeCallsIptables, forwards } from './source.ts';
import type { Space } from './space.ts';
import { add, type End, either, step, type Way } from './way.ts';
import { isUplink, type Port, portsOf, uplinkMacs, uplinkOwners } from './wire.ts';

/** A frame enters a bridge by one of its ports (br_handle_frame). */
export function bridgeReceive(run: Run, way: Way, port: Port, bridge: Device, frame: Frame): readonly End[] {
  const { space, device } = port;
  const { packet } = frame;
  const place = `bridge ${bridge.name}`;
  if (!forwardsFrames(device))
    return end(
      way,
      'dropped',
      `the port ${device.name} of ${bridge.name} is ${device.port.state}`,
      space,
      packet,
      place,
      [device.cite],
    );
  if (bridge.up === false) return end(way, 'dropped', `${bridge.name} is down`, space, packet, place, [bridge.cite]);
  const filters = bridgeFilters(space, bridge);
  if (filters !== null) return lost(way, filters, space, packet, place);
  const calls = bridgeCallsIptables(space, bridge.name, familyOf(packet));
  const key = `br_netfilter ${space.id} ${bridge.name} ${familyOf(packet)}`;
  return either(
    way,
    space,
    calls.truth,
    key,
    calls.reason,
    (on) => {
      const seen: Packet = {
        ...packet,
        iif: bridge.name,
        oif: '',
        physIn: device.name,
        physOut: '',
        bridged: false,
        nexthop: null,
      };
      return hooked(run, on, space, 'prerouting', seen, (w, p) => {
        const back = restoreDestination(w, space, p, seen);
        if (back.packet.dst !== packet.dst)
          return redirected(run, back.way, port, bridge, { ...frame, packet: back.packet });
        return decide(run, back.way, port, bridge, { ...frame, packet: back.packet }, true);
      });
    },
    (off) => decide(run, off, port, bridge, frame, false),
  );
}

/** DNAT on the bridge: a new destination behind the same bridge stays bridged, any other is handed up (br_nf_pre_routing_finish) [V07]. */
function redirected(run: Run, way: Way, port: Port, bridge: Device, frame: Frame): readonly End[] {
  const { space } = port;
  const { packet } = frame;
  const own = { space, device: bridge };
  const answers = space.routing(familyOf(packet)).lookup(keyOf(packet, bridge.name));
  return perAnswer(way, space, packet, answers, (start, answer) => {
    const up = (w: Way) => run.receivePacket(w, own, packet, frame.inner, true);
    if (answer.type !== 'unicast' || answer.dev !== bridge.name) return up(start);
    const stay = (w: Way) => toNeighbour(run, w, port, bridge, frame, answer.via ?? packet.dst);
    // IPv6 asks for forwarding only when it forwards; without it IPv4 finds no route to the bridge: the frame is handed up, and dropped there
    if (familyOf(packet) === 6) return stay(start);
    const allowed = forwards(space, bridge.name, 4);
    return either(start, space, allowed.truth, `forwarding ${space.id} ${bridge.name}`, allowed.reason, stay, up);
  });
}

/** A frame for another neighbour of the bridge than it came for. */
function toNeighbour(run: Run, way: Way, port: Port, bridge: Device, frame: Frame, nexthop: Addr): readonly End[] {
  const { space } = port;
  const { packet } = frame;
  const own = { space, device: bridge };
  return resolve(run.cluster, own, nexthop, askerOf(own, packet.src, nexthop)).flatMap((found) => {
    if (found.kind === 'mac')
      return decide(run, way, port, bridge, { ...frame, mac: found.mac, to: null, nexthop }, true);
    if (found.kind === 'port')
      return decide(run, way, port, bridge, { ...frame, mac: found.port.device.mac, to: found.port, nexthop }, true);
    if (found.kind === 'nobody')
      return end(way, 'dropped', found.because, space, packet, `neighbour ${bridge.name}`, found.cites);
    const reason =
      found.kind === 'unknown'
        ? found.reason
        : { because: `${formatAddr(nexthop)} is not in the evidence`, evidence: [] };
    return lost(way, reason, space, packet, `neighbour ${bridge.name}`);
  });
}

/** Up to the host, or out by another port. */
function decide(run: Run, way: Way, port: Port, bridge: Device, frame: Frame, called: boolean): readonly End[] {
  const { space, device } = port;
  const own: Port = { space, device: bridge };
  const goal = egress(run, space, bridge, frame);
  const place = `bridge ${bridge.name}`;
  if (goal.kind === 'self') {
    const packet = called ? frame.packet : { ...frame.packet, iif: bridge.name };
    return run.receivePacket(way, own, packet, frame.inner, called);
  }
  if (goal.kind === 'unknown') return lost(way, goal.reason, space, frame.packet, place);
  if (goal.kind === 'nobody') return end(way, 'dropped', goal.because, space, frame.packet, place, [bridge.cite]);
  const { port: out } = goal;
  if (out === device && device.port.hairpin !== true) {
    const because = `${device.name} would have to send the frame back where it came from, and hairpin mode is off`;
    return end(way, 'dropped', because, space, frame.packet, place, [device.cite]);
  }
  if (out.port.isolated === true && device.port.isolated === true) {
    return end(way, 'dropped', `${device.name} and ${out.name} are isolated ports`, space, frame.packet, place, [
      device.cite,
      out.cite,
    ]);
  }
  const bridged = add(way, step(space, place, 'forward', `${device.name} -> ${out.name}`, [...goal.cites, out.cite]));
  const odd = fragmentsOnUnequalPorts(space, device, bridge, out, frame.packet);
  if (odd !== null) return lost(bridged, odd, space, frame.packet, `mtu ${out.name}`);
  if (!called) return deliverPort(run, bridged, space, bridge, out, frame);
  const seen: Packet = {
    ...frame.packet,
    iif: bridge.name,
    oif: bridge.name,
    physIn: device.name,
    physOut: out.name,
    bridged: true,
  };
  return throughIpvs(run, bridged, space, 'forward', seen, frame.inner, (w, p) =>
    hooked(run, w, space, 'postrouting', { ...p, iif: '', oif: bridge.name, nexthop: p.dst }, (v, q) => {
      const back = restoreSource(v, space, q, p);
      const kept = confirm(back.way, space, back.packet);
      return deliverPort(run, kept.way, space, bridge, out, { ...frame, packet: kept.packet });
    }),
  );
}

/** What becomes of fragments where the MTUs of the ports and of the bridge differ depends on who puts them together; null: they do not. */
function fragmentsOnUnequalPorts(
  space: Space,
  into: Device,
  bridge: Device,
  out: Device,
  packet: Packet,
): Reason | null {
  const mtus = [into.mtu, bridge.mtu, out.mtu].filter((m) => m !== null);
  if (packet.df || mtus.length === 0 || packet.size <= Math.min(...mtus) || new Set(mtus).size === 1) return null;
  const because = `what becomes of the fragments of ${packet.size} bytes between ports of ${bridge.name} of ${space.label} with different MTUs is not followed`;
  return { because, evidence: [] };
}

function deliverPort(run: Run, way: Way, space: Space, bridge: Device, out: Device, frame: Frame): readonly End[] {
  const down = whyDown(out);
  if (down !== null) return end(way, 'dropped', down, space, frame.packet, `link ${out.name}`, [out.cite]);
  const { packet } = frame;
  const size = packet.df ? packet.size : Math.min(pieceOf(packet), bridge.mtu ?? Number.POSITIVE_INFINITY);
  if (out.mtu !== null && size > out.mtu + 4) {
    const because = `${packet.size} bytes do not fit the MTU ${out.mtu} of the port ${out.name}, and a bridge sends no error`;
    return end(way, 'dropped', because, space, frame.packet, `mtu ${out.name}`, [out.cite]);
  }
  return run.emit(way, { space, device: out }, frame);
}

/** The host sends by its bridge: no FORWARD, no port it came from. */
export function bridgeTransmit(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const { space, device: bridge } = port;
  const filters = bridgeFilters(space, bridge);
  if (filters !== null) return lost(way, filters, space, frame.packet, `bridge ${bridge.name}`);
  const goal = egress(run, space, bridge, frame);
  if (goal.kind === 'unknown') return lost(way, goal.reason, space, frame.packet, `bridge ${bridge.name}`);
  if (goal.kind !== 'port') {
    const because = goal.kind === 'nobody' ? goal.because : `${frame.mac} is ${bridge.name} itself`;
    return end(way, 'dropped', because, space, frame.packet, `bridge ${bridge.name}`, [bridge.cite]);
  }
  if (!forwardsFrames(goal.port))
    return end(
      way,
      'dropped',
      `the port ${goal.port.name} is ${goal.port.port.state}`,
      space,
      frame.packet,
      `bridge ${bridge.name}`,
      [goal.port.cite],
    );
  const sent = add(
    way,
    step(space, `bridge ${bridge.name}`, 'send', `by ${goal.port.name}`, [...goal.cites, goal.port.cite]),
  );
  return deliverPort(run, sent, space, bridge, goal.port, frame);
}

type Egress =
  | { readonly kind: 'self' }
  | { readonly kind: 'port'; readonly port: Device; readonly cites: readonly Cite[] }
  | { readonly kind: 'nobody'; readonly because: string }
  | { readonly kind: 'unknown'; readonly reason: Reason };

/** The port behind which the frame's destination is. */
function egress(run: Run, space: Space, bridge: Device, frame: Frame): Egress {
  const { mac, to } = frame;
  if (to !== null ? to.space === space && to.device === bridge : mac !== null && mac === bridge.mac)
    return { kind: 'self' };
  const ports = portsOf(space, bridge.name);
  if (mac !== null && to === null && ports.some((p) => p.mac === mac)) return { kind: 'self' };
  let open: Reason | null = null;
  let uplink: Device | null = null;
  for (const p of ports) {
    if (whyDown(p) !== null) continue;
    const segment = segmentOf({ space, device: p });
    const here = segment.ends.some((e) =>
      to !== null ? e.space === to.space && e.device === to.device : mac !== null && e.device.mac === mac,
    );
    if (here) return { kind: 'port', port: p, cites: [] };
    if (segment.uplink !== null && isUplink(segment.uplink)) uplink ??= p;
    open ??= segment.open;
  }
  const learnt = mac === null ? null : bridgeFdb(space, bridge.name, mac);
  if (learnt !== null) {
    const p = space.device(learnt.port);
    if (learnt.local) return { kind: 'self' };
    if (p !== undefined) return { kind: 'port', port: p, cites: [learnt.cite] };
  }
  if (uplink !== null) {
    const port = { space, device: uplink };
    const known =
      to !== null ||
      uplinkOwners(run.cluster, frame.nexthop, port).length > 0 ||
      (mac !== null && uplinkMacs(run.cluster, mac, port).length > 0);
    if (known || open === null) return { kind: 'port', port: uplink, cites: [] };
  }
  if (open !== null) return { kind: 'unknown', reason: open };
  return {
    kind: 'nobody',
    because: `no device behind ${bridge.name} has the hardware address ${mac ?? 'of ' + formatAddr(frame.nexthop)}`,
  };
}
