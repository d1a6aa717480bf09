import type { Prefix } from '../core/address.ts';
import { parsePrefix } from '../core/address.ts';
import type { Fact, FactKind, LinkDevice, MissingFact, Route } from '../facts/index.ts';
import { perSource } from './per-source.ts';

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
  /** Enslaved veths; empty: no container is attached, or (see `attachedBridges`) nothing collected tells. */
  readonly ports: readonly string[];
  /** IPv4 prefixes of its addresses, with the address and its line. */
  readonly prefixes: readonly { readonly prefix: Prefix; readonly address: string; readonly line: number }[];
}

const containerNames =
  /^(docker0|docker_gwbridge|br-[0-9a-f]{12}|cni\d+|cni-.+|cbr0|podman\d+|nerdctl\d+|kube-bridge|weave)$/;

export type DeviceKinds = 'addresses' | 'links' | 'bridges' | 'sysfs' | 'dockerNetworks';

/** Container bridges of a node. Bridges are recognised by kind, by `brctl show`, by sysfs, else by the well-known names. */
export const containerBridges = perSource((source: Source<DeviceKinds>): readonly ContainerBridge[] => {
  const addresses = source.get('addresses');
  if (addresses.missing) return [];
  const links = source.get('links');
  const kinds = new Map(links.missing ? [] : links.value.devices.map((d) => [d.name, d.kind]));
  const known = bridgeNames(source);
  const owned = dockerBridges(source);
  const portsOf = bridgePorts(source);
  const result: ContainerBridge[] = [];
  for (const device of addresses.value.devices) {
    const kind = kinds.get(device.name) ?? device.kind;
    if (kind !== 'bridge' && !known.has(device.name) && !(kind === undefined && containerNames.test(device.name)))
      continue;
    const attached = portsOf(device.name);
    const ports = addresses.value.devices.filter((d) => attached.has(d.name));
    // a port that is no veth is somebody's NIC or VM: then this bridge is a LAN, not a container network
    const foreign = ports.some((p) => {
      const portKind = kinds.get(p.name) ?? p.kind;
      return portKind === undefined
        ? !/^(veth|cali|lxc|tap)/.test(p.name) && p.peerIfindex === undefined
        : portKind !== 'veth';
    });
    if (foreign && !owned.has(device.name) && !containerNames.test(device.name)) continue;
    if (attached.size === 0 && !owned.has(device.name) && !containerNames.test(device.name)) continue;
    result.push({
      name: device.name,
      device,
      fact: addresses,
      ports: [...attached],
      prefixes: device.addresses.flatMap((a) => {
        const prefix = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
        return prefix === null ? [] : [{ prefix, address: a.address, line: a.line }];
      }),
    });
  }
  return result;
});

/**
 * Container bridges that something is attached to, `--internal` networks left out, and what has no IPv4 address: nothing is routed there.
 * `doubt`: why there may be more of them than are listed, so that "this node has none" is no fact; null when the list is whole.
 */
export function attachedBridges(source: Source<DeviceKinds>): {
  readonly bridges: readonly ContainerBridge[];
  readonly doubt: string | null;
} {
  const addresses = source.get('addresses');
  const all = containerBridges(source).filter((b) => isInternal(source, b.name) !== true);
  const bridges = all.filter((b) => b.ports.length > 0 && b.prefixes.length > 0);
  if (addresses.missing) return { bridges, doubt: `the node’s devices are not known (${addresses.because})` };
  if (!addresses.closed) return { bridges, doubt: 'the list of the node’s devices was not collected whole' };
  // `ip link` in the place of `ip addr`: lo has an address on any node
  if (all.length > 0 && addresses.value.devices.every((d) => d.addresses.length === 0))
    return { bridges, doubt: `${addresses.path} shows no address of any device` };
  const untold = all.find((b) => b.ports.length === 0 && !tellsPorts(source, b.name));
  return {
    bridges,
    doubt:
      untold === undefined ? null : `which devices are attached to ${untold.name} is not told by what was collected`,
  };
}

