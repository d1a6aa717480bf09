import type { LinkDevice } from '../facts/index.ts';
import { formatAddr, isLoopback, parseAddr } from './addr.ts';
import { missingReason, type Reason } from './doubt.ts';
import { type Face, type Faceless, faceOf } from './face.ts';
import { buildNode, type NetFacts } from './model.ts';

/**
 * Who has which address on a node, as plain JSON small enough to be read of a thousand nodes: a trace opens only the nodes that it
 * touches, and this says which.
 */
export interface NetDigest {
  readonly version: typeof DIGEST_VERSION;
  /** The host's own namespace first (inode null). */
  readonly spaces: readonly SpaceDigest[];
  readonly face: Face | Faceless;
  /** Set: the host's devices are not known, or not all of them. */
  readonly gap: Reason | null;
}

interface SpaceDigest {
  readonly inode: string | null;
  readonly devices: readonly DeviceDigest[];
}

/** Device, its MAC or '', its addresses without loopback ones, as formatAddr writes them. */
export type DeviceDigest = readonly [dev: string, mac: string, ...addresses: string[]];

export const DIGEST_VERSION = 2;

/** Reads `ip addr` of every namespace of the node, and what tells its pods. */
export function netDigest(facts: NetFacts): NetDigest {
  const addresses = facts.get('addresses');
  const links = addresses.missing ? facts.get('links') : addresses;
  const gap = addresses.missing
    ? missingReason('the devices are not known', addresses)
    : addresses.closed
      ? null
      : { because: `${addresses.path} was not collected whole`, evidence: [addresses.evidence] };
  const inner = facts
    .all('netnsAddresses')
    .flatMap((f) => (f.instance === undefined ? [] : [spaceDigest(f.instance, f.value.devices)]));
  return {
    version: DIGEST_VERSION,
    spaces: [spaceDigest(null, links.missing ? [] : links.value.devices), ...inner],
    face: faceOf(buildNode(facts)),
    gap,
  };
}

function spaceDigest(inode: string | null, list: readonly LinkDevice[]): SpaceDigest {
  const devices: DeviceDigest[] = [];
  for (const device of list) {
    const mac = device.mac === undefined || /^(00:){5}00$/.test(device.mac) ? '' : device.mac;
    const addresses = device.addresses.flatMap((a) => {
      const addr = parseAddr(a.address);
      return addr === null || isLoopback(addr) ? [] : [formatAddr(addr)];
    });
    if (mac !== '' || addresses.length > 0) devices.push([device.name, mac, ...addresses]);
  }
  return { inode, devices };
}

/** What the cache holds as a digest of this version; null: it must be made again. */
export function readDigest(json: string): NetDigest | null {
  if (!isDigest(json)) return null;
  try {
    return JSON.parse(json) as NetDigest;
  } catch {
    return null;
  }
}

/** Is it the text of a digest of this version? Whether it is whole the cache has checked. */
export const isDigest = (json: string): boolean => json.startsWith(`{"version":${DIGEST_VERSION},`);
