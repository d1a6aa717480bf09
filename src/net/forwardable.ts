import { familyOf } from './addr.ts';
import { ICMP, ICMP6, makePacket, type Packet, pieceOf } from './packet.ts';
import type { RouteAnswer } from './routing.ts';
import { end, lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import type { End, Way } from './way.ts';

/** As many devices no packet passes that is on a way to somewhere. */
const LONG_WAY = 30;

/** The packet has passed as many routers as it may. */
export function expired(way: Way, space: Space, packet: Packet, answer: RouteAnswer): readonly End[] | null {
  if (packet.ttl > 1) return null;
  const loop = way.passed > LONG_WAY;
  if (packet.ttlGap && !loop) return lost(way, packet.ttlGap, space, packet, 'ttl');
  const because = `the TTL is used up${loop ? ': a routing loop' : ''}`;
  return end(way, 'dropped', because, space, packet, 'ttl', answer.cites);
}

/** A router that may not take the packet to pieces drops it. */
export function tooBig(run: Run, way: Way, space: Space, packet: Packet, answer: RouteAnswer): readonly End[] | null {
  const out = space.device(answer.dev);
  const mtu = answer.mtu ?? out?.mtu ?? null;
  // of IPv6 the sender makes the pieces (ip6_pkt_too_big)
  const size = packet.df ? packet.size : familyOf(packet.src) === 4 ? 0 : pieceOf(packet);
  if (mtu === null || size <= mtu) return null;
  const told = tooBigIsTold(run, way, space, packet);
  const because = `${packet.size} bytes do not fit the MTU ${mtu} of ${answer.dev}, and the packet must not be fragmented: ${told}`;
  return end(way, 'dropped', because, space, packet, `mtu ${answer.dev}`, out === undefined ? [] : [out.cite]);
}

/** Does the router's "fragmentation needed" get back to the sender? Then it sends smaller packets; else it is a black hole [V34]. */
function tooBigIsTold(run: Run, way: Way, space: Space, packet: Packet): string {
  const six = familyOf(packet.src) === 6;
  const icmp = six ? { type: 2, code: 0 } : { type: 3, code: 4 };
  const error = makePacket({ src: packet.dst, dst: packet.src, proto: six ? ICMP6 : ICMP, icmp, size: 576 });
  const ends = run.send({ ...way, legs: [], answering: null }, space, error, null, null, null);
  if (ends.every((e) => e.verdict === 'delivered')) return 'the sender is told the MTU, and its next packet fits';
  const lostAt = ends.find((e) => e.verdict === 'dropped' || e.verdict === 'rejected');
  if (lostAt !== undefined && ends.every((e) => e.verdict !== 'delivered' && e.verdict !== 'unknown'))
    return `the sender is not told (${lostAt.because}), a black hole for large packets`;
  return 'whether the sender is told is not known';
}
