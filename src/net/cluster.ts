import { type Addr, formatAddr } from './addr.ts';
import type { Reason } from './doubt.ts';
import type { NetNode } from './model.ts';
import { type DeviceDigest, type NetDigest, netDigest } from './owners.ts';

/** A device that has an address (or a MAC). */
export interface Owner {
  readonly node: string;
  /** Namespace, as in `netns/<inode>/`; null: the host's own. */
  readonly inode: string | null;
  readonly dev: string;
}

/** The nodes of a case. Who owns an address is known of all of them; a node itself is opened when it is asked for. */
export interface NetCluster {
  readonly ids: readonly string[];
  node(id: string): NetNode | undefined;
  /** In order of ids, the host's own namespace first. Loopback addresses have no owner: every namespace has them. */
  owners(addr: Addr): readonly Owner[];
  /** `mac` as the kernel prints it, in lower case. */
  macOwners(mac: string): readonly Owner[];
  /** Nodes whose own addresses are not known whole: an address without an owner may be theirs. */
  readonly gaps: readonly { readonly node: string; readonly reason: Reason }[];
}

/** A cluster over digests that were made before; `open` builds a node's model, once for each. */
export function lazyCluster(
  digests: readonly { readonly id: string; readonly digest: NetDigest }[],
  open: (id: string) => NetNode | undefined,
): NetCluster {
  const ids = digests.map((d) => d.id);
  const known = new Set(ids);
  const nodes = new Map<string, NetNode | undefined>();
  // by text: a thousand nodes have a hundred thousand addresses, of which a trace asks for ten
  let addresses: ReadonlyMap<string, readonly Owner[]> | undefined;
  let macs: ReadonlyMap<string, readonly Owner[]> | undefined;
  return {
    ids,
    node(id) {
      if (!known.has(id)) return undefined;
      if (!nodes.has(id)) nodes.set(id, open(id));
      return nodes.get(id);
    },
    owners(addr) {
      addresses ??= indexOf(digests, (device) => device.slice(2));
      return addresses.get(formatAddr(addr)) ?? [];
    },
    macOwners(mac) {
      macs ??= indexOf(digests, (device) => (device[1] === '' ? [] : [device[1]]));
      return macs.get(mac) ?? [];
    },
    gaps: digests.flatMap(({ id, digest }) => (digest.gap === null ? [] : [{ node: id, reason: digest.gap }])),
  };
}

/** The cluster of nodes that are open already. */
export function clusterOf(nodes: readonly NetNode[]): NetCluster {
  const byId = new Map(nodes.map((n) => [n.id, n]));
  return lazyCluster(
    nodes.map((n) => ({ id: n.id, digest: netDigest(n.facts) })),
    (id) => byId.get(id),
  );
}

function indexOf(
  digests: readonly { readonly id: string; readonly digest: NetDigest }[],
  keysOf: (device: DeviceDigest) => readonly string[],
): ReadonlyMap<string, readonly Owner[]> {
  const index = new Map<string, Owner[]>();
  for (const { id, digest } of digests) {
    for (const { inode, devices } of digest.spaces) {
      for (const device of devices) {
        for (const key of keysOf(device)) {
          const owner: Owner = { node: id, inode, dev: device[0] };
          const list = index.get(key);
          if (list === undefined) index.set(key, [owner]);
          else list.push(owner);
        }
      }
    }
  }
  return index;
}
