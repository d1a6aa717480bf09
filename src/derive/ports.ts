import type { Fact, LinkDevice } from '../facts/index.ts';
import type { ContainerBridge, DeviceKinds, Source } from './devices.ts';
import { hasCarrier, isUp } from './devices.ts';
import { perSource } from './per-source.ts';

export interface PortSource extends Source<DeviceKinds> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

/** The end of a port's cable in a container. */
export interface CableEnd {
  readonly inode: string;
  readonly device: LinkDevice;
  readonly fact: Fact<'netnsAddresses'>;
}

/** A port of a bridge that leads to a container: a veth that is up at both ends, so that somebody holds the other one. */
export interface ContainerPort {
  readonly device: LinkDevice;
  /** null: the namespace was not collected, or several could be it. */
  readonly end: CableEnd | null;
}

export interface BridgePortsFound {
  readonly containers: readonly ContainerPort[];
  /** Ports that lead elsewhere: a network card, a tunnel, a veth to another bridge of this node. A router may be behind them. */
  readonly ways: readonly LinkDevice[];
}

/** The container's end of a veth by the host's end: the index that it names [V58]. Namespaces are read when the first port asks. */
export function cableEnds(source: PortSource): (port: LinkDevice) => CableEnd | null {
  let ends: ReadonlyMap<number, readonly CableEnd[]> | undefined;
  return (port) => {
    if (port.ifindex === 0 || port.peerIfindex === undefined) return null;
    ends ??= endsByIndex(source);
    // indexes repeat from namespace to namespace: both ends must name each other, and no second pair may
    const found = (ends.get(port.ifindex) ?? []).filter((e) => e.device.ifindex === port.peerIfindex);
    return found.length === 1 ? (found[0] ?? null) : null;
  };
}

const endsByIndex = perSource((source: PortSource): ReadonlyMap<number, readonly CableEnd[]> => {
  const ends = new Map<number, CableEnd[]>();
  for (const fact of source.all('netnsAddresses')) {
    for (const device of fact.value.devices) {
      const at = device.peerIfindex;
      if (at === undefined || (device.kind ?? 'veth') !== 'veth') continue;
      const list = ends.get(at);
      const end = { inode: fact.instance ?? '', device, fact };
      if (list === undefined) ends.set(at, [end]);
      else list.push(end);
    }
  }
  return ends;
});

export function bridgePortsFound(
  source: PortSource,
  bridge: ContainerBridge,
  endOf: (port: LinkDevice) => CableEnd | null,
): BridgePortsFound {
  const containers: ContainerPort[] = [];
  const ways: LinkDevice[] = [];
  const links = source.get('links');
  const detail = new Map(links.missing ? [] : links.value.devices.map((d) => [d.name, d]));
  const names = new Set(bridge.ports);
  const hosts = new Map(bridge.fact.value.devices.map((d) => [d.name, d]));
  for (const name of names) {
    const device = hosts.get(name) ?? detail.get(name);
    if (device === undefined) continue;
    const kind = detail.get(name)?.kind ?? device.kind;
    const veth = kind === undefined ? device.peerIfindex !== undefined || /^veth/.test(name) : kind === 'veth';
    const peer = device.peerName === undefined ? undefined : hosts.get(device.peerName);
    // both ends in this namespace, each naming the other
    if (!veth || (peer !== undefined && peer.peerName === name)) ways.push(device);
    else if (isUp(device) && hasCarrier(device)) containers.push({ device, end: endOf(device) });
  }
  return { containers, ways };
}
