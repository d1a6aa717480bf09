import { formatPrefix, parsePrefix } from '../core/address.ts';
import type { DeviceKinds, Source } from './devices.ts';
import { containerBridges, overlayDevices, uplinks } from './devices.ts';
import { flannelLease } from './flannel.ts';

/** A node in the picture of the network: what it is attached to. Small on purpose: one a node, for a thousand nodes. */
export interface NodeTopology {
  readonly underlay: readonly {
    readonly dev: string;
    readonly address: string;
    readonly subnet: string;
    readonly mtu: number | null;
  }[];
  readonly overlay: readonly {
    readonly dev: string;
    readonly vni: number | null;
    readonly port: number | null;
    readonly mtu: number | null;
  }[];
  readonly bridges: readonly {
    readonly name: string;
    readonly prefix: string;
    readonly mtu: number | null;
    readonly ports: number;
  }[];
  readonly podNetwork: string | null;
  readonly lease: string | null;
}

export function nodeTopology(source: Source<DeviceKinds | 'routes4' | 'flannelEnv'>): NodeTopology {
  const addresses = source.get('addresses');
  const devices = addresses.missing ? [] : addresses.value.devices;
  const lease = flannelLease(source);
  const up = new Set(uplinks(source).map((u) => u.dev));
  const underlay = devices
    .filter((d) => up.has(d.name))
    .flatMap((d) =>
      d.addresses.flatMap((a) => {
        const subnet = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
        return subnet === null
          ? []
          : [{ dev: d.name, address: a.address, subnet: formatPrefix(subnet), mtu: d.mtu ?? null }];
      }),
    );
  return {
    underlay,
    overlay: overlayDevices(source).map(({ device }) => ({
      dev: device.name,
      vni: device.vxlan?.vni ?? null,
      port: device.vxlan?.dstPort ?? null,
      mtu: device.mtu ?? null,
    })),
    bridges: containerBridges(source).flatMap((b) =>
      b.prefixes.slice(0, 1).map((p) => ({
        name: b.name,
        prefix: formatPrefix(p.prefix),
        mtu: b.device.mtu ?? null,
        ports: b.ports.length,
      })),
    ),
    podNetwork: lease?.network == null ? null : formatPrefix(lease.network.prefix),
    lease: lease?.subnet == null ? null : formatPrefix(lease.subnet.prefix),
  };
}
