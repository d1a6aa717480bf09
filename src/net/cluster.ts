import { kept } from '../core/kept.ts';
import { type Addr, formatAddr } from './addr.ts';
import type { Reason } from './doubt.ts';
import { type Face, type Faceless, UNREAD } from './face.ts';
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
  /** Lets go of a node's model, for walks over very many nodes. Not while a packet is on its way: namespaces are told apart by identity. */
  forget(id: string): void;
  /** What other nodes see of a node. */
  face(id: string): Face | Faceless;
  /** Nodes whose own addresses are not known whole: an address without an owner may be theirs. */
  readonly gaps: readonly { readonly node: string; readonly reason: Reason }[];
}

/** A node's digest, or the JSON text of one that readDigest took. */
export interface DigestEntry {
  readonly id: string;
  readonly digest: NetDigest | string;
}

/** A cluster over digests that were made before; `open` builds a node's model, `close` lets go of what it rests on. */
export function lazyCluster(
  digests: readonly DigestEntry[],
  open: (id: string) => NetNode | undefined,
  close: (id: string) => void = () => {},
): NetCluster {
  const ids = digests.map((d) => d.id);
  const known = new Set(ids);
  const opened = kept(open);
  const addresses = new Lookup(digests, (device) => device.slice(2));
  const macs = new Lookup(digests, (device) => (device[1] === '' ? [] : [device[1]]));
  let gaps: NetCluster['gaps'] | undefined;
  const byId = new Map(digests.map((d) => [d.id, d.digest]));
  return {
    ids,
    node: (id) => (known.has(id) ? opened(id) : undefined),
    forget(id) {
      if (opened.drop(id)) close(id);
    },
    owners: (addr) => addresses.find(formatAddr(addr)),
    macOwners: (mac) => macs.find(mac),
    face(id) {
      const digest = byId.get(id);
      return digest === undefined ? { because: UNREAD } : read(digest).face;
    },
    get gaps() {
      gaps ??= digests.flatMap(({ id, digest }) => {
        // the gap stands last
        if (typeof digest === 'string' && digest.endsWith('"gap":null}')) return [];
        const { gap } = read(digest);
        return gap === null ? [] : [{ node: id, reason: gap }];
      });
      return gaps;
    },
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

const read = (digest: NetDigest | string): NetDigest =>
  typeof digest === 'string' ? (JSON.parse(digest) as NetDigest) : digest;

/** Searches before an index is worth its making: a trace asks for ten addresses of a hundred thousand, `reach` for all. */
const SEARCHES = 48;

class Lookup {
  readonly #digests: readonly DigestEntry[];
  readonly #keysOf: (device: DeviceDigest) => readonly string[];
  readonly #found = new Map<string, readonly Owner[]>();
  #index: ReadonlyMap<string, readonly Owner[]> | undefined;

  constructor(digests: readonly DigestEntry[], keysOf: (device: DeviceDigest) => readonly string[]) {
    this.#digests = digests;
    this.#keysOf = keysOf;
  }

  find(key: string): readonly Owner[] {
    if (this.#index !== undefined) return this.#index.get(key) ?? [];
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    if (this.#found.size < SEARCHES && this.#digests.every((d) => typeof d.digest === 'string')) {
      const quoted = JSON.stringify(key);
      const holding = this.#digests.filter((d) => (d.digest as string).includes(quoted));
      const owners = indexOf(holding, this.#keysOf).get(key) ?? [];
      this.#found.set(key, owners);
      return owners;
    }
    this.#index = indexOf(this.#digests, this.#keysOf);
    return this.find(key);
  }
}

function indexOf(
  digests: readonly DigestEntry[],
  keysOf: (device: DeviceDigest) => readonly string[],
): ReadonlyMap<string, readonly Owner[]> {
  const index = new Map<string, Owner[]>();
  for (const { id, digest } of digests) {
    for (const { inode, devices } of read(digest).spaces) {
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
