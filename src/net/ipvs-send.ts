import { formatAddr, isLoopback } from './addr.ts';
import { expired, tooBig } from './forwardable.ts';
import { UNVERIFIED } from './ipvs.ts';
import { familyOf, noRoute, perAnswer } from './layer3.ts';
import { sent } from './output.ts';
import type { Packet } from './packet.ts';
import { keyTo } from './policy.ts';
import { end, hooked, type Inner, type Run } from './run.ts';
import type { Space } from './space.ts';
import { add, type End, step, type Way } from './way.ts';

/**
 * __ip_vs_get_out_rt() and ip_vs_nat_send_or_cont(): the route is that of the real server's address alone, the TTL counts down, and the whole
 * of OUTPUT comes once more. `here`: the real server is the namespace itself, and the hook goes on.
 */
export function toRealServer(
  run: Run,
  way: Way,
  space: Space,
  packet: Packet,
  inner: Inner | null,
  here: (way: Way, packet: Packet) => readonly End[],
): readonly End[] {
  const routes = space.routing(familyOf(packet)).lookup(keyTo(packet.dst));
  return perAnswer(way, space, packet, routes, (start, answer) => {
    if (answer.type === 'local') return here(start, packet);
    if (answer.type !== 'unicast') return noRoute(start, space, packet, answer);
    if (isLoopback(packet.src)) {
      const because = `nothing from ${formatAddr(packet.src)} is sent to a real server elsewhere (${UNVERIFIED})`;
      return end(start, 'dropped', because, space, packet, 'ipvs');
    }
    const spent = expired(start, space, packet, answer);
    if (spent !== null) return spent;
    const routed = add(start, step(space, 'route', 'forward', answer.text, answer.cites));
    const big = tooBig(run, routed, space, packet, answer);
    if (big !== null) return big;
    const nexthop = answer.via ?? packet.dst;
    const going: Packet = { ...packet, ttl: packet.ttl - 1, iif: '', oif: answer.dev, nexthop };
    return hooked(run, routed, space, 'output', going, (w, p, reroute) =>
      // ip_output() takes the device that it came by for the input device (Linux 5.7)
      sent(run, w, space, { ...p, iif: packet.iif }, going, reroute, inner),
    );
  });
}
