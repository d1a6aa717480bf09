import { prefixCovers } from '../core/address.ts';
import type { HostDevice, Source } from './devices.ts';
import { containerBridges } from './devices.ts';
import { flannelLease } from './flannel.ts';

/** The container device with the largest MTU on the bridges of the pod network; null: there is none, or not all are known. */
export function largestPod(
  source: Source<'links' | 'addresses' | 'flannelEnv' | 'bridges' | 'sysfs' | 'dockerNetworks'>,
): (HostDevice & { readonly mtu: number }) | null {
  const network = flannelLease(source)?.network?.prefix;
  const addresses = source.get('addresses');
  if (network === undefined || addresses.missing || !addresses.closed) return null;
  const ports = containerBridges(source)
    .filter((b) => b.prefixes.some((p) => prefixCovers(network, p.prefix)))
    .flatMap((b) => b.ports);
  let largest: (HostDevice & { mtu: number }) | null = null;
  for (const port of ports) {
    const device = addresses.value.devices.find((d) => d.name === port);
    if (device?.mtu === undefined) return null;
    if (largest === null || device.mtu > largest.mtu) largest = { device, fact: addresses, mtu: device.mtu };
  }
  return largest;
}
