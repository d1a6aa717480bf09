import { type Addr, formatAddr, isLoopback } from './addr.ts';
import type { Absence, Cite } from './doubt.ts';
import { expired, tooBig } from './forwardable.ts';
import { throughIpvs } from './ipvs.ts';
import { describe, type Packet, packetKey, samePort } from './packet.ts';
import { routeAbsence } from './route-tables.ts';
import type { RouteAnswer, RouteKey } from './routing.ts';
import { confirm, end, hooked, type Inner, lost, type Run, restoreDestination, restoreSource } from './run.ts';
import { forwards, type Judged, no, open, present, sourceIsValid, yes } from './source.ts';
import type { Space } from './space.ts';
import { add, type End, either, step, type Way } from './way.ts';
import type { Port } from './wire.ts';
import { passPolicies } from './xfrm.ts';

/** How often a router gets one packet, but for its TTL, before every further round is like the last. */
const SAME_AGAIN = 3;

export const familyOf = (packet: Packet): 4 | 6 => (typeof packet.src === 'number' ? 4 : 6);

export function receivePacket(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  inner: Inner | null,
  wasHooked: boolean,
): readonly End[] {
  const { space, device } = port;
  if (wasHooked) return routeInput(run, way, port, packet, inner, true);
  const arrived: Packet = { ...packet, iif: device.name, oif: '', nexthop: null };
  return hooked(run, way, space, 'prerouting', arrived, (w, p) => {
    const back = restoreDestination(w, space, p, arrived);
    return routeInput(run, back.way, port, back.packet, inner, false);
  });
}

/** Connection tracking has changed its destination. */
const isRedirected = ({ ct, dst }: Packet): boolean => ct !== null && (ct.reply ? ct.snat : dst !== ct.orig.dst);

export const keyOf = (packet: Packet, iif: string): RouteKey => ({
  dst: packet.dst,
  src: packet.src,
  iif,
  oif: null,
  mark: packet.mark,
  tos: packet.tos,
  proto: packet.proto,
  sport: packet.sport,
  dport: packet.dport,
});

function routeInput(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  inner: Inner | null,
  wasHooked: boolean,
): readonly End[] {
  const { space, device } = port;
  const dev = device.name;
  // what was sent over lo was routed on its way out
  if (dev === 'lo') return input(run, way, port, packet, inner, null);
  const martian = mayComeIn(space, dev, packet.dst);
  if (martian.truth === null) return lost(way, martian.reason, space, packet, 'route');
  if (martian.truth === 0) return end(way, 'dropped', martian.because, space, packet, 'route', martian.cites);
  return perAnswer(way, space, packet, space.routing(familyOf(packet)).lookup(keyOf(packet, dev)), (w, answer) => {
    if (answer.type === 'local') {
      return checkSource(w, space, dev, packet, null, (ok) => input(run, ok, port, packet, inner, answer));
    }
    if (answer.type === 'broadcast' || answer.type === 'multicast')
      return end(
        w,
        'dropped',
        `${formatAddr(packet.dst)} is a ${answer.type} address on ${space.label}`,
        space,
        packet,
        'route',
        answer.cites,
      );
    // what a bridge's PREROUTING gave another destination has its route already: ipv6_rcv() takes that one's device for the input device
    const by = wasHooked && isRedirected(packet) ? answer.dev : dev;
    const allowed = forwards(space, dev, familyOf(packet), by);
    return either(
      w,
      space,
      allowed.truth,
      `forwarding ${space.id} ${familyOf(packet) === 4 ? dev : 'all'}`,
      allowed.reason,
      (on) => {
        if (answer.type !== 'unicast') return noRoute(on, space, packet, answer);
        return checkSource(on, space, dev, packet, answer.dev, (ok) => forward(run, ok, port, packet, inner, answer));
      },
      (off) =>
        end(
          off,
          'dropped',
          allowed.truth === 0 ? allowed.because : `forwarding may be off on ${dev}`,
          space,
          packet,
          'forwarding',
          allowed.cites,
        ),
    );
  });
}

