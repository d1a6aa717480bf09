import type { Fact, LinkDevice } from '../facts/index.ts';
import { containerBridges, type DeviceKinds, type Source } from './devices.ts';
import { perSource } from './per-source.ts';

/** Both ends of the cable of a container. */
export interface PodLink {
  /** The namespace, as in `netns/<inode>/`. */
  readonly inode: string;
  readonly fact: Fact<'netnsAddresses'>;
  readonly inner: LinkDevice;
  /** The container has no other device of the kind. */
  readonly alone: boolean;
  /** The end on the node, a device of `addresses`. */
  readonly outer: LinkDevice;
}

interface LinkSource extends Source<DeviceKinds | 'netnsIndex'> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

/**
 * Cables of containers whose two ends name each other's index [V58]. Indexes repeat across namespaces [V81]: an end on the node that two
 * containers could have, or whose namespace has another name, is left out. `unpaired`: ports of container bridges without a known other end.
 */
export const podLinks = perSource(
  (source: LinkSource): { readonly links: readonly PodLink[]; readonly unpaired: readonly string[] } => {
    const addresses = source.get('addresses');
    if (addresses.missing) return { links: [], unpaired: [] };
    const index = source.get('netnsIndex');
    const pins = new Map(index.missing ? [] : index.value.namespaces.map((n) => [n.inode, n.pin]));
    const byIndex = new Map(addresses.value.devices.map((d) => [d.ifindex, d]));
    const found = new Map<string, PodLink[]>();
    for (const fact of source.all('netnsAddresses')) {
      const inode = fact.instance ?? '';
      const veths = fact.value.devices.filter(
        (d) => d.kind === 'veth' || (d.kind === undefined && d.peerIfindex !== undefined),
      );
      for (const inner of veths) {
        const outer = inner.peerIfindex === undefined ? undefined : byIndex.get(inner.peerIfindex);
        if (outer === undefined || inner.ifindex === 0 || outer.peerIfindex !== inner.ifindex) continue;
        const pin = pins.get(inode);
        const { linkNetnsName: name } = outer;
        if (name !== undefined && pin !== undefined && pin !== '-' && !pin.endsWith(`/${name}`)) continue;
        const link = { inode, fact, inner, alone: veths.length === 1, outer };
        found.set(outer.name, [...(found.get(outer.name) ?? []), link]);
      }
    }
    const links = [...found.values()].flatMap((list) => (list.length === 1 ? list : []));
    const paired = new Set(links.map((l) => l.outer.name));
    const veths = new Set(addresses.value.devices.filter((d) => d.peerIfindex !== undefined).map((d) => d.name));
    const unpaired = containerBridges(source).flatMap((b) => b.ports.filter((p) => veths.has(p) && !paired.has(p)));
    return { links, unpaired };
  },
);
