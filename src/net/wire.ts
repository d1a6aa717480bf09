import type { NetCluster } from './cluster.ts';
import { type Device, whyDown } from './devices.ts';
import type { Reason } from './doubt.ts';
import type { Space } from './space.ts';

/** A device of a namespace. */
export interface Port {
  readonly space: Space;
  readonly device: Device;
}

/** Where the other end of a veth is. */
export type Peer =
  | { readonly kind: 'peer'; readonly port: Port }
  /** Its namespace is not in the evidence. */
  | { readonly kind: 'elsewhere' }
  /** Several devices could be it. */
  | { readonly kind: 'ambiguous'; readonly reason: Reason };

/** The other end of a veth among the namespaces of its node: both name each other's index [V58, V81]. */
export function peerOf({ space, device }: Port): Peer {
  return space.once(`peer ${device.name}`, () => findPeer(space, device));
}

function findPeer(space: Space, device: Device): Peer {
  const candidates: Port[] = [];
  for (const other of space.node.spaces) {
    // a pair within one namespace is named, not numbered by a namespace id
    const here = other === space;
    if (here && (device.netnsId !== null || device.netnsName !== null)) continue;
    if (!here && device.netnsId === null && device.netnsName === null && device.peerIndex === null) continue;
    if (here) {
      const named = device.peerName === null ? undefined : other.device(device.peerName);
      const byIndex = device.peerIndex === null ? undefined : other.devices.byIndex.get(device.peerIndex);
      const peer = named ?? byIndex;
      if (peer !== undefined && peer !== device && isVeth(peer) && device.netnsId === null)
        candidates.push({ space: other, device: peer });
      continue;
    }
    if (device.peerIndex === null || device.index === 0) continue;
    const peer = other.devices.byIndex.get(device.peerIndex);
    if (peer !== undefined && isVeth(peer) && peer.peerIndex === device.index)
      candidates.push({ space: other, device: peer });
  }
  if (candidates.length === 0) return { kind: 'elsewhere' };
  if (candidates.length === 1) return { kind: 'peer', port: candidates[0] as Port };
  const narrowed = byNamespaceId(space, device, candidates);
  if (narrowed.length === 1) return { kind: 'peer', port: narrowed[0] as Port };
  const evidence = space.inode === null ? ['ip.nsid-json', 'ip.link'] : ['netns.link-json'];
  return {
    kind: 'ambiguous',
    reason: { because: `which namespace ${device.name} of ${space.label} leads to is not known`, evidence },
  };
}

const isVeth = (d: Device): boolean => d.kind === 'veth' || (d.kind === '' && d.peerIndex !== null);

/** Devices of this namespace with the same namespace id lead to the same namespace. */
function byNamespaceId(space: Space, device: Device, candidates: readonly Port[]): readonly Port[] {
  const name = device.netnsName;
  if (name !== null) {
    const pinned = candidates.filter((c) => pinOf(c.space)?.endsWith(`/${name}`) === true);
    if (pinned.length > 0) return pinned;
  }
  const same = (a: Device, b: Device) => a.netnsId === b.netnsId && a.netnsName === b.netnsName;
  // a namespace that another id of ours leads to without doubt is not this one
  const taken = new Set<Space>();
  for (const other of space.devices.list) {
    if (other === device || !isVeth(other) || same(other, device)) continue;
    const ends = space.node.spaces.filter((s) => {
      const peer = other.peerIndex === null ? undefined : s.devices.byIndex.get(other.peerIndex);
      return s !== space && peer !== undefined && peer.peerIndex === other.index;
    });
    if (ends.length === 1) taken.add(ends[0] as Space);
  }
  return candidates.filter((c) => !taken.has(c.space));
}

function pinOf(space: Space): string | undefined {
  const index = space.node.facts.get('netnsIndex');
  if (index.missing) return undefined;
  return index.value.namespaces.find((n) => n.inode === space.inode)?.pin;
}

/** Ports of a bridge (or of a bond). */
export function portsOf(space: Space, master: string): readonly Device[] {
  return space.once(`ports ${master}`, () => space.devices.list.filter((d) => d.master === master));
}

/** The bridge that a device is a port of. */
export function bridgeOf({ space, device }: Port): Device | null {
  if (device.master === null) return null;
  const master = space.device(device.master);
  return master !== undefined && master.kind === 'bridge' ? master : null;
}

