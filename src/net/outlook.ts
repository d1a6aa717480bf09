import type { VxlanAttributes } from '../facts/index.ts';
import { type Addr, parseAddr } from './addr.ts';
import { answersPlainly } from './arp.ts';
import { type Device, whyDown } from './devices.ts';
import type { NodeFace } from './face.ts';
import { type DeviceFdb, fdbOf } from './fdb.ts';
import { neighboursOn } from './neighbour-table.ts';
import { ICMP } from './packet.ts';
import { keyTo } from './policy.ts';
import type { Representative } from './representative.ts';
import { sourceGate } from './source.ts';
import type { Space } from './space.ts';
import { isUplink, type Port } from './wire.ts';

/** How a node's tables send a pod's packet to another node's pod. */
export interface Outward {
  /** In the pod's namespace, then on the host. */
  readonly fromPod: Hop;
  readonly onHost: Hop;
  readonly tunnel: Tunnel | null;
}

interface Tunnel {
  readonly vni: number;
  readonly port: number;
  /** The other end. */
  readonly remote: number;
  readonly under: Hop;
}

/** A route's answer. `same`: equal for the same route and next hop. */
interface Hop {
  readonly same: object | string;
  readonly dev: string;
  readonly via: Addr | null;
  readonly mtu: number | null;
  readonly table: string;
}

/** Two targets that are sent alike, each to the right node. */
export function alike(a: Outward, b: Outward): boolean {
  return a.fromPod.same === b.fromPod.same && through(a.onHost, b.onHost) && sameTunnel(a.tunnel, b.tunnel);
}

const through = (a: Hop, b: Hop): boolean =>
  a.dev === b.dev && a.mtu === b.mtu && a.table === b.table && (a.via === null) === (b.via === null);

function sameTunnel(a: Tunnel | null, b: Tunnel | null): boolean {
  if (a === null || b === null) return a === b;
  return a.vni === b.vni && a.port === b.port && through(a.under, b.under);
}

/** What one node's tables say of very many others. */
export class Outlook {
  readonly #own: Representative;
  readonly #host: Space;
  /** The device by which the host has its pods; null: none, or not known. */
  readonly #bridge: string | null;
  readonly #tunnels = new Map<Device, TunnelDevice | null>();

  constructor(own: Representative) {
    this.#own = own;
    this.#host = own.space.node.host;
    const start = this.#host.devices.addresses[0]?.addr ?? own.addr;
    // what a macvlan sends does not pass the host
    const dev = own.space.device(own.space.devices.own.get(own.addr)?.dev ?? '');
    this.#bridge = dev?.kind === 'macvlan' ? null : (hopTo(this.#host, own.addr, start, 'lo')?.dev ?? null);
  }

