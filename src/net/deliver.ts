import { formatAddr } from './addr.ts';
import type { Absence } from './doubt.ts';
import {
  describe,
  endpoint,
  formatPort,
  hasPorts,
  ICMP,
  makePacket,
  type Packet,
  samePort,
  TCP,
  UDP,
} from './packet.ts';
import { proxyTarget } from './proxy.ts';
import { end, type Inner, lost, type Run } from './run.ts';
import { listenerFor } from './sockets.ts';
import type { Space } from './space.ts';
import { untunnel } from './tunnel.ts';
import { add, closeLeg, type End, type Leg, step, type Way } from './way.ts';
import type { Port } from './wire.ts';

/** A packet for the namespace itself, behind INPUT. */
export function deliver(run: Run, way: Way, port: Port, packet: Packet, inner: Inner | null): readonly End[] {
  const { space } = port;
  if (inner !== null) return untunnel(run, way, space, packet, inner);
  if (way.answering !== null) return answered(way, way.answering, space, packet);
  if (way.following !== null) return followed(way, way.following, space, packet);
  if (hasPorts(packet.proto) && (packet.proto === TCP || packet.proto === UDP)) return toSocket(run, way, port, packet);
  const ignored = space.sysctl(
    packet.proto === ICMP ? 'net/ipv4/icmp_echo_ignore_all' : 'net/ipv6/icmp/echo_ignore_all',
  );
  if (packet.icmp !== null && (packet.icmp.type === 8 || packet.icmp.type === 128) && ignored.value === 1)
    return end(
      way,
      'dropped',
      `${space.label} ignores echo requests (icmp_echo_ignore_all = 1)`,
      space,
      packet,
      'socket',
      [ignored.cite],
    );
  const text = `${describe(packet)} arrives at ${space.label}`;
  return arrived(add(way, step(space, 'deliver', 'deliver', text)), space, packet, text);
}

function toSocket(run: Run, way: Way, port: Port, packet: Packet): readonly End[] {
  const { space } = port;
  const proto = packet.proto === TCP ? 'tcp' : 'udp';
  if (typeof packet.dport !== 'number') return end(way, 'unknown', 'no port was asked for', space, packet, 'socket');
  const found = listenerFor(space, proto, packet.dst, packet.dport, port.device.name);
  if (found.kind === 'listens') {
    const { listener } = found;
    if (listener.process !== null && /^(docker-proxy|rootlessport|rootlesskit)/.test(listener.process))
      return throughProxy(
        run,
        add(
          way,
          step(space, 'socket', 'proxy', `${listener.process} listens on ${proto}/${packet.dport}`, [listener.cite]),
        ),
        space,
        packet,
        listener.wildcard,
      );
    if (listener.process === 'dockerd' && !('because' in proxyTarget(space, packet))) {
      const because = `dockerd only keeps ${proto}/${packet.dport} of ${space.label} for a container that publishes it (there is no docker-proxy): nobody answers there`;
      return end(way, 'dropped', because, space, packet, 'socket', [listener.cite]);
    }
    const text = `${describe(packet)} reaches ${listener.process ?? 'the socket'} on ${space.label}`;
    return arrived(add(way, step(space, 'socket', 'deliver', text, [listener.cite])), space, packet, text);
  }
  if (found.kind === 'unknown') {
    const text = `${describe(packet)} arrives at ${space.label}; whether something listens is not known: ${found.reason.because}`;
    return arrived(add(way, step(space, 'socket', 'deliver', text)), space, packet, text);
  }
  const absence: Absence = {
    node: space.node.id,
    evidence: found.evidence,
    path: found.path,
    absent: `a ${proto} listener on port ${packet.dport}`,
  };
  const because = `nothing listens on ${endpoint(packet.dst, packet.dport)}/${proto} of ${space.label}: the sender is refused`;
  return end(way, 'rejected', because, space, packet, 'socket', [absence]);
}

function arrived(way: Way, space: Space, packet: Packet, because: string): readonly End[] {
  return [{ verdict: 'delivered', because, way: { ...way, legs: closeLeg(way.legs, space, packet) }, packet, space }];
}

/** A process on the node takes the connection and makes one of its own to the container: the client's address is lost [V42]. */
function throughProxy(run: Run, way: Way, space: Space, packet: Packet, wildcard: boolean): readonly End[] {
  const target = proxyTarget(space, packet);
  if ('because' in target) return lost(way, target, space, packet, 'socket');
  const closed = closeLeg(way.legs, space, packet).map((leg, i, all) =>
    i === all.length - 1 && wildcard && packet.proto === UDP ? { ...leg, anySource: true } : leg,
  );
  const next = makePacket({
    src: target.addr,
    dst: target.addr,
    proto: packet.proto,
    sport: EPHEMERAL,
    dport: target.port,
    size: packet.size,
  });
  const leg: Leg = { client: space, sent: next, named: false, server: null, seen: next };
  return run.send({ ...way, legs: [...closed, leg] }, space, next, null, null, null);
}

const EPHEMERAL: readonly [number, number] = [32768, 60999];

/** A later packet of a connection has to come where the first one came. */
function followed(way: Way, leg: Leg, space: Space, packet: Packet): readonly End[] {
  if (space === leg.server && packet.dst === leg.seen.dst && String(packet.dport) === String(leg.seen.dport))
    return end(way, 'delivered', `${describe(packet)} arrives`, space, packet, 'socket');
  const because = `${describe(packet)} arrives at ${space.label}, where it belongs to no connection`;
  return end(way, 'dropped', because, space, packet, 'socket');
}

/** The answer arrives somewhere: is it the client, and does it come from whom he asked? */
function answered(way: Way, leg: Leg, space: Space, packet: Packet): readonly End[] {
  if (space !== leg.client) {
    const because = `the answer to ${endpoint(packet.dst, packet.dport)} arrives at ${space.label}, which did not ask`;
    return end(way, 'dropped', because, space, packet, 'client address');
  }
  if (packet.dst !== leg.sent.src) {
    const because = `the answer is for ${formatAddr(packet.dst)}, the client used ${formatAddr(leg.sent.src)}`;
    return end(way, 'dropped', because, space, packet, 'client address');
  }
  if (packet.src !== leg.sent.dst || String(packet.sport) !== String(leg.sent.dport)) {
    const because = `the client asked ${endpoint(leg.sent.dst, leg.sent.dport)} and gets an answer from ${endpoint(packet.src, packet.sport)}: it ${packet.proto === TCP ? 'resets the connection' : 'takes it for no answer'}`;
    return end(way, 'dropped', because, space, packet, 'client address');
  }
  if (!samePort(packet.dport, leg.sent.sport)) {
    const because = `the answer comes to port ${formatPort(packet.dport)}, to which the source port was translated; the client used ${formatPort(leg.sent.sport)}`;
    return end(way, 'dropped', because, space, packet, 'client address');
  }
  const unseen = way.flows.find(
    (f) =>
      f.snat &&
      !f.seenReply &&
      f.orig.proto === leg.sent.proto &&
      f.orig.src === leg.sent.src &&
      f.reply.dst === f.orig.src,
  );
  if (unseen !== undefined) {
    // masquerading to the address that it has already: with --random-fully the port or the id of an echo is another one
    const because = `whether ${unseen.space.label} changed the client's port, which the answer did not pass back through connection tracking, is not known`;
    return lost(way, { because, evidence: [] }, space, packet, 'client address');
  }
  const text = `the answer arrives from ${endpoint(packet.src, packet.sport)}`;
  return end(way, 'delivered', text, space, packet, 'client');
}