/** The host's device that a namespace's macvlan stands on: its frames pass that one's wire and nothing else of the host [V55]. */
export function parentOf({ space, device }: Port): Port | null {
  if (device.kind !== 'macvlan' || space.inode === null || device.peerIndex === null) return null;
  const { host } = space.node;
  const parent = host.devices.byIndex.get(device.peerIndex);
  return parent === undefined ? null : { space: host, device: parent };
}

/** Of these owners of an address the one that `from` does not reach, for one of the two is a macvlan on the other. */
export function parentOrChild(
  cluster: NetCluster,
  addr: Parameters<NetCluster['owners']>[0],
  from: Port,
): Port | undefined {
  const parent = parentOf(from);
  for (const owner of cluster.owners(addr)) {
    const node = cluster.node(owner.node);
    const space = owner.inode === null ? node?.host : node?.space(owner.inode);
    const device = space?.device(owner.dev);
    if (space === undefined || device === undefined) continue;
    const above = parent ?? parentOf({ space, device });
    const below = parent === null ? from : { space, device };
    if (above?.space === below.space && above.device === below.device) return { space, device };
  }
  return undefined;
}

const UPLINKS = new WeakMap<Device, boolean>();

/**
 * Is it where frames leave the evidence: a network card, a VLAN or bond of one, a macvlan on one, or a veth of a namespace that no bridge
 * of it has (a node that is itself a container or a lab)?
 */
export function isUplink(port: Port): boolean {
  const { device } = port;
  const known = UPLINKS.get(device);
  if (known !== undefined) return known;
  const found = uplink(port);
  UPLINKS.set(device, found);
  return found;
}

function uplink({ space, device }: Port): boolean {
  switch (device.kind) {
    case 'lo':
    case 'vxlan':
    case 'dummy':
    case 'ifb':
    case 'tun':
    case 'tap':
    case 'wireguard':
    case 'ipip':
    case 'sit':
    case 'gre':
    case 'gretap':
    case 'geneve':
    case 'ipvlan':
    case 'macvtap':
    case 'vti':
    case 'xfrm':
      return false;
    case 'macvlan': {
      const parent = device.macvlanMode === 'bridge' ? parentOf({ space, device }) : null;
      if (parent === null || whyDown(parent.device) !== null || parent.device.master !== null) return false;
      return parent.device.kind !== 'bridge' && isUplink(parent);
    }
    case 'bridge':
      return portsOf(space, device.name).some((d) => isUplink({ space, device: d }));
    default:
      break;
  }
  if (!isVeth(device))
    return device.kind === '' || device.kind === 'vlan' || device.kind === 'bond' || device.kind === 'team';
  const peer = peerOf({ space, device });
  if (peer.kind === 'peer') return false;
  // a port of a bridge without a known end leads to a container that was not collected
  return device.master === null && space.inode === null;
}

/** Devices of other namespaces that stand on the same wire as an uplink, by address. */
export function uplinkOwners(
  cluster: NetCluster,
  addr: Parameters<NetCluster['owners']>[0],
  from: Port,
): readonly Port[] {
  return portsOfOwners(cluster, cluster.owners(addr), from);
}

/** The same by hardware address. */
export function uplinkMacs(cluster: NetCluster, mac: string, from: Port): readonly Port[] {
  const ports = portsOfOwners(cluster, cluster.macOwners(mac), from);
  // a bridge takes the address of its port: the bridge is the one that receives
  const bridges = ports.filter((p) => p.device.kind === 'bridge');
  return ports.filter(
    (p) => p.device.master === null || !bridges.some((b) => b.space === p.space && b.device.name === p.device.master),
  );
}

function portsOfOwners(cluster: NetCluster, owners: ReturnType<NetCluster['owners']>, from: Port): readonly Port[] {
  const found: Port[] = [];
  for (const owner of owners) {
    const node = cluster.node(owner.node);
    const space = owner.inode === null ? node?.host : node?.space(owner.inode);
    const device = space?.device(owner.dev);
    if (space === undefined || device === undefined || (space === from.space && device.name === from.device.name))
      continue;
    if (space === from.space || apart(from, { space, device })) continue;
    if (isUplink({ space, device })) found.push({ space, device });
  }
  return found;
}

/** A host and the macvlans on its devices do not hear each other. */
const apart = (a: Port, b: Port): boolean => parentOf(a)?.space === b.space || parentOf(b)?.space === a.space;
