import { type Addr, formatAddr, isMulticast } from './addr.ts';
import { answersFor } from './arp.ts';
import type { NetCluster } from './cluster.ts';
import { type Device, whyDown } from './devices.ts';
import { discovers, knownWhenItAsks } from './discovery.ts';
import type { Absence, Cite, Reason } from './doubt.ts';
import { fdbOf, floodRemotes } from './fdb.ts';
import { arpFilters } from './link-filters.ts';
import { type NeighbourEntry, neighbourEntry, noNeighbour } from './neighbour-table.ts';
import { type Judged, open } from './source.ts';
import type { Space } from './space.ts';
import { bridgeOf, isUplink, type Port, parentOrChild, peerOf, portsOf, uplinkOwners } from './wire.ts';

/** Who stands on the wire of a device: the ends that are in the evidence, and why there may be more. */
export interface Segment {
  readonly ends: readonly Port[];
  /** Frames also leave by an uplink of this device: other nodes and the outside. */
  readonly uplink: Port | null;
  /** Set: there are ends that the evidence does not show. */
  readonly open: Reason | null;
}

/** Every device that gets a broadcast sent by `port` from inside its namespace. */
export function segmentOf(port: Port): Segment {
  return port.space.once(`segment ${port.device.name}`, () => {
    const walk = new Flood();
    walk.send(port, 0);
    return { ends: walk.ends, uplink: walk.uplink, open: walk.open };
  });
}

class Flood {
  readonly ends: Port[] = [];
  uplink: Port | null = null;
  open: Reason | null = null;

  send(port: Port, depth: number): void {
    const { space, device } = port;
    if (device.kind === 'bridge') this.#bridge(space, device, null, depth);
    else if (isUplink(port)) this.uplink ??= port;
    else if (device.kind === 'veth' || device.peerIndex !== null) this.#peer(port, depth);
    else
      this.open ??= {
        because: `what is behind ${device.name} (${device.kind || 'a device'}) of ${space.label} is not followed`,
        evidence: [],
      };
  }

  #peer(port: Port, depth: number): void {
    const peer = peerOf(port);
    if (peer.kind === 'ambiguous') this.open ??= peer.reason;
    else if (peer.kind === 'elsewhere')
      this.open ??= {
        because: `the namespace at the other end of ${port.device.name} of ${port.space.label} was not collected`,
        evidence: ['netns.index'],
      };
    else this.#arrive(peer.port, depth + 1);
  }

  #arrive(port: Port, depth: number): void {
    if (whyDown(port.device) !== null) return;
    const bridge = bridgeOf(port);
    if (bridge === null) {
      this.ends.push(port);
      return;
    }
    if (!forwardsFrames(port.device)) return;
    if (bridge.up !== false) this.ends.push({ space: port.space, device: bridge });
    this.#bridge(port.space, bridge, port.device, depth);
  }

  #bridge(space: Space, bridge: Device, from: Device | null, depth: number): void {
    if (bridge.up === false || depth > 8) return;
    // ports that the list of devices lacks
    this.open ??= space.devices.gap;
    if (bridge.bridge.vlanFiltering === true) {
      this.open ??= {
        because: `VLAN filtering of ${bridge.name} on ${space.label} is not followed`,
        evidence: ['bridge.vlan-json'],
      };
      return;
    }
    for (const to of portsOf(space, bridge.name)) {
      if (to === from || whyDown(to) !== null || !forwardsFrames(to)) continue;
      if (from?.port.isolated === true && to.port.isolated === true) continue;
      this.send({ space, device: to }, depth + 1);
    }
  }
}

/** Bridge ports that spanning tree or an administrator has blocked forward nothing. */
export const forwardsFrames = (port: Device): boolean =>
  port.port.state === undefined || port.port.state === 'forwarding' || port.port.state === 'learning';

export type Resolved =
  /** Sent to this hardware address; `entry` from the neighbour table. */
  | { readonly kind: 'mac'; readonly mac: string; readonly cites: readonly Cite[] }
  /** This device answers, or would. */
  | { readonly kind: 'port'; readonly port: Port; readonly cites: readonly Cite[] }
  /** Leaves by the uplink to somebody who is not in the evidence. */
  | { readonly kind: 'outside'; readonly uplink: Port; readonly failed: NeighbourEntry | null }
  | { readonly kind: 'nobody'; readonly because: string; readonly cites: readonly (Cite | Absence)[] }
  | { readonly kind: 'unknown'; readonly reason: Reason };

const USABLE = new Set(['PERMANENT', 'REACHABLE', 'STALE', 'DELAY', 'PROBE', 'NOARP']);

/**
 * The hardware address for a next hop on a device: from the neighbour table, else from whoever would answer. Several answers where more
 * than one device does (the same address twice).
 */
