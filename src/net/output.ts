import { type Addr, formatAddr } from './addr.ts';
import { throughIpvs } from './ipvs.ts';
import { familyOf, keyOf, leave, leaveAnswered, noRoute, perAnswer, routeCites } from './layer3.ts';
import { describe, ICMP6, inPieces, type Packet, TCP } from './packet.ts';
import type { RouteAnswer } from './routing.ts';
import { end, type Inner, lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import { add, type End, type Leg, step, type Way } from './way.ts';
import { passPolicies } from './xfrm.ts';

const ERRNO: Readonly<Record<string, string>> = {
  unreachable: 'host unreachable',
  blackhole: 'invalid argument',
  prohibit: 'permission denied',
  none: 'network unreachable',
  broadcast: 'permission denied',
};

/** What the kernel answers the sender (ip_route_output and its callers): TCP has no broadcasts, others may ask for them. */
const errorOf = (type: string, { proto }: Packet): string =>
  type === 'broadcast' && proto === TCP ? 'network unreachable' : (ERRNO[type] ?? type);

export function send(
  run: Run,
  way: Way,
  space: Space,
  packet: Packet,
  inner: Inner | null,
  source: Addr | null,
  oif: string | null,
): readonly End[] {
  const family = typeof packet.dst === 'number' ? 4 : 6;
  const routing = space.routing(family);
  const first = routing.lookup({ ...keyOf(packet, 'lo'), src: source, oif });
  return perAnswer(way, space, packet, first, (start, answer) => {
    let w = start;
    if (answer.type !== 'local' && answer.type !== 'unicast') {
      const because = `${answer.type === 'none' ? `no route to ${formatAddr(packet.dst)}` : `the route to ${formatAddr(packet.dst)} is ${answer.type}`}: the sender gets "${errorOf(answer.type, packet)}"`;
      return end(w, 'dropped', because, space, packet, 'route', routeCites(space, packet, answer));
    }
    const going = { ...packet, ...hopLimit(space, packet, answer) };
    if (source !== null) return output(run, w, space, { ...going, src: source }, inner, answer);
    const chosen = sourceFor(space, packet.dst, answer);
    if (chosen.addr === null) {
      if (chosen.reason !== null) return lost(w, chosen.reason, space, packet, 'route');
      return end(w, 'dropped', `${space.label} has no address to send from`, space, packet, 'route', answer.cites);
    }
    const named = { ...going, src: chosen.addr };
    w = { ...w, legs: nameSource(w.legs, space, chosen.addr) };
    // of IPv4, connect() looks up again with the source that was chosen (ip_route_connect), IPv6 keeps the route (ip6_dst_lookup_tail) but for
    // sockets without ports that are bound; only policy rules can tell the two apart
    const again = routing.customRules ? routing.lookup({ ...keyOf(named, 'lo'), oif }) : [];
    const other = again.length === 1 && again[0] !== undefined && again[0].text !== answer.text ? again[0] : null;
    if (other === null || other.type === 'unknown' || (family === 6 && packet.proto !== ICMP6))
      return output(run, w, space, named, inner, answer);
    if (family === 6) {
      const because = `whether the sender of the echo request binds ${formatAddr(chosen.addr)} before it has a route, which policy rules change then, is not known`;
      return lost(w, { because, evidence: [] }, space, packet, 'route');
    }
    return perAnswer(w, space, packet, [other], (v, second) =>
      second.type === 'local' || second.type === 'unicast'
        ? output(run, v, space, named, inner, second)
        : end(
            v,
            'dropped',
            `the route to ${formatAddr(packet.dst)} is ${second.type}`,
            space,
            packet,
            'route',
            second.cites,
          ),
    );
  });
}

/** The TTL of what the namespace sends, unless the packet has one: the route's, the namespace's, of IPv6 the device's. */
function hopLimit(space: Space, packet: Packet, answer: RouteAnswer): Pick<Packet, 'ttl' | 'ttlGap'> {
  if (packet.ttlGap !== undefined) return packet;
  if (answer.hopLimit !== null) return { ttl: answer.hopLimit, ttlGap: null };
  const dev = answer.type === 'local' || answer.dev === '' ? 'lo' : answer.dev;
  const { value, reason } = space.sysctl(
    familyOf(packet) === 4 ? 'net/ipv4/ip_default_ttl' : `net/ipv6/conf/${dev}/hop_limit`,
  );
  return value === null ? { ttl: packet.ttl, ttlGap: reason } : { ttl: value, ttlGap: null };
}

/** The connection on its way is this namespace's own: now its source is known. */
function nameSource(legs: readonly Leg[], space: Space, src: Addr): readonly Leg[] {
  const last = legs.at(-1);
  if (last === undefined || last.client !== space || last.server !== null || last.named) return legs;
  return [...legs.slice(0, -1), { ...last, named: true, unbound: true, sent: { ...last.sent, src } }];
}

function sourceFor(
  space: Space,
  dst: Addr,
  answer: RouteAnswer,
): ReturnType<ReturnType<Space['routing']>['sourceAddress']> {
  if (answer.prefsrc !== null) return { addr: answer.prefsrc, cites: answer.cites, reason: null };
  if (answer.type === 'local') return { addr: dst, cites: [], reason: null };
  return space
    .routing(typeof dst === 'number' ? 4 : 6)
    .sourceAddress(answer.dev, dst, answer.via ?? dst, answer.via === null);
}

function output(
  run: Run,
  way: Way,
  space: Space,
  packet: Packet,
  inner: Inner | null,
  answer: RouteAnswer,
): readonly End[] {
  const dev = answer.type === 'local' ? 'lo' : answer.dev;
  const routed = add(
    way,
    step(
      space,
      'route',
      answer.type === 'local' ? 'local' : 'send',
      `${describe(packet)}: ${answer.text}`,
      answer.cites,
    ),
  );
  return passPolicies(run, routed, space, packet, 'out', dev, (allowed) =>
    dispatch(run, allowed, space, packet, inner, answer),
  );
}

/** Routed, and let out by the policies of IPsec. */
function dispatch(
  run: Run,
  routed: Way,
  space: Space,
  packet: Packet,
  inner: Inner | null,
  answer: RouteAnswer,
): readonly End[] {
  const dev = answer.type === 'local' ? 'lo' : answer.dev;
  const device = space.device(dev);
  const mtu = answer.mtu ?? device?.mtu ?? null;
  if (inner === null && mtu !== null && packet.size > mtu && packet.df) {
    const because = `${packet.size} bytes do not fit the MTU ${mtu} of ${dev}: the sender gets "message too long"`;
    return end(routed, 'dropped', because, space, packet, `mtu ${dev}`, device === undefined ? [] : [device.cite]);
  }
  const going: Packet = { ...inPieces(packet, mtu), iif: '', oif: dev, nexthop: answer.via ?? packet.dst };
  return throughIpvs(run, routed, space, 'output', going, inner, (w, p, reroute) =>
    p.balanced === true && p.src !== going.src && !reroute
      ? leaveAnswered(run, w, space, { ...p, oif: dev, nexthop: going.nexthop ?? packet.dst }, inner)
      : sent(run, w, space, p, going, reroute, inner),
  );
}

/** Behind OUTPUT: by the route of before, or by a new one where rules changed what routing asks for. What ipvs changed keeps its route. */
export function sent(
  run: Run,
  way: Way,
  space: Space,
  packet: Packet,
  before: Packet,
  reroute: boolean,
  inner: Inner | null,
): readonly End[] {
  const changed = packet.dst !== before.dst && packet.balanced !== true;
  if (!reroute && !changed)
    return leave(run, way, space, { ...packet, oif: before.oif, nexthop: before.nexthop ?? before.dst }, inner);
  const next = space.routing(familyOf(packet)).lookup(keyOf(packet, 'lo'));
  return perAnswer(way, space, packet, next, (w, other) => {
    if (other.type !== 'local' && other.type !== 'unicast') return noRoute(w, space, packet, other);
    const to = other.type === 'local' ? 'lo' : other.dev;
    const again = add(w, step(space, 'route', 'reroute', `${describe(packet)}: ${other.text}`, other.cites));
    const going = { ...packet, oif: to, nexthop: other.via ?? packet.dst };
    return passPolicies(run, again, space, packet, 'out', to, (allowed) => leave(run, allowed, space, going, inner));
  });
}
