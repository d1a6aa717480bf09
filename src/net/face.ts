import { formatAddr, parseAddr } from './addr.ts';
import { whyDown } from './devices.ts';
import type { NetNode } from './model.ts';
import { representativeOf } from './representative.ts';
import { isUplink } from './wire.ts';

/** Where other nodes' packets find a node: small, plain JSON, and without the node's name, which a case may change. */
export interface Face {
  /** Address of the pod that stands for the node's pods. */
  readonly pod: string;
  /** IPv4 addresses of uplinks, each with its device's hardware address ('' where it is not known). */
  readonly underlay: readonly (readonly [addr: number, mac: string])[];
  readonly vteps: readonly {
    readonly mac: string;
    readonly vni: number;
    readonly port: number;
    readonly local: number;
  }[];
}

/** No pod stands for the node, and why. */
export interface Faceless {
  readonly because: string;
}

/** A face with its node. */
export interface NodeFace extends Omit<Face, 'pod'> {
  readonly id: string;
  readonly pod: number;
  /** As a place of the command line. */
  readonly place: string;
}

export const UNREAD = 'its evidence cannot be read';

export function faceOf(node: NetNode): Face | Faceless {
  const found = representativeOf(node);
  if (typeof found === 'string') return { because: found };
  const { host } = node;
  const underlay = host.devices.list.flatMap((d) =>
    isUplink({ space: host, device: d }) && whyDown(d) === null
      ? d.addresses.flatMap((a) => (typeof a.addr === 'number' ? [[a.addr, d.mac ?? ''] as const] : []))
      : [],
  );
  const vteps = host.devices.list.flatMap((d) => {
    const local = parseAddr(d.vxlan?.local ?? '');
    if (d.vxlan === null || d.mac === null || d.up === false || typeof local !== 'number') return [];
    return [{ mac: d.mac, vni: d.vxlan.vni, port: d.vxlan.dstPort, local }];
  });
  return { pod: formatAddr(found.addr), underlay, vteps };
}
