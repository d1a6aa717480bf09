import { parseIp, prefixContains } from '../core/address.ts';
import type { Fact } from '../facts/index.ts';
import { type ContainerBridge, containerBridges, type DeviceKinds, type Source, tellsPorts } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import type { PortRule } from './docker-published.ts';
import { podLinks } from './pod-links.ts';

export type TargetKinds = DeviceKinds | 'dockerContainers' | 'netnsIndex';
export interface TargetSource extends Source<TargetKinds> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

/** Who has the address that a rule leads to. */
export type Owner =
  /** Not in a container network of this node. */
  | { readonly kind: 'elsewhere' }
  | { readonly kind: 'lives' }
  /** `told`: the bridge that it would be on, and what shows that nobody there has it. */
  | { readonly kind: 'nobody'; readonly told: Told; readonly whole: Fact<'dockerContainers'> | null }
  | { readonly kind: 'open'; readonly because: string; readonly evidence: readonly string[] };

/** Looks owners up, all for one node: addresses that containers have are read once. */
export function ownersOf(source: TargetSource, collectedAt: string | null): (rule: PortRule) => Owner {
  const bridges = containerBridges(source);
  let living: ReadonlySet<string> | undefined;
  return ({ target, port, proto }) => {
    const address = target.replace(/:[\d-]+$/, '');
    const ip = parseIp(address);
    const bridge = ip === null ? undefined : bridges.find((b) => b.prefixes.some((p) => prefixContains(p.prefix, ip)));
    if (bridge === undefined) return { kind: 'elsewhere' };
    living ??= addresses(source);
    if (living.has(address) || bridge.prefixes.some((p) => p.address === address)) return { kind: 'lives' };
    const line = bridge.prefixes[0]?.line ?? bridge.device.line;
    const told: Told = { fact: bridge.fact, span: { line } };
    if (allKnown(source, bridge)) return { kind: 'nobody', told, whole: null };
    const containers = source.get('dockerContainers');
    const networks = source.get('dockerNetworks');
    const docker = !networks.missing && networks.value.networks.find((n) => n.bridge === bridge.name);
    if (docker && !containers.missing && containers.closed && !networks.missing && networks.closed) {
      const doubt = containers.value.containers.find(
        (c) =>
          c.state !== 'running' &&
          c.ports.some((p) => p.hostPort === port && p.proto === proto) &&
          !(c.finishedAt !== undefined && collectedAt !== null && Date.parse(c.finishedAt) < Date.parse(collectedAt)),
      );
      if (doubt === undefined) return { kind: 'nobody', told, whole: containers };
      const because = `container ${doubt.name}, which published it, is ${doubt.state}, perhaps since the rules were read`;
      return { kind: 'open', because, evidence: [] };
    }
    const because = `which addresses containers on ${bridge.name} have was not collected whole`;
    return { kind: 'open', because, evidence: [docker ? 'docker.containers' : 'netns.addr-json'] };
  };
}

/** Of running containers, as Docker and as their namespaces tell them. */
function addresses(source: TargetSource): ReadonlySet<string> {
  const found = new Set<string>();
  for (const fact of source.all('netnsAddresses'))
    for (const device of fact.value.devices) for (const a of device.addresses) found.add(a.address);
  const containers = source.get('dockerContainers');
  if (!containers.missing)
    for (const c of containers.value.containers) for (const n of c.networks) if (n.ip !== undefined) found.add(n.ip);
  // sandboxes of a swarm are in the list of a network's endpoints alone
  const networks = source.get('dockerNetworks');
  if (!networks.missing)
    for (const n of networks.value.networks)
      for (const c of n.containers) if (c.ipv4 !== undefined) found.add(c.ipv4.replace(/\/\d+$/, ''));
  return found;
}

/** The other end of each port of the bridge was seen, with its addresses. */
function allKnown(source: TargetSource, bridge: ContainerBridge): boolean {
  if (!tellsPorts(source, bridge.name)) return false;
  const { links } = podLinks(source);
  return bridge.ports.every((port) => {
    const link = links.find((l) => l.outer.name === port);
    return link?.fact.closed === true && link.inner.addresses.some((a) => a.family === 4);
  });
}
