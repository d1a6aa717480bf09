import type { Fact, LinkDevice } from '../facts/index.ts';
import { containerBridges, containerOverlays, type DeviceKinds, podDevices, type Source } from './devices.ts';
import { setting } from './settings.ts';

/** A bridge network that leads out of the node: the node forwards its IPv4 packets, by rules that dockerd writes. */
export interface ForwardedNetwork {
  readonly name: string;
  readonly bridge: string;
  readonly device: LinkDevice;
  /** Line of the network in Docker's list. */
  readonly line: number;
  /** A container is attached. */
  readonly used: boolean;
  /** Its packets are not meant to leave with their own addresses. */
  readonly masqueraded: boolean;
  /** Published ports are translated and let through one by one: not with a gateway_mode of its own (since Docker 27). */
  readonly translates: boolean;
}

/** Bridge networks that are not `--internal`, wherever their bridges are. */
export function externalNetworks(
  fact: Fact<'dockerNetworks'>,
): readonly Fact<'dockerNetworks'>['value']['networks'][number][] {
  return fact.value.networks.filter((n) => n.driver === 'bridge' && !n.internal && n.bridge !== undefined);
}

/** Of those the ones whose bridge is a device of this namespace with an IPv4 address. */
export function forwardedNetworks(
  source: Source<DeviceKinds>,
  networks: Fact<'dockerNetworks'>,
  addresses: Fact<'addresses'>,
): readonly ForwardedNetwork[] {
  const ports = new Map(containerBridges(source).map((b) => [b.name, b.ports]));
  return externalNetworks(networks).flatMap(({ name, bridge = '', options, line, containers }) => {
    const device = addresses.value.devices.find((d) => d.name === bridge);
    if (device === undefined || !device.addresses.some((a) => a.family === 4)) return [];
    const used = containers.length > 0 || (ports.get(bridge)?.length ?? 0) > 0;
    const mode = options['com.docker.network.bridge.gateway_mode_ipv4'] ?? 'nat';
    const masqueraded = options['com.docker.network.bridge.enable_ip_masquerade'] !== 'false' && mode !== 'routed';
    return [{ name, bridge, device, line, used, masqueraded, translates: mode === 'nat' || mode === '' }];
  });
}

/** Published ports of running containers, as `9001/tcp`; `whole`: there are no others, swarm's included. */
export function publishedPorts(source: Source<'dockerContainers' | 'dockerInfo'>): {
  readonly ports: readonly string[];
  readonly whole: boolean;
} {
  const containers = source.get('dockerContainers');
  if (containers.missing) return { ports: [], whole: false };
  const info = source.get('dockerInfo');
  const swarm = !info.missing && setting(info.value, 'Swarm.LocalNodeState')?.value === 'active';
  const running = containers.value.containers.filter((c) => c.state === 'running');
  const ports = running.flatMap((c) => c.ports.flatMap((p) => (p.hostPort ? [`${p.hostPort}/${p.proto}`] : [])));
  return { ports: [...new Set(ports)], whole: containers.closed && !swarm };
}

/** Others than Docker have container networks here. */
export function mixed(source: Source<DeviceKinds | 'routes4'>, networks: readonly ForwardedNetwork[]): boolean {
  const own = new Set(networks.map((n) => n.bridge));
  const foreign = containerBridges(source).some((b) => b.ports.length > 0 && !own.has(b.name));
  return foreign || containerOverlays(source).length > 0 || podDevices(source).length > 0;
}