/** May a packet for this address come in (ip_route_input_slow)? */
function mayComeIn(space: Space, dev: string, dst: Addr): Judged {
  if (typeof dst !== 'number') return yes();
  if (dst >>> 24 === 0) return no(`${formatAddr(dst)} is no destination (martian)`, []);
  if (!isLoopback(dst)) return yes();
  const settings = [dev, 'all'].map((name) => space.sysctl(`net/ipv4/conf/${name}/route_localnet`));
  if (settings.some((s) => s.value === 1)) return yes();
  const unread = settings.find((s) => s.value === null);
  if (unread !== undefined) return open(unread.reason);
  return no(`a loopback destination came in by ${dev} (route_localnet=0)`, present(settings[0]?.cite ?? null));
}

/** Each answer of a lookup with its share; an unknown one ends there. */
export function perAnswer(
  way: Way,
  space: Space,
  packet: Packet,
  answers: readonly RouteAnswer[],
  next: (way: Way, answer: RouteAnswer) => readonly End[],
): readonly End[] {
  return answers.flatMap((answer) => {
    const shared = answer.share === 1 ? way : { ...way, probability: way.probability * answer.share };
    if (answer.type === 'unknown')
      return lost(shared, answer.reason ?? { because: answer.text, evidence: [] }, space, packet, 'route');
    return next(shared, answer);
  });
}

export function noRoute(way: Way, space: Space, packet: Packet, answer: RouteAnswer): readonly End[] {
  const said =
    answer.type === 'none'
      ? `no route to ${formatAddr(packet.dst)}`
      : `the route to ${formatAddr(packet.dst)} is ${answer.type}`;
  return end(way, 'dropped', said, space, packet, 'route', routeCites(space, packet, answer));
}

/** What shows that an answer is no way on. */
export function routeCites(space: Space, packet: Packet, { type, cites }: RouteAnswer): readonly (Cite | Absence)[] {
  return type === 'none' ? [...cites, ...routeAbsence(space, packet.dst)] : cites;
}

function checkSource(
  way: Way,
  space: Space,
  dev: string,
  packet: Packet,
  oif: string | null,
  next: (way: Way) => readonly End[],
): readonly End[] {
  const judged = sourceIsValid(space, dev, packet, oif);
  return either(way, space, judged.truth, `source ${space.id} ${dev} ${packet.src}`, judged.reason, next, (bad) =>
    end(
      bad,
      'dropped',
      judged.truth === 0 ? judged.because : `the source may be refused: ${judged.because}`,
      space,
      packet,
      'rp_filter',
      judged.cites,
    ),
  );
}

function forward(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  inner: Inner | null,
  answer: RouteAnswer,
): readonly End[] {
  const { space, device } = port;
  return passPolicies(run, way, space, packet, 'fwd', device.name, (allowed) => {
    const spent = expired(allowed, space, packet, answer);
    if (spent !== null) return spent;
    return passPolicies(run, allowed, space, packet, 'out', answer.dev, (w) =>
      onward(run, w, port, packet, inner, answer),
    );
  });
}

/** Routed, and let through by the policies of IPsec. */
function onward(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  inner: Inner | null,
  answer: RouteAnswer,
): readonly End[] {
  const { space, device } = port;
  const here = `${space.label} ${device.name} ${packetKey({ ...packet, ttl: 0 })}`;
  if (way.routed.filter((w) => w === here).length >= SAME_AGAIN)
    return end(way, 'dropped', 'the TTL is used up: a routing loop', space, packet, 'ttl', answer.cites);
  const counted = { ...way, routed: [...way.routed, here] };
  const routed = add(counted, step(space, 'route', 'forward', answer.text, answer.cites));
  const big = tooBig(run, routed, space, packet, answer);
  if (big !== null) return big;
  const nexthop = answer.via ?? packet.dst;
  const going: Packet = { ...packet, ttl: packet.ttl - 1, iif: device.name, oif: answer.dev, nexthop };
  return throughIpvs(run, routed, space, 'forward', going, inner, (w, p) =>
    (p.balanced === true ? leaveAnswered : leave)(run, w, space, { ...p, oif: answer.dev, nexthop }, inner),
  );
}

