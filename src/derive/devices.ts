import type { Prefix } from '../core/address.ts';
import { parsePrefix } from '../core/address.ts';
import type { Fact, FactKind, LinkDevice, MissingFact } from '../facts/index.ts';

/** Reads facts by kind: what derivations need of a rule's view. */
export interface Source<K extends FactKind> {
  get<F extends K>(kind: F): Fact<F> | MissingFact<F>;
}

/** A device with the fact that its lines belong to. */
export interface HostDevice {
  readonly device: LinkDevice;
  readonly fact: Fact<'links'> | Fact<'addresses'>;
}

/** A bridge whose ports are containers' veths (docker0, cni0, br-<id> ...), not a bridge that carries the node's own NIC. */
export interface ContainerBridge {
  readonly name: string;
  readonly device: LinkDevice;
  readonly fact: Fact<'addresses'>;
  /** Enslaved veths; empty: no container is attached. */
  readonly ports: readonly string[];
  /** IPv4 prefixes of its addresses, with the address and its line. */
  readonly prefixes: readonly { readonly prefix: Prefix; readonly address: string; readonly line: number }[];
}

const containerNames =
  /^(docker0|docker_gwbridge|br-[0-9a-f]{12}|cni\d+|cni-.+|cbr0|podman\d+|nerdctl\d+|kube-bridge|weave)$/;

export type DeviceKinds = 'addresses' | 'links' | 'bridges' | 'sysfs' | 'dockerNetworks';

/** Container bridges of a node. Bridges are recognised by kind, by `brctl show`, by sysfs, else by the well-known names. */
export function containerBridges(source: Source<DeviceKinds>): readonly ContainerBridge[] {
  const addresses = source.get('addresses');
  if (addresses.missing) return [];
  const links = source.get('links');
  const kinds = new Map(links.missing ? [] : links.value.devices.map((d) => [d.name, d.kind]));
  const known = bridgeNames(source);
  const owned = dockerBridges(source);
  const result: ContainerBridge[] = [];
  for (const device of addresses.value.devices) {
    const kind = kinds.get(device.name) ?? device.kind;
    if (kind !== 'bridge' && !known.has(device.name) && !(kind === undefined && containerNames.test(device.name)))
      continue;
    const ports = addresses.value.devices.filter((d) => d.master === device.name);
    // a port that is no veth is somebody's NIC or VM: then this bridge is a LAN, not a container network
    const foreign = ports.some((p) => {
      const portKind = kinds.get(p.name) ?? p.kind;
      return portKind === undefined
        ? !/^(veth|cali|lxc|tap)/.test(p.name) && p.peerIfindex === undefined
        : portKind !== 'veth';
    });
    if (foreign && !owned.has(device.name) && !containerNames.test(device.name)) continue;
    if (ports.length === 0 && !owned.has(device.name) && !containerNames.test(device.name)) continue;
    result.push({
      name: device.name,
      device,
      fact: addresses,
      ports: ports.map((p) => p.name),
      prefixes: device.addresses.flatMap((a) => {
        const prefix = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
        return prefix === null ? [] : [{ prefix, address: a.address, line: a.line }];
      }),
    });
  }
  return result;
}

function bridgeNames(source: Source<DeviceKinds>): Set<string> {
  const names = new Set<string>();
  const brctl = source.get('bridges');
  if (!brctl.missing) for (const b of brctl.value.bridges) names.add(b.name);
  const sysfs = source.get('sysfs');
  if (!sysfs.missing) for (const e of sysfs.value.entries) if (e.attr.startsWith('bridge/')) names.add(e.dev);
  return names;
}

function dockerBridges(source: Source<DeviceKinds>): Set<string> {
  const networks = source.get('dockerNetworks');
  if (networks.missing) return new Set();
  return new Set(networks.value.networks.flatMap((n) => (n.bridge === undefined ? [] : [n.bridge])));
}

/** True when the docker network behind a bridge is `--internal`; null when docker's networks are not known. */
export function isInternal(source: Source<'dockerNetworks'>, bridge: string): boolean | null {
  const networks = source.get('dockerNetworks');
  if (networks.missing) return null;
  return networks.value.networks.find((n) => n.bridge === bridge)?.internal ?? false;
}

/** VXLAN devices, flannel's first by name. `links` alone knows VNI and port; without it a flannel.N name is all there is. */
export function overlayDevices(source: Source<'addresses' | 'links'>): readonly HostDevice[] {
  const links = source.get('links');
  if (!links.missing) {
    return links.value.devices
      .filter((d) => d.kind === 'vxlan' || /^flannel[.-]/.test(d.name))
      .map((device) => ({ device, fact: links }));
  }
  const addresses = source.get('addresses');
  if (addresses.missing) return [];
  return addresses.value.devices
    .filter((d) => /^flannel[.-]/.test(d.name))
    .map((device) => ({ device, fact: addresses }));
}

/** Devices that carry the node's traffic to the outside: those of default routes, then those of gateways to other prefixes. */
export function uplinks(
  source: Source<'routes4'>,
): readonly { readonly dev: string; readonly line: number; readonly why: string }[] {
  const routes = source.get('routes4');
  if (routes.missing) return [];
  const found = new Map<string, { dev: string; line: number; why: string }>();
  for (const route of routes.value.routes) {
    if (route.table !== 'main' || route.type !== 'unicast') continue;
    for (const hop of route.nexthops.length > 0 ? route.nexthops : [route]) {
      if (hop.dev === undefined || hop.via === undefined || /^flannel[.-]/.test(hop.dev)) continue;
      const why = route.dst === '0.0.0.0/0' ? 'default route' : `route to ${route.dst}`;
      if (!found.has(hop.dev) || route.dst === '0.0.0.0/0') found.set(hop.dev, { dev: hop.dev, line: route.line, why });
    }
  }
  return [...found.values()];
}

/** True for a device that is administratively up; unknown flags count as up. */
export function isUp(device: LinkDevice): boolean {
  return device.flags.length === 0 || device.flags.includes('UP');
}
