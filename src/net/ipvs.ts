import { type Addr, isLoopback } from './addr.ts';
import type { Reason } from './doubt.ts';
import { type Choice, scheduleOf } from './ipvs-schedule.ts';
import { type IpvsTable, ipvsOf, KUBE_DEVICE, type RealServer, type VirtualServer } from './ipvs-table.ts';
import { endpoint, type Packet, type Port, samePort, TCP, UDP, untracked } from './packet.ts';
import { end, hooked, type Inner, lost, type Run, restoreDestination } from './run.ts';
import type { Space } from './space.ts';
import { add, type Balanced, type End, either, step, type Way } from './way.ts';

type Hook = 'input' | 'forward' | 'output';

/** Priorities of ipvs in its hooks (ip_vs_ops4 and ip_vs_ops6 in net/netfilter/ipvs/ip_vs_core.c): answers first, then requests. */
const PLACES: Readonly<Record<Hook, readonly [first: number, last: number]>> = {
  input: [98, 99],
  forward: [99, 100],
  output: [-99, -98],
};
const SCTP = 132;
/** The kernels that the other modules are checked against have no ipvs: what stands here was read, not measured. */
export const UNVERIFIED = 'ipvs is modelled, not verified against a kernel';

/** `before`: the packet as it came to the last chains of the hook. */
type Next = (way: Way, packet: Packet, reroute: boolean, before: Packet) => readonly End[];

/** One packet where ipvs looks at it; `rest` is the hook behind it. */
interface Visit {
  readonly run: Run;
  readonly way: Way;
  readonly space: Space;
  readonly hook: Hook;
  readonly packet: Packet;
  readonly inner: Inner | null;
  readonly table: IpvsTable;
  rest(way: Way, packet: Packet): readonly End[];
}

/** A hook with ipvs in it; where the namespace has none it is the plain hook. Behind OUTPUT the destination is restored already. */
export function throughIpvs(
  run: Run,
  way: Way,
  space: Space,
  hook: Hook,
  packet: Packet,
  inner: Inner | null,
  next: Next,
): readonly End[] {
  const restored = (w: Way, p: Packet) =>
    hook === 'output' ? restoreDestination(w, space, p, packet) : { way: w, packet: p };
  const table = concerns(way, space, hook, packet) ? ipvsOf(space) : null;
  if (table === null)
    return hooked(run, way, space, hook, packet, (w, p, reroute) => {
      const back = restored(w, p);
      return next(back.way, back.packet, reroute, packet);
    });
  const [from] = PLACES[hook];
  const visit = (w: Way, p: Packet, reroute: boolean): readonly End[] => {
    const rest: Visit['rest'] = (v, q) =>
      hooked(run, v, space, hook, q, (x, y, again) => next(x, y, reroute || again, q), { from });
    return take({ run, ...restored(w, p), space, hook, inner, table, rest });
  };
  return hooked(run, way, space, hook, packet, visit, { below: from });
}

function concerns(way: Way, space: Space, hook: Hook, { proto, balanced }: Packet): boolean {
  if (balanced === true || (proto !== TCP && proto !== UDP && proto !== SCTP)) return false;
  return hook !== 'forward' || way.balanced.some((c) => c.space === space);
}

/** ip_vs_out(), then ip_vs_in(). */
function take(visit: Visit): readonly End[] {
  const { run, way, space, hook, packet, table } = visit;
  const known = way.balanced.filter((c) => c.space === space && c.proto === packet.proto);
  tell(run, visit, known.length > 0);
  const { src, sport, dst, dport } = packet;
  const answered = known.find((c) => is(c.real, src, sport) && is(c.client, dst, dport));
  if (answered !== undefined) return unordered(visit) ?? turnBack(visit, answered);
  if (hook === 'forward') return visit.rest(way, packet);
  const followed = known.find((c) => is(c.client, src, sport) && is(c.virtual, dst, dport));
  if (followed !== undefined) return unordered(visit) ?? give(visit, followed);
  // tcp_conn_schedule(): only a SYN opens a connection
  if (packet.proto === TCP && packet.tcp !== 'syn') return visit.rest(way, packet);
  if (table.gap !== null && mayBeService(visit)) return lost(way, table.gap, space, packet, 'ipvs');
  const service = table.find(packet);
  if (service === null) return visit.rest(way, packet);
  return unordered(visit) ?? schedule(visit, service);
}

