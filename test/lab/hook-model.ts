import { formatAddr, parseAddr } from '../../src/net/addr.ts';
import type { Doubt } from '../../src/net/doubt.ts';
import { runHook } from '../../src/net/hook.ts';
import { type CtView, makePacket, type Packet, type Port, tupleOf } from '../../src/net/packet.ts';
import type { Space } from '../../src/net/space.ts';
import type { Hook, HookContext, HookWay } from '../../src/net/step.ts';
import type { Shot, Sight } from './hook-router.ts';

/** One end that netcase gives a packet of the router lab. */
export interface Fate {
  readonly end: 'cli' | 'srv' | 'local' | 'drop' | 'reject' | 'nobody' | 'unknown';
  readonly packet: Packet;
  readonly doubts: readonly Doubt[];
  readonly probability: number;
  readonly steps: readonly string[];
}

/** A connection that the router tracks: its first packet as it was sent, and as it arrived. */
export interface Flow {
  readonly first: Shot;
  readonly fate: Fate;
}

const contextOf = (hook: Hook, flow: Flow | undefined): HookContext => ({
  track: (p) => ({ ...p, ct: flow === undefined ? newConnection(p) : replyOf(flow) }),
  translate: (p) => (flow === undefined || p.ct?.reply !== true ? p : restored(p, flow, hook)),
  maxWays: 256,
});

const newConnection = (p: Packet): CtView => ({
  // a connection picked up in its middle is new (nf_conntrack_tcp_loose), one that begins with its answer is none
  state: p.tcp === 'synack' ? 'INVALID' : 'NEW',
  reply: false,
  snat: false,
  dnat: false,
  orig: tupleOf(p),
  mark: 0,
});

function replyOf({ first, fate }: Flow): CtView {
  const { snat, dnat, mark } = fate.packet.ct!;
  return { state: 'ESTABLISHED', reply: true, snat, dnat, mark, orig: tupleOf(packetOf(first)) };
}

/** What the kernel undoes of a reply: its destination when it comes in, its source when it goes out. */
function restored(p: Packet, { first }: Flow, hook: Hook): Packet {
  const orig = packetOf(first);
  if (hook === 'prerouting' || hook === 'output') return { ...p, dst: orig.src, dport: orig.sport };
  return { ...p, src: orig.dst, sport: orig.dport };
}

/** The answer of whoever a packet arrived at; null: none that can be told. */
export function answer(shot: Shot, fate: Fate, sight: Sight, id: number): Shot | null {
  const { ct } = fate.packet;
  if (ct === null || ct.state !== 'NEW' || shot.flags === 16 || (fate.end !== 'cli' && fate.end !== 'srv')) return null;
  // a host answers itself without the router, and an echo that was translated may have got another identifier
  if (shot.at === fate.end || (shot.proto === 'icmp' && (ct.snat || shot.type !== undefined))) return null;
  // the router answers for no address but its own
  if (sight.src?.startsWith('10.2.0.') && !LOCAL.has(parseAddr(sight.src))) return null;
  if (sight.src === undefined || sight.dst === undefined) return null;
  const ports = shot.proto === 'icmp' ? {} : { sport: sight.dport!, dport: sight.sport! };
  const own =
    shot.proto === 'tcp' ? { flags: 18, ack: shot.id + 1 } : shot.proto === 'icmp' ? { type: 0, echo: shot.id } : {};
  return { id, at: fate.end, src: sight.dst, dst: sight.src, proto: shot.proto, ...ports, ...own };
}

const LOCAL = new Set(['10.1.0.1', '10.2.0.1', '10.2.0.254'].map((a) => parseAddr(a)));

/** The router's own small routing table. */
function oifOf(p: Packet): 'lo' | 'c0' | 's0' | null {
  const text = formatAddr(p.dst);
  if (LOCAL.has(p.dst) || text.startsWith('127.')) return 'lo';
  if (text.startsWith('10.66.')) return null;
  return text.startsWith('10.1.0.') ? 'c0' : 's0';
}

interface Way {
  readonly packet: Packet;
  readonly doubts: readonly Doubt[];
  readonly probability: number;
  readonly steps: readonly string[];
  readonly reroute: boolean;
}

function packetOf(shot: Shot): Packet {
  const proto = { tcp: 6, udp: 17, icmp: 1 }[shot.proto];
  return makePacket({
    src: parseAddr(shot.src)!,
    dst: parseAddr(shot.dst)!,
    proto,
    sport: shot.sport ?? null,
    dport: shot.dport ?? null,
    icmp: proto === 1 ? { type: shot.type ?? 8, code: 0 } : null,
    tcp: proto !== 6 ? null : shot.flags === 18 ? 'synack' : shot.flags === 16 ? 'ack' : 'syn',
    size: { tcp: shot.flags === 16 ? 40 : 44, udp: 30, icmp: 30 }[shot.proto],
    ttl: shot.ttl ?? 64,
    tos: shot.tos ?? 0,
    srcMac: shot.at === 'rtr' ? null : '02:00:00:00:00:01',
  });
}