/** Names of a bridge's ports, from whatever names them: `ip addr`, `ip link`, `brctl show`. */
const bridgePorts = perSource((source: Source<DeviceKinds>): ((bridge: string) => ReadonlySet<string>) => {
  const ports = new Map<string, Set<string>>();
  const note = (bridge: string, port: string) => ports.set(bridge, (ports.get(bridge) ?? new Set()).add(port));
  for (const kind of ['addresses', 'links'] as const) {
    const fact = source.get(kind);
    if (fact.missing) continue;
    for (const d of fact.value.devices) if (d.master !== undefined) note(d.master, d.name);
  }
  const brctl = source.get('bridges');
  if (!brctl.missing) for (const b of brctl.value.bridges) for (const port of b.ports) note(b.name, port);
  return (bridge) => ports.get(bridge) ?? new Set();
});

/** busybox and ifconfig print no masters: a bridge without ports in them may have any number. iproute2 prints a device's state, they do not. */
export function tellsPorts(source: Source<DeviceKinds>, bridge: string): boolean {
  for (const kind of ['addresses', 'links'] as const) {
    const fact = source.get(kind);
    if (!fact.missing && fact.closed && fact.value.devices.some((d) => d.state !== undefined)) return true;
  }
  const brctl = source.get('bridges');
  return !brctl.missing && brctl.closed && brctl.value.bridges.some((b) => b.name === bridge);
}

const bridgeNames = perSource((source: Source<DeviceKinds>): Set<string> => {
  const names = new Set<string>();
  const brctl = source.get('bridges');
  if (!brctl.missing) for (const b of brctl.value.bridges) names.add(b.name);
  const sysfs = source.get('sysfs');
  if (!sysfs.missing) for (const e of sysfs.value.entries) if (e.attr.startsWith('bridge/')) names.add(e.dev);
  return names;
});

const dockerBridges = perSource((source: Source<DeviceKinds>): Set<string> => {
  const networks = source.get('dockerNetworks');
  if (networks.missing) return new Set();
  return new Set(networks.value.networks.flatMap((n) => (n.bridge === undefined ? [] : [n.bridge])));
});

/** True when the docker network behind a bridge is `--internal`; null when docker's networks are not known. */
export function isInternal(source: Source<'dockerNetworks'>, bridge: string): boolean | null {
  const networks = source.get('dockerNetworks');
  if (networks.missing) return null;
  return networks.value.networks.find((n) => n.bridge === bridge)?.internal ?? false;
}

/**
 * Devices that lead to one pod each without a bridge, by its host route (Calico, AWS VPC CNI, GKE, the CNI plugin ptp). Not Cilium's, whose
 * programs pass packets on without asking whether the kernel forwards.
 */
export const podDevices = perSource(
  (source: Source<'addresses' | 'links' | 'routes4'>): readonly (HostDevice & { readonly pod: string })[] => {
    const routes = source.get('routes4');
    const addresses = source.get('addresses');
    if (routes.missing || addresses.missing) return [];
    const links = source.get('links');
    const kinds = new Map(links.missing ? [] : links.value.devices.map((d) => [d.name, d.kind]));
    const pods = new Map<string, string>();
    for (const { table, type, dst, via, dev } of routes.value.routes)
      if (table === 'main' && type === 'unicast' && via === undefined && dev !== undefined && dst.endsWith('/32'))
        pods.set(dev, dst.slice(0, -3));
    return addresses.value.devices.flatMap((device) => {
      const pod = pods.get(device.name);
      const kind = kinds.get(device.name) ?? device.kind;
      const veth = kind === undefined ? device.peerIfindex !== undefined : kind === 'veth';
      if (pod === undefined || !veth || device.master !== undefined || /^(lxc|cilium_)/.test(device.name)) return [];
      return [{ device, fact: addresses, pod }];
    });
  },
);

