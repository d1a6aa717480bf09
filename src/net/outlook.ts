import { type Addr, parseAddr } from './addr.ts';
import { fdbOf } from './fdb.ts';
import { neighbourEntry } from './neighbour.ts';
import { ICMP, makePacket } from './packet.ts';
import type { Representative } from './representative.ts';
import type { RouteAnswer } from './routing.ts';
import { sourceIsValid } from './source.ts';
import type { Space } from './space.ts';
import { isUplink, type Port } from './wire.ts';

/** What other nodes have to know of a node to say whether their packets get to it: small, and plain JSON. */
export interface NodeFace {
  readonly id: string;
  readonly pod: number;
  /** As a place of the command line. */
  readonly place: string;
  /** Addresses of uplinks, each with its device's hardware address ('' where it is not known). */
  readonly underlay: readonly (readonly [addr: number, mac: string])[];
  readonly vteps: readonly {
    readonly mac: string;
    readonly vni: number;
    readonly port: number;
    readonly local: number;
  }[];
}

/** null: IPv6 only, or without an uplink. */
export function faceOf(pod: Representative): NodeFace | null {
  if (typeof pod.addr !== 'number') return null;
  const { host } = pod.space.node;
  const underlay = host.devices.list.flatMap((d) =>
    isUplink({ space: host, device: d }) && d.up !== false
      ? d.addresses.flatMap((a) => (typeof a.addr === 'number' ? [[a.addr, d.mac ?? ''] as const] : []))
      : [],
  );
  const vteps = host.devices.list.flatMap((d) => {
    const local = parseAddr(d.vxlan?.local ?? '');
    if (d.vxlan === null || d.mac === null || d.up === false || typeof local !== 'number') return [];
    return [{ mac: d.mac, vni: d.vxlan.vni, port: d.vxlan.dstPort, local }];
  });
  return { id: pod.node, pod: pod.addr, place: pod.place, underlay, vteps };
}

export interface Outward {
  readonly word: string;
  /** The tunnel's end; null: no tunnel. */
  readonly outer: number | null;
}

/**
 * How a node's tables send a pod's packet to another node's pod, as one word: two targets with the same word are sent alike, each to the
 * right node. null: something is out of the ordinary, only a trace tells.
 */
export function outwardTo(own: Representative, target: NodeFace): Outward | null {
  const { space } = own;
  const { host } = space.node;
  if (host.owns(target.pod) || space.owns(target.pod)) return null;
  const fromPod = single(space, target.pod, own.addr, 'lo');
  if (fromPod === null) return null;
  const bridge = bridgeSide(host, own.addr);
  const answer = bridge === null ? null : single(host, target.pod, own.addr, bridge);
  if (answer === null) return null;
  const device = host.device(answer.dev);
  if (device === undefined || device.up === false) return null;
  const start = `${fromPod.dev} ${fromPod.text} ${answer.dev} ${answer.mtu ?? device.mtu} ${answer.table} ${answer.via === null}`;
  const nexthop = answer.via ?? target.pod;
  if (device.kind === 'vxlan') return tunnelWord(host, answer.dev, nexthop, target, start);
  const port = { space: host, device };
  return isUplink(port) && reaches(port, nexthop, target) ? { word: `${start} direct`, outer: null } : null;
}

function tunnelWord(host: Space, dev: string, nexthop: Addr, target: NodeFace, start: string): Outward | null {
  const device = host.device(dev);
  const { entry } = neighbourEntry(host, dev, nexthop);
  const vxlan = device?.vxlan;
  if (!vxlan || entry?.mac == null || !/^(PERMANENT|REACHABLE|STALE|NOARP)$/.test(entry.state)) return null;
  const remotes = fdbOf(host, dev)?.byMac.get(entry.mac) ?? [];
  const [remote] = remotes;
  const dst = parseAddr(remote?.dst ?? '');
  if (remotes.length !== 1 || remote === undefined || typeof dst !== 'number') return null;
  const port = remote.port ?? vxlan.dstPort;
  const vni = remote.vni ?? vxlan.vni;
  if (!target.vteps.some((v) => v.mac === entry.mac && v.vni === vni && v.port === port)) return null;
  const local = parseAddr(vxlan.local ?? '');
  if (typeof local !== 'number') return null;
  const out = single(host, dst, local, 'lo');
  const under = out === null ? undefined : host.device(out.dev);
  if (out === null || under === undefined || under.up === false) return null;
  const uplink = { space: host, device: under };
  if (!isUplink(uplink) || !reaches(uplink, out.via ?? dst, target) || !target.underlay.some(([a]) => a === dst))
    return null;
  const word = `${start} vni ${vni} port ${port} by ${out.dev} ${out.mtu ?? under.mtu} ${out.via === null}`;
  return { word, outer: dst };
}

/** The next hop is the target's own uplink, and nothing says that its hardware address is another. */
function reaches({ space, device }: Port, nexthop: Addr, target: NodeFace): boolean {
  const own = target.underlay.find(([addr]) => addr === nexthop);
  if (own === undefined) return false;
  const { entry } = neighbourEntry(space, device.name, nexthop);
  return entry?.mac == null || own[1] === '' || entry.mac === own[1];
}

function single(space: Space, dst: Addr, src: Addr, iif: string): RouteAnswer | null {
  const answers = space
    .routing(4)
    .lookup({ dst, src, iif, oif: null, mark: 0, tos: 0, proto: ICMP, sport: null, dport: null });
  const [answer] = answers;
  return answers.length === 1 && answer?.type === 'unicast' ? answer : null;
}

/** The device by which the host has its pods. */
function bridgeSide(host: Space, pod: Addr): string | null {
  const route = single(host, pod, host.devices.addresses[0]?.addr ?? pod, 'lo');
  return route?.dev ?? null;
}

/** Do the namespaces on the way in take packets of this source, on each device that they come by? */
export function inwardFrom(own: Representative, source: NodeFace, doors: Doors): boolean {
  const { space } = own;
  const { host } = space.node;
  if (host.owns(source.pod)) return false;
  const inner = makePacket({ src: source.pod, dst: own.addr, proto: ICMP });
  if (sourceIsValid(host, doors.host, inner, doors.out).truth !== 1) return false;
  if (sourceIsValid(space, doors.pod, inner, null).truth !== 1) return false;
  if (doors.underlay === null) return true;
  return source.vteps.some(({ local }) => {
    const outer = makePacket({ src: local, dst: own.addr, proto: ICMP });
    return doors.underlay !== null && sourceIsValid(host, doors.underlay, outer, null).truth === 1;
  });
}

/** By which devices packets from other nodes come in. */
export interface Doors {
  /** Where the tunnel's packet arrives; null: there is no tunnel. */
  readonly underlay: string | null;
  readonly host: string;
  /** The bridge. */
  readonly out: string;
  readonly pod: string;
}