  /** The way to a target; null: something is out of the ordinary, only a trace tells. */
  towards(target: NodeFace): Outward | null {
    const { space, addr } = this.#own;
    const host = this.#host;
    if (host.owns(target.pod) || space.owns(target.pod)) return null;
    const fromPod = hopTo(space, target.pod, addr, 'lo');
    if (fromPod === null || this.#bridge === null) return null;
    const onHost = hopTo(host, target.pod, addr, this.#bridge);
    const device = onHost === null ? undefined : host.device(onHost.dev);
    if (onHost === null || device === undefined || whyDown(device) !== null) return null;
    const nexthop = onHost.via ?? target.pod;
    if (device.kind === 'vxlan') {
      const own = this.#tunnel(device);
      const tunnel = own === null ? null : tunnelTo(host, own, nexthop, target);
      return tunnel === null ? null : { fromPod, onHost, tunnel };
    }
    const port = { space: host, device };
    return isUplink(port) && reaches(port, nexthop, target) ? { fromPod, onHost, tunnel: null } : null;
  }

  /** Do the namespaces on the way in take packets of a source, on each device that they come by? */
  gate(doors: Doors): (source: NodeFace) => boolean {
    const host = this.#host;
    const { space, addr } = this.#own;
    if (!answersPlainly(host, doors.underlay ?? doors.host)) return () => false;
    const atHost = sourceGate(host, doors.host, doors.out, addr);
    const atPod = sourceGate(space, doors.pod, null, addr);
    const below = doors.underlay === null ? null : sourceGate(host, doors.underlay, null, addr);
    return ({ pod, vteps }) => {
      if (host.owns(pod) || !atHost(pod) || !atPod(pod)) return false;
      return below === null || vteps.some(({ local }) => below(local));
    };
  }

  #tunnel(device: Device): TunnelDevice | null {
    let tunnel = this.#tunnels.get(device);
    if (tunnel === undefined) {
      tunnel = tunnelDevice(this.#host, device);
      this.#tunnels.set(device, tunnel);
    }
    return tunnel;
  }
}

/** A vxlan device, and what is asked of it for each target. */
interface TunnelDevice {
  readonly vxlan: VxlanAttributes;
  readonly local: number;
  readonly fdb: DeviceFdb;
  readonly neighbours: ReturnType<typeof neighboursOn>;
}

function tunnelDevice(host: Space, { name, vxlan }: Device): TunnelDevice | null {
  const local = parseAddr(vxlan?.local ?? '');
  const fdb = fdbOf(host, name);
  if (vxlan === null || fdb === null || typeof local !== 'number') return null;
  return { vxlan, local, fdb, neighbours: neighboursOn(host, name) };
}

const SENDS: ReadonlySet<string> = new Set(['PERMANENT', 'REACHABLE', 'STALE', 'NOARP']);

function tunnelTo(host: Space, own: TunnelDevice, nexthop: Addr, target: NodeFace): Tunnel | null {
  const { vxlan, local, fdb, neighbours } = own;
  const entry = neighbours?.get(nexthop);
  if (entry?.mac == null || !SENDS.has(entry.state)) return null;
  const remotes = fdb.byMac.get(entry.mac);
  const remote = remotes?.[0];
  if (remotes?.length !== 1 || remote === undefined) return null;
  const port = remote.port ?? vxlan.dstPort;
  const vni = remote.vni ?? vxlan.vni;
  if (!target.vteps.some((v) => v.mac === entry.mac && v.vni === vni && v.port === port)) return null;
  const dst = parseAddr(remote.dst ?? '');
  if (typeof dst !== 'number') return null;
  const under = hopTo(host, dst, local, 'lo');
  const lower = under === null ? undefined : host.device(under.dev);
  if (under === null || lower === undefined || whyDown(lower) !== null) return null;
  const uplink = { space: host, device: lower };
  if (!isUplink(uplink) || !reaches(uplink, under.via ?? dst, target) || !target.underlay.some(([a]) => a === dst))
    return null;
  return { vni, port, remote: dst, under };
}

/** The next hop is the target's own uplink, and nothing says that its hardware address is another. */
function reaches({ space, device }: Port, nexthop: Addr, target: NodeFace): boolean {
  const own = target.underlay.find(([addr]) => addr === nexthop);
  if (own === undefined) return false;
  const entry = neighboursOn(space, device.name)?.get(nexthop);
  return entry?.mac == null || own[1] === '' || entry.mac === own[1];
}

/** The only answer, when it is a unicast route. */
function hopTo(space: Space, dst: Addr, src: Addr, iif: string): Hop | null {
  const routing = space.routing(4);
  const plain = routing.plainHop(dst);
  if (plain !== null) {
    const { hop, route, table } = plain;
    return { same: hop, dev: hop.dev, via: hop.via, mtu: route.mtu ?? mtuOf(space, hop.dev), table };
  }
  const answers = routing.lookup({ ...keyTo(dst), src, iif, proto: ICMP });
  const [answer] = answers;
  if (answers.length !== 1 || answer?.type !== 'unicast') return null;
  const { dev, via, table } = answer;
  return { same: `${dev} ${answer.text}`, dev, via, mtu: answer.mtu ?? mtuOf(space, dev), table };
}

const mtuOf = (space: Space, dev: string): number | null => space.device(dev)?.mtu ?? null;

/** By which devices packets from other nodes come in. */
export interface Doors {
  /** Where the tunnel's packet arrives; null: there is no tunnel. */
  readonly underlay: string | null;
  readonly host: string;
  /** The bridge. */
  readonly out: string;
  readonly pod: string;
}