/** VXLAN devices, flannel's first by name. `links` alone knows VNI and port; without it a flannel.N name is all there is. */
export function overlayDevices(source: Source<'addresses' | 'links'>): readonly HostDevice[] {
  const links = source.get('links');
  if (!links.missing) {
    return links.value.devices
      .filter((d) => d.kind === 'vxlan' || isFlannel(d.name))
      .map((device) => ({ device, fact: links }));
  }
  const addresses = source.get('addresses');
  if (addresses.missing) return [];
  return addresses.value.devices.filter((d) => isFlannel(d.name)).map((device) => ({ device, fact: addresses }));
}

/** Of those the ones that carry containers' packets to be forwarded here: not somebody else's tunnel, nor a bridge's port, whose frames arrive on the bridge. */
export function containerOverlays(source: Source<'addresses' | 'links'>): readonly HostDevice[] {
  return overlayDevices(source).filter(
    ({ device }) => device.master === undefined && (isFlannel(device.name) || OTHER_OVERLAYS.test(device.name)),
  );
}

/**
 * Of those the ones for IPv4. Of several flannel devices only those that routes lead into, where routes tell: flanneld leaves the device of another
 * VNI behind.
 */
export function ip4Overlays(source: Source<'addresses' | 'links' | 'routes4'>): readonly HostDevice[] {
  const all = containerOverlays(source).filter(({ device }) => !/-v6\b/.test(device.name));
  const routes = source.get('routes4');
  if (all.length < 2 || routes.missing || !routes.closed) return all;
  // its own address is a route of the table local
  const leads = new Set(
    routes.value.routes
      .filter((r) => r.type === 'unicast')
      .flatMap((r) => [r.dev, ...r.nexthops.map((hop) => hop.dev)]),
  );
  const used = all.filter(({ device }) => !isFlannel(device.name) || leads.has(device.name));
  return used.some(({ device }) => isFlannel(device.name)) ? used : all;
}

export const isFlannel = (device: string) => /^flannel[.-]/.test(device);
const OTHER_OVERLAYS = /^(cilium_vxlan|vxlan\.calico|vxlan-v6\.calico|vxlan-6784|antrea-)/;

/** Devices that carry the node's traffic to the outside: first the one of the default route that wins, then those of gateways to other prefixes. */
export const uplinks = perSource(
  (source: Source<'routes4'>): readonly { readonly dev: string; readonly line: number; readonly why: string }[] => {
    const routes = source.get('routes4');
    if (routes.missing) return [];
    const found = new Map<string, { dev: string; line: number; why: string }>();
    const isDefault = (route: Route) => route.dst === '0.0.0.0/0';
    const main = routes.value.routes.filter((r) => r.table === 'main' && r.type === 'unicast');
    // sort is stable: of equal metrics the first listed wins, as in the kernel
    const defaults = main.filter(isDefault).sort((a, b) => a.metric - b.metric);
    for (const route of [...defaults, ...main.filter((r) => !isDefault(r))]) {
      for (const hop of route.nexthops.length > 0 ? route.nexthops : [route]) {
        // a default route over a point-to-point device has no gateway
        if (hop.dev === undefined || (hop.via === undefined && !isDefault(route)) || isFlannel(hop.dev)) continue;
        const why = isDefault(route) ? 'default route' : `route to ${route.dst}`;
        if (!found.has(hop.dev)) found.set(hop.dev, { dev: hop.dev, line: route.line, why });
      }
    }
    return [...found.values()];
  },
);

/** False only where the flags say that nothing is at the other end of the wire: NO-CARRIER follows by up to a second, LOWER_UP at once. */
export function hasCarrier({ flags }: LinkDevice): boolean {
  return flags.includes('LOWER_UP') || !flags.includes('NO-CARRIER');
}

/** True for a device that is administratively up; unknown flags count as up. */
export function isUp(device: LinkDevice): boolean {
  return device.flags.length === 0 || device.flags.includes('UP');
}