export function resolve(cluster: NetCluster, port: Port, nexthop: Addr, asker: Addr | null): readonly Resolved[] {
  const { space, device } = port;
  const { entry, gap } = neighbourEntry(space, device.name, nexthop);
  if (entry !== undefined && entry.mac !== null && USABLE.has(entry.state)) {
    // what was learnt can be asked again; what an administrator or flannel put there cannot
    return [{ kind: 'mac', mac: entry.mac, cites: [entry.cite] }];
  }
  if (isMulticast(nexthop))
    return [{ kind: 'unknown', reason: { because: 'multicast is not followed', evidence: [] } }];
  if (device.kind === 'vxlan') return [vxlanNeighbour(port, nexthop, entry, gap)];
  const segment = segmentOf(port);
  const failed = entry !== undefined && (entry.state === 'FAILED' || entry.state === 'INCOMPLETE') ? entry : null;
  const answering: Port[] = [];
  const silent: { because: string; cites: readonly Cite[] }[] = [];
  const answers = (end: Port): Judged => {
    const judged = answersOn(port, end, nexthop, asker);
    // what the rules leave open the neighbour table has seen
    return judged.truth === null && failed !== null
      ? { ...judged, truth: 0, cites: [...judged.cites, failed.cite] }
      : judged;
  };
  for (const end of segment.ends) {
    const answer = answers(end);
    if (answer.truth === 1) answering.push(end);
    else if (answer.truth === null) return [{ kind: 'unknown', reason: answer.reason }];
    else if (end.space.devices.own.has(nexthop)) silent.push(answer);
  }
  if (segment.uplink !== null) {
    for (const end of uplinkOwners(cluster, nexthop, segment.uplink)) {
      const answer = answers(end);
      if (answer.truth === 1) answering.push(end);
      else if (answer.truth === null) return [{ kind: 'unknown', reason: answer.reason }];
      else silent.push(answer);
    }
  }
  if (answering.length > 0) return answering.map((end) => ({ kind: 'port', port: end, cites: [] }));
  const first = silent[0];
  if (first !== undefined)
    return [
      {
        kind: 'nobody',
        because: `nobody answers for ${formatAddr(nexthop)} on ${device.name}: ${first.because}`,
        cites: first.cites,
      },
    ];
  if (segment.uplink !== null) {
    const apart = parentOrChild(cluster, nexthop, segment.uplink);
    if (apart !== undefined) {
      const because = `nobody answers for ${formatAddr(nexthop)} on ${device.name}: a macvlan and the device that it stands on do not reach each other`;
      return [{ kind: 'nobody', because, cites: [device.cite, apart.device.cite] }];
    }
    return [{ kind: 'outside', uplink: segment.uplink, failed }];
  }
  // whose addresses are not known may be the one
  const unread = segment.ends.find((end) => end.space.devices.gap !== null)?.space.devices.gap ?? null;
  if (unread !== null && failed === null) return [{ kind: 'unknown', reason: unread }];
  const absence = failed === null ? noNeighbour(space, device.name, nexthop) : null;
  const cites = failed !== null ? [failed.cite] : absence === null ? [] : [absence];
  if (segment.open !== null && failed === null) return [{ kind: 'unknown', reason: segment.open }];
  return [
    {
      kind: 'nobody',
      because: `nobody answers for ${formatAddr(nexthop)} on ${device.name}`,
      cites: [device.cite, ...cites],
    },
  ];
}

/** Does somebody on the wire answer for the address, or is he known without that? */
function answersOn(port: Port, end: Port, addr: Addr, asker: Addr | null): Judged {
  const own = answersFor(end.space, end.device.name, addr, asker);
  if (own.truth === 0 && typeof asker === 'number' && end.space.devices.own.has(addr) && whyDown(end.device) === null) {
    // arp_process(): who answers a question knows its sender from then on, who keeps silent himself may ask all the same
    const heard = answersFor(port.space, port.device.name, asker, addr);
    return heard.truth === 0 ? own : { ...own, truth: null, reason: knownWhenItAsks(own.because) };
  }
  if (own.truth !== 1) return own;
  const filters = typeof addr === 'number' ? (arpFilters(port.space) ?? arpFilters(end.space)) : null;
  if (filters !== null) return open(filters);
  const { passes, because, reason } = discovers(port, end, addr, asker);
  return passes === 1 ? own : { truth: passes, because, cites: [], reason };
}

/**
 * The source of the question for a next hop: the packet's own when the node may speak for it; else for IPv4 the one that routing picks, for
 * IPv6 the device's link-local address (ndisc_solicit), which is null here.
 */
export function askerOf({ space, device }: Port, src: Addr, nexthop: Addr): Addr | null {
  if (typeof nexthop === 'bigint') return device.addresses.some((a) => a.addr === src) ? src : null;
  return space.devices.own.has(src) ? src : space.routing(4).sourceAddress(device.name, nexthop, nexthop).addr;
}

/** Nothing of such a tunnel need be there before it is needed. */
export const writtenWhenMissed = ({ space, device }: Port): Reason => ({
  because: `${device.name} of ${space.label} tells a process what it misses (l2miss, l3miss); what that writes then is not in the evidence`,
  evidence: [],
});

/** flannel writes neighbours of its tunnel itself: what is not there is asked for in the tunnel, where nobody answers [V28]. */
function vxlanNeighbour(port: Port, nexthop: Addr, entry: NeighbourEntry | undefined, gap: Reason | null): Resolved {
  const { space, device } = port;
  if (entry === undefined && gap !== null) return { kind: 'unknown', reason: gap };
  if (entry === undefined && device.vxlan?.misses === true) return { kind: 'unknown', reason: writtenWhenMissed(port) };
  const floods = floodRemotes(space, device.name);
  if (floods === null || (floods.length === 0 && fdbOf(space, device.name)?.closed !== true))
    return {
      kind: 'unknown',
      reason: {
        because: `the forwarding entries of ${space.label} were not collected${floods === null ? '' : ' whole'}`,
        evidence: ['bridge.fdb'],
      },
    };
  if (floods.length > 0 || device.vxlan?.group !== undefined || device.vxlan?.remote !== undefined)
    return {
      kind: 'unknown',
      reason: {
        because: `${formatAddr(nexthop)} is asked for in the tunnel ${device.name}; who answers there is not followed`,
        evidence: [],
      },
    };
  const absence = noNeighbour(space, device.name, nexthop);
  const proof = entry === undefined ? (absence === null ? [] : [absence]) : [entry.cite];
  return {
    kind: 'nobody',
    because: `no neighbour entry for ${formatAddr(nexthop)} on ${device.name}, and the tunnel has nobody to ask`,
    cites: proof,
  };
}