/** A packet of which is known by which device (`oif`) and to whom it goes. */
type Leaving = Packet & { readonly nexthop: Addr };

/** POSTROUTING and out. */
export function leave(run: Run, way: Way, space: Space, packet: Leaving, inner: Inner | null): readonly End[] {
  const { oif: dev, nexthop } = packet;
  // what a tunnel sends comes from its device: ip_output() takes it for the input device (Linux 5.7)
  const iif = packet.iif === '' && inner !== null ? inner.dev : packet.iif;
  const going: Packet = { ...packet, iif };
  return hooked(run, way, space, 'postrouting', going, (w, p) => {
    const back = restoreSource(w, space, p, going);
    const kept = confirm(back.way, space, back.packet);
    const device = space.device(dev);
    if (device === undefined) {
      const reason = space.devices.gap ?? {
        because: `${dev} of ${space.label} is in no list of devices`,
        evidence: ['ip.addr'],
      };
      return lost(kept.way, reason, space, p, `link ${dev}`);
    }
    const out = (w: Way) => run.transmit(w, { space, device }, kept.packet, nexthop, inner);
    // another source asks the policies once more (nf_xfrm_me_harder)
    const renamed = kept.packet.src !== packet.src || !samePort(kept.packet.sport, packet.sport);
    return renamed ? passPolicies(run, kept.way, space, kept.packet, 'out', dev, out) : out(kept.way);
  });
}

/**
 * What ipvs has turned back is routed again as if the namespace had sent it, unless it stays there (ip_vs_route_me_harder). A setting that was
 * not collected matters only where that makes a difference.
 */
export function leaveAnswered(run: Run, way: Way, space: Space, packet: Leaving, inner: Inner | null): readonly End[] {
  const { value, reason } = space.sysctl('net/ipv4/vs/snat_reroute');
  if (packet.oif === 'lo' || value === 0) return leave(run, way, space, packet, inner);
  return perAnswer(way, space, packet, space.routing(familyOf(packet)).lookup(keyOf(packet, 'lo')), (w, answer) => {
    const oif = answer.type === 'local' ? 'lo' : answer.dev;
    const nexthop = answer.via ?? packet.dst;
    if (oif === packet.oif && nexthop === packet.nexthop) return leave(run, w, space, packet, inner);
    if (value === null) return lost(w, reason, space, packet, 'route');
    if (answer.type !== 'local' && answer.type !== 'unicast') return noRoute(w, space, packet, answer);
    const again = add(w, step(space, 'route', 'reroute', `${describe(packet)}: ${answer.text}`, answer.cites));
    return leave(run, again, space, { ...packet, oif, nexthop }, inner);
  });
}

function input(
  run: Run,
  way: Way,
  port: Port,
  packet: Packet,
  inner: Inner | null,
  answer: RouteAnswer | null,
): readonly End[] {
  const { space } = port;
  const local = answer === null ? way : add(way, step(space, 'route', 'local', answer.text, answer.cites));
  const arrived: Packet = { ...packet, iif: port.device.name, oif: '' };
  return throughIpvs(run, local, space, 'input', arrived, inner, (w, p, _, before) => {
    const back = restoreSource(w, space, p, before);
    const kept = confirm(back.way, space, back.packet);
    return passPolicies(run, kept.way, space, kept.packet, 'in', port.device.name, (allowed) =>
      run.deliver(allowed, port, kept.packet, inner),
    );
  });
}