const is = (end: Balanced['real'], addr: Addr, port: Port | null): boolean =>
  end.addr === addr && samePort(end.port, port);

/** Which other addresses ipvs would have treated alike. */
function tell(run: Run, { way, space, hook, packet, table }: Visit, connected: boolean): void {
  const watch = run.watch?.(space, way.answering !== null, hook, packet);
  if (watch === undefined) return;
  for (const base of table.addressesLike(packet))
    watch.see(packet.dst, { base, length: typeof base === 'number' ? 32 : 128 });
  if (!connected) return;
  watch.fix(packet.src);
  watch.fix(packet.dst);
}

/**
 * Where the services are not known: may this packet be for one? A tunnel's own is taken not to be. kube-proxy's are addresses of the node;
 * anybody else's need not be where the node itself is the client.
 */
function mayBeService({ way, space, hook, packet, inner }: Visit): boolean {
  if (inner !== null || way.answering !== null) return false;
  return hook === 'input' || space.owns(packet.dst) || space.device(KUBE_DEVICE) === undefined;
}

/** A chain of the same priority as ipvs comes before or after it, by which was registered first. */
function unordered({ way, space, hook, packet }: Visit): readonly End[] | null {
  const [first, last] = PLACES[hook];
  const chains = space.rules(typeof packet.dst === 'number' ? 4 : 6).chains(hook);
  const chain = chains.find((c) => c.type !== 'nat' && c.priority >= first && c.priority <= last);
  if (chain === undefined) return null;
  const because = `whether ${chain.name} (priority ${chain.priority}) of ${space.label} runs before ipvs is not known`;
  return lost(way, { because, evidence: [] }, space, packet, 'ipvs');
}

/** handle_response(): an answer gets the service's address for its source. */
function turnBack({ way, space, packet, rest }: Visit, conn: Balanced): readonly End[] {
  const { real, virtual } = conn;
  const text = `${endpoint(real.addr, real.port)} -> ${endpoint(virtual.addr, virtual.port)} (the answer of a real server; ${UNVERIFIED})`;
  const turned = add(way, step(space, 'ipvs', 'un-dnat', text, conn.cites));
  const back = { ...packet, src: virtual.addr, sport: virtual.port, balanced: true };
  return rest(turned, conn.tracked ? back : forgotten(back));
}

/** ip_vs_notrack(): connection tracking forgets the packet, where it had a connection for it. */
const forgotten = (packet: Packet): Packet =>
  packet.ct === null || packet.ct.state === 'INVALID' ? packet : untracked(packet);

/** ip_vs_schedule(): each real server that the scheduler may choose. */
function schedule(visit: Visit, service: VirtualServer): readonly End[] {
  const { run, way, space, packet } = visit;
  const unclear = service.odd ?? unfollowed(space, packet, service);
  if (unclear !== null) return lost(way, unclear, space, packet, 'ipvs');
  const found = scheduleOf(service);
  if ('because' in found) return lost(way, found, space, packet, 'ipvs');
  if (found.choices.length > run.maxWays) {
    const because = `the ipvs service ${service.name} has ${found.choices.length} real servers: too many ways to follow`;
    return lost(way, { because, evidence: [] }, space, packet, 'ipvs');
  }
  return found.choices.flatMap((choice) => {
    const shared = { ...way, probability: way.probability * choice.share, uneven: way.uneven || found.uneven };
    return choose({ ...visit, way: shared }, service, choice);
  });
}

/** Settings and kinds of services that do something else. */
function unfollowed(space: Space, packet: Packet, service: VirtualServer): Reason | null {
  for (const name of ['backup_only', 'drop_packet', ...(service.port === null ? ['cache_bypass'] : [])]) {
    const { value } = space.sysctl(`net/ipv4/vs/${name}`);
    if (value !== null && value !== 0)
      return { because: `what ipvs does with net.ipv4.vs.${name} = ${value} is not followed`, evidence: [] };
  }
  if (service.onePacket && packet.proto === UDP)
    return {
      because: `the ipvs service ${service.name} keeps no connections (ops), which is not followed`,
      evidence: [],
    };
  if (service.port === 0 && !service.persistent)
    return { because: `the ipvs service ${service.name} is for every port without persistence`, evidence: [] };
  return null;
}

