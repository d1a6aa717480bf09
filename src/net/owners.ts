import { formatAddr, isLoopback } from './addr.ts';
import type { Reason } from './doubt.ts';
import type { NetNode } from './model.ts';

/**
 * Who has which address on a node, as plain JSON small enough to be read of a thousand nodes: a trace opens only the nodes that it
 * touches, and this says which.
 */
export interface NetDigest {
  readonly version: typeof DIGEST_VERSION;
  /** The host's own namespace first (inode null). */
  readonly spaces: readonly SpaceDigest[];
  /** Set: the host's devices are not known, or not all of them. */
  readonly gap: Reason | null;
}

interface SpaceDigest {
  readonly inode: string | null;
  readonly devices: readonly DeviceDigest[];
}

/** Device, its MAC or '', its addresses without loopback ones. */
type DeviceDigest = readonly [dev: string, mac: string, ...addresses: string[]];

export const DIGEST_VERSION = 1;

/** Reads devices and addresses of every namespace of the node, and nothing else. */
export function netDigest(node: NetNode): NetDigest {
  const spaces = node.spaces.map((space): SpaceDigest => {
    const devices: DeviceDigest[] = [];
    for (const device of space.devices.list) {
      const mac = device.mac === null || /^(00:){5}00$/.test(device.mac) ? '' : device.mac;
      const addresses = device.addresses.filter((a) => !isLoopback(a.addr)).map((a) => formatAddr(a.addr));
      if (mac !== '' || addresses.length > 0) devices.push([device.name, mac, ...addresses]);
    }
    return { inode: space.inode, devices };
  });
  return { version: DIGEST_VERSION, spaces, gap: node.host.devices.gap };
}

/** What the cache holds as a digest of this version; null: it must be made again. */
export function readDigest(json: string): NetDigest | null {
  try {
    const value = JSON.parse(json) as NetDigest;
    return value.version === DIGEST_VERSION ? value : null;
  } catch {
    return null;
  }
}
