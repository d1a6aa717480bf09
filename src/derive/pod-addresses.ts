import { parseIp4 } from '../core/address.ts';
import type { InterfaceAddress } from '../facts/index.ts';
import { containerBridges, type DeviceKinds, isUp, podDevices } from './devices.ts';
import type { FlannelLease } from './flannel.ts';
import { type PodLink, podLinks } from './pod-links.ts';

/** An IPv4 address of a container that has a cable to the node. */
export interface PodAddress {
  readonly address: string;
  /** Its first address on that device: another one may be a virtual address that moves. */
  readonly main: boolean;
  readonly span: InterfaceAddress;
  readonly link: PodLink;
  /** The bridge that the cable is plugged into; `null`: the node has a host route to the address. */
  readonly bridge: string | null;
}

type AddressSource = Parameters<typeof podLinks>[0] &
  Parameters<typeof podDevices>[0] &
  Parameters<typeof containerBridges>[0];

/** What podAddresses asks for beside `addresses`. */
export const POD_ADDRESS_KINDS = [
  'links',
  'bridges',
  'sysfs',
  'dockerNetworks',
  'routes4',
  'netnsAddresses',
  'netnsIndex',
] as const satisfies readonly (DeviceKinds | 'routes4' | 'netnsAddresses' | 'netnsIndex')[];

/**
 * Addresses that containers answer for on this node: of cables that are up at both ends, on a bridge of containers, or alone with a host route.
 * Left out: containers in containers, whose cables end elsewhere; ports of Open vSwitch and of bridges that keep VLANs apart.
 */
export function podAddresses(source: AddressSource): readonly PodAddress[] {
  const links = source.get('links');
  const apart = new Set(
    (links.missing ? [] : links.value.devices).filter((d) => d.bridge?.vlanFiltering === true).map((d) => d.name),
  );
  const bridges = new Set(containerBridges(source).map((b) => b.name));
  const routed = new Set(podDevices(source).map(({ pod }) => pod));
  return podLinks(source).links.flatMap((link): PodAddress[] => {
    const { inner, outer } = link;
    if (!isUp(inner) || !isUp(outer)) return [];
    const bridge = outer.master ?? null;
    if (bridge !== null && (!bridges.has(bridge) || apart.has(bridge))) return [];
    const four = inner.addresses.filter((a) => a.family === 4 && a.scope === 'global');
    return four.flatMap((span, i): PodAddress[] =>
      bridge === null && !routed.has(span.address)
        ? []
        : [{ address: span.address, main: i === 0, span, link, bridge }],
    );
  });
}

/** Main addresses inside the cluster's range, ascending: each as the difference to the one before, in base 36, and how often it comes (`1*40`). */
export function packedAddresses(list: readonly PodAddress[], { network }: FlannelLease): string {
  const prefix = network?.prefix;
  if (prefix === undefined || prefix.family !== 4) return '';
  const base = Number(prefix.base);
  const end = base + 2 ** (32 - prefix.length);
  const inside = list.flatMap((p) => {
    const value = p.main ? parseIp4(p.address) : null;
    return value === null || value < base || value >= end ? [] : [value];
  });
  const runs: { step: number; count: number }[] = [];
  let last = 0;
  for (const value of [...new Set(inside)].sort((a, b) => a - b)) {
    const step = value - last;
    last = value;
    const run = runs.at(-1);
    if (run?.step === step) run.count += 1;
    else runs.push({ step, count: 1 });
  }
  return runs.map(({ step, count }) => `${step.toString(36)}${count === 1 ? '' : `*${count}`}`).join(' ');
}

/** What packedAddresses made, ascending. */
export function unpackedAddresses(text: string): readonly number[] {
  const values: number[] = [];
  let last = 0;
  for (const run of text === '' ? [] : text.split(' ')) {
    const [step = '', count = '1'] = run.split('*');
    for (let i = Number(count); i > 0; i -= 1) {
      last += Number.parseInt(step, 36);
      values.push(last);
    }
  }
  return values;
}
