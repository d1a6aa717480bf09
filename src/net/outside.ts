import { type Addr, contains, formatAddr, isLinkLocal, type Net, parseAddr, parseNet } from './addr.ts';
import type { Device } from './devices.ts';
import { findsOut } from './discovery.ts';
import type { Cite } from './doubt.ts';
import { fdbOf } from './fdb.ts';
import { type NeighbourEntry, neighbourEntry } from './neighbour-table.ts';
import { endpoint, formatPort, type Packet, samePort } from './packet.ts';
import { keyTo } from './policy.ts';
import { end, type Inner, lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import { add, closeLeg, type End, step, type Way } from './way.ts';
import { bridgeOf, type Port } from './wire.ts';

const PRIVATE: readonly Net[] = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '198.18.0.0/15',
].map((text) => parseNet(text) as Net);
const UNIQUE_LOCAL = parseNet('fc00::/7', 6) as Net;

/** Can it be anywhere but in the network of whoever asks? */
export const isPrivate = (addr: Addr): boolean =>
  isLinkLocal(addr) ||
  (typeof addr === 'number' ? PRIVATE.some((n) => contains(n, addr)) : contains(UNIQUE_LOCAL, addr));

/**
 * The packet leaves the evidence by an uplink. `delivered` only when what is outside can be taken to be there and can answer; else unknown
 * with the reason.
 */
export function leaveEvidence(
  run: Run,
  way: Way,
  uplink: Port,
  packet: Packet,
  nexthop: Addr,
  inner: Inner | null,
  failed: NeighbourEntry | null,
): readonly End[] {
  const { space } = uplink;
  // a bridge to the network has the addresses and neighbours, its port has none
  const device = bridgeOf(uplink) ?? uplink.device;
  const place = `neighbour ${device.name}`;
  const hop = formatAddr(nexthop);
  if (failed !== null) {
    const because = `nobody answered for ${hop} on ${device.name} when ${space.label} was collected (neighbour ${failed.state})`;
    return end(way, 'dropped', because, space, packet, place, [failed.cite]);
  }
  const stop = (because: string, evidence: readonly string[] = []) =>
    lost(way, { because, evidence }, space, packet, `outside ${device.name}`);
  if (inner !== null) return stop(`the tunnel end ${hop} belongs to no collected node`);
  const { answering } = way;
  if (answering !== null) return answerLeaves(way, { space, device }, packet, nexthop, stop);
  const owners = run.cluster.owners(packet.dst);
  if (owners.length > 0)
    return stop(
      `${formatAddr(packet.dst)} is on ${owners[0]?.node}, but the packet leaves to ${hop}, which was not collected`,
    );
  const direct = nexthop === packet.dst;
  const { host } = space.node;
  if (isTunnelEnd(host, nexthop) || (direct && isNextHop(host, nexthop)))
    return stop(`${hop}, a next hop or tunnel end of ${space.label}, was not collected`);
  const seen = neighbourSeen(space, device.name, nexthop);
  // a default gateway is taken to be there for what it is to pass on; of itself only its neighbours can tell
  if (seen === null && (direct || !isGateway(space, device.name, nexthop)))
    return stop(nobodyKnown(device.name, nexthop), ['ip.neigh']);
  if (!direct && isPrivate(packet.dst))
    return stop(`whether the router ${hop} has a way to ${formatAddr(packet.dst)} is not in the evidence`);
  const back = answerable(space, device.name, packet.src);
  if (back !== null) return stop(back);
  const unheard = findsOut({ space, device }, packet.src);
  if (unheard !== null)
    return stop(`whether ${hop} still finds ${formatAddr(packet.src)} on its network is not known: ${unheard}`);
  if (way.following !== null && way.following.server === null)
    return end(way, 'delivered', `${formatAddr(packet.dst)} gets it`, null, packet);
  const text = `leaves ${space.label} by ${device.name} ${direct ? 'to' : `for ${formatAddr(packet.dst)} by`} ${hop} with the source ${endpoint(packet.src, null)}`;
  const left = add(way, step(space, `outside ${device.name}`, 'deliver', text, [device.cite, seen]));
  return end({ ...left, legs: closeLeg(left.legs, null, packet) }, 'delivered', text, null, packet);
}