/** Every end of a packet, by runHook over the saved rules; `flow`: the packet answers the first one of it. */
export function fates(space: Space, shot: Shot, flow?: Flow): Fate[] {
  const out: Fate[] = [];
  const packet = packetOf(shot);
  const finish = (way: Way, end: Fate['end']) => out.push({ ...way, end });
  const at = (hook: Hook, way: Way, next: (way: Way) => void) => {
    for (const w of runHook(space, hook, way.packet, way.doubts, contextOf(hook, flow))) {
      const then = after(way, w, hook);
      if (w.verdict === 'accept') next(then);
      else finish(then, w.verdict);
    }
  };
  const set = (way: Way, change: Partial<Packet>): Way => ({ ...way, packet: { ...way.packet, ...change } });
  const input = (way: Way) => at('input', set(way, { oif: '' }), (w) => finish(w, 'local'));
  const leave = (way: Way) =>
    at('postrouting', way, (w) => {
      const { oif, dst } = w.packet;
      if (oif === 'lo') return enter(set(w, { iif: 'lo', oif: '' }));
      const home = formatAddr(dst);
      if (oif === 'c0') return finish(w, home === '10.1.0.2' ? 'cli' : 'nobody');
      // addresses that nobody has are not answered for
      finish(w, home.startsWith('10.2.0.') && !/^10\.2\.0\.[2-9]$/.test(home) ? 'nobody' : 'srv');
    });
  const enter = (way: Way) =>
    at('prerouting', way, (w) => {
      const oif = oifOf(w.packet);
      if (oif === 'lo') return input(w);
      if (oif === null || w.packet.iif === 'lo') return finish(w, 'drop');
      if (w.packet.ttl <= 1) return finish(w, 'drop');
      at('forward', set(w, { oif, ttl: w.packet.ttl - 1, nexthop: nexthop(w.packet, oif) }), leave);
    });
  const start: Way = { packet, doubts: [], probability: 1, steps: [], reroute: false };
  if (shot.at !== 'rtr') enter(set(start, { iif: shot.at === 'cli' ? 'c0' : 's0' }));
  else {
    const oif = oifOf(packet);
    if (oif === null) finish(start, 'drop');
    else
      at('output', set(start, { oif, nexthop: nexthop(packet, oif) }), (w) => {
        const again = w.reroute ? oifOf(w.packet) : oif;
        if (again === null) return finish(w, 'drop');
        leave(set(w, { oif: again, nexthop: nexthop(w.packet, again) }));
      });
  }
  return out;
}

const nexthop = (p: Packet, oif: string) =>
  oif === 's0' && !formatAddr(p.dst).startsWith('10.2.0.') ? parseAddr('10.2.0.2') : p.dst;

function after(way: Way, w: HookWay, hook: Hook): Way {
  const steps = [...way.steps, ...w.steps.map((s) => `${hook}: ${s.place}: ${s.action}: ${s.text}`)];
  const marked =
    w.packet.ct === null
      ? w.packet
      : {
          ...w.packet,
          ct: {
            ...w.packet.ct,
            ...(hook === 'prerouting' || hook === 'output'
              ? { dstDone: true }
              : hook === 'forward'
                ? {}
                : { srcDone: true }),
          },
        };
  return { packet: marked, doubts: w.doubts, probability: way.probability * w.probability, steps, reroute: w.reroute };
}

const fits = (port: Port | null, seen: number | undefined): boolean =>
  port === null ||
  seen === undefined ||
  (typeof port === 'number' ? port === seen : seen >= port[0] && seen <= port[1]);

/** Could the kernel's end be this one? */
export function agrees(fate: Fate, sights: readonly Sight[]): boolean {
  if (fate.end === 'unknown') return true;
  const arrived = sights.filter((s) => s.seen === 'cli' || s.seen === 'srv' || s.seen === 'local');
  if (fate.end === 'drop')
    return arrived.length === 0 && !sights.some((s) => s.seen === 'reject' || s.seen === 'reset');
  // the answer of a reject may itself be dropped on its way back; nobody answers for an address that is not there
  if (fate.end === 'reject' || fate.end === 'nobody') return arrived.length === 0;
  return arrived.some(
    (s) =>
      s.seen === fate.end &&
      s.src === formatAddr(fate.packet.src) &&
      s.dst === formatAddr(fate.packet.dst) &&
      (fate.packet.proto === 1 || (fits(fate.packet.sport, s.sport) && fits(fate.packet.dport, s.dport))),
  );
}