function choose(visit: Visit, service: VirtualServer, { server }: Choice): readonly End[] {
  const { way, space, packet } = visit;
  if (server === null) {
    const because = `the ipvs service ${service.name} of ${space.label} has no real server with a weight above 0: the sender is refused (ICMP port unreachable; ${UNVERIFIED})`;
    return end(way, 'rejected', because, space, packet, 'ipvs', [service.cite, ...service.servers.map((s) => s.cite)]);
  }
  if (server.mode !== 'masq' || typeof server.addr !== typeof packet.dst) {
    const how = server.mode === 'route' ? 'direct routing' : server.mode === 'masq' ? 'another family' : server.mode;
    const because = `the ipvs service ${service.name} gives packets to ${endpoint(server.addr, server.port)} by ${how}, which is not followed`;
    return lost(way, { because, evidence: [] }, space, packet, 'ipvs');
  }
  return connect(visit, service, server);
}

/** ip_vs_conn_new(): connection tracking goes along only where net.ipv4.vs.conntrack says so. */
function connect(visit: Visit, service: VirtualServer, server: RealServer): readonly End[] {
  const { way, space, packet } = visit;
  const setting = space.sysctl('net/ipv4/vs/conntrack');
  const conn = (tracked: boolean): Balanced => ({
    space,
    proto: packet.proto,
    client: { addr: packet.src, port: packet.sport },
    virtual: { addr: packet.dst, port: packet.dport },
    real: { addr: server.addr, port: realPort(packet, service, server) },
    tracked,
    cites: [service.cite, server.cite, ...(setting.cite === null ? [] : [setting.cite])],
  });
  const begin = (w: Way, tracked: boolean) => {
    const one = conn(tracked);
    return give({ ...visit, way: { ...w, balanced: [...w.balanced, one] } }, one, ` by ${service.scheduler}`);
  };
  const truth = setting.value === null ? null : setting.value === 0 ? 0 : 1;
  const key = `ipvs conntrack ${space.id}`;
  return either(
    way,
    space,
    truth,
    key,
    setting.reason,
    (w) => begin(w, true),
    (w) => begin(w, false),
  );
}

/** The port of a real server counts for the service's own port, of a firewall mark for every port unless it is persistent. */
function realPort(packet: Packet, service: VirtualServer, server: RealServer): Port | null {
  const own = service.persistent ? packet.dport === service.port : service.port !== 0;
  return own && server.port !== 0 ? server.port : packet.dport;
}

/** ip_vs_nat_xmit(): the packet is for the real server now, and goes there, or on to a socket of the node. */
function give(visit: Visit, conn: Balanced, how = ''): readonly End[] {
  const { run, space, hook, inner, packet } = visit;
  const { real, virtual } = conn;
  const text = `${endpoint(virtual.addr, virtual.port)} -> ${endpoint(real.addr, real.port)}${how} (${UNVERIFIED})`;
  const way = add(visit.way, step(space, 'ipvs', 'dnat', text, conn.cites));
  const changed = { ...packet, dst: real.addr, dport: real.port, balanced: true };
  // ip_vs_update_conntrack(): the answer is expected from the real server, and nothing else of it is translated
  const tracked = { ...changed, ct: packet.ct === null ? null : { ...packet.ct, altered: true } };
  return run.toRealServer(way, space, conn.tracked ? tracked : forgotten(changed), inner, (w, p) => {
    const bad = hook === 'input' ? fromOutside(p) : oddRoute(space, packet);
    if (bad === null) return visit.rest(w, p);
    if (bad.drops) return end(w, 'dropped', bad.because, space, p, 'ipvs');
    return lost(w, { because: bad.because, evidence: [] }, space, p, 'ipvs');
  });
}

const fromOutside = ({ dst, iif }: Packet): { because: string; drops: boolean } | null =>
  isLoopback(dst) && iif !== 'lo'
    ? { because: `nothing that came in is given to a loopback address (${UNVERIFIED})`, drops: true }
    : null;

/** The packet keeps its route to the service although its destination is the node now. */
function oddRoute(space: Space, { dst }: Packet): { because: string; drops: boolean } | null {
  if (space.routing(typeof dst === 'number' ? 4 : 6).typeOf(dst).type === 'local') return null;
  return {
    because: `where ${space.label} sends a packet for a real server of its own by the route to a service elsewhere is not followed`,
    drops: false,
  };
}