/** The answer to somebody outside: it must come from whom he asked. */
function answerLeaves(
  way: Way,
  { space, device }: Port,
  packet: Packet,
  nexthop: Addr,
  stop: (because: string, evidence?: readonly string[]) => readonly End[],
): readonly End[] {
  const leg = way.answering;
  if (leg === null) return [];
  if (leg.client !== null) {
    const because = `the answer to ${formatAddr(packet.dst)} leaves ${space.label} to ${formatAddr(nexthop)}, which was not collected`;
    return stop(because);
  }
  if (packet.dst !== leg.sent.src)
    return stop(`the answer goes to ${formatAddr(packet.dst)}, not to ${formatAddr(leg.sent.src)}`);
  if (packet.src !== leg.sent.dst || String(packet.sport) !== String(leg.sent.dport)) {
    const because = `the client asked ${endpoint(leg.sent.dst, leg.sent.dport)} and would get an answer from ${endpoint(packet.src, packet.sport)}: it resets the connection`;
    return end(way, 'dropped', because, space, packet, `client behind ${device.name}`, [device.cite]);
  }
  if (!samePort(packet.dport, leg.sent.sport)) {
    const because = `the answer goes to port ${formatPort(packet.dport)}, to which the source port was translated; the client used ${formatPort(leg.sent.sport)}`;
    return end(way, 'dropped', because, space, packet, `client behind ${device.name}`, [device.cite]);
  }
  const unreached = clientUnreached(space, device, packet.dst, nexthop);
  if (unreached !== null) return stop(unreached, ['ip.neigh']);
  const text = `the answer leaves ${space.label} by ${device.name} to ${formatAddr(leg.sent.src)}`;
  return end(
    add(way, step(space, `outside ${device.name}`, 'deliver', text, [device.cite])),
    'delivered',
    text,
    null,
    packet,
  );
}

const nobodyKnown = (dev: string, addr: Addr): string =>
  `whether there is a host ${formatAddr(addr)} on the network of ${dev} is not in the evidence`;

/**
 * Why the answer may not get to the client, who is there, for he asked; null: it does. His own network has him, and the default gateway
 * has a way to that network and to public addresses.
 */
function clientUnreached(space: Space, device: Device, client: Addr, nexthop: Addr): string | null {
  const near = device.addresses.some((a) => contains(a.net, client));
  const known = neighbourSeen(space, device.name, nexthop) !== null;
  if (nexthop === client) return near || known ? null : nobodyKnown(device.name, client);
  const gateway = isGateway(space, device.name, nexthop);
  if (!known && !gateway) return nobodyKnown(device.name, nexthop);
  return (gateway && near) || !isPrivate(client)
    ? null
    : `whether the router ${formatAddr(nexthop)} has a way to ${formatAddr(client)} is not in the evidence`;
}

/** Why nobody outside could answer this source; null: somebody on the wire can. */
function answerable(space: Space, dev: string, src: Addr): string | null {
  const own = space.devices.own.get(src);
  if (own !== undefined && own.dev === dev) return null;
  if (own !== undefined && space.device(dev)?.addresses.some((a) => contains(a.net, src))) return null;
  if (!isPrivate(src))
    return own === undefined
      ? `whether the outside sends answers for ${formatAddr(src)} to ${space.label} is not in the evidence`
      : null;
  return `whether the network behind ${dev} has a route back to ${formatAddr(src)} is not in the evidence`;
}

/** Is it where tunnels end? What such a node does with a packet its own evidence would tell. */
function isTunnelEnd(space: Space, addr: Addr): boolean {
  const ends = space.once('tunnel ends', () => {
    const remotes = space.devices.list.flatMap((d) => (d.vxlan === null ? [] : (fdbOf(space, d.name)?.entries ?? [])));
    return new Set<Addr>(remotes.flatMap((e) => (e.dst === null ? [] : (parseAddr(e.dst) ?? []))));
  });
  return ends.has(addr);
}

/** The same of routes to particular networks, such as other nodes' pods. */
function isNextHop(space: Space, addr: Addr): boolean {
  const family = typeof addr === 'number' ? 4 : 6;
  return space.once(`next hops ${family}`, () => new Set<Addr>(space.routing(family).gateways)).has(addr);
}

function neighbourSeen(space: Space, dev: string, addr: Addr): Cite | null {
  const { entry } = neighbourEntry(space, dev, addr);
  return entry === undefined || entry.mac === null ? null : entry.cite;
}

function isGateway(space: Space, dev: string, addr: Addr): boolean {
  const anywhere = typeof addr === 'number' ? 0x01010101 : 0x20010db8n << 96n;
  const routes = space.routing(typeof addr === 'number' ? 4 : 6).lookup(keyTo(anywhere));
  return routes.some((route) => route.type === 'unicast' && route.via === addr && route.dev === dev);
}
