import { type Prefix, parsePrefix, prefixCovers } from '../core/address.ts';
import type { Fact } from '../facts/index.ts';
import type { ContainerBridge, DeviceKinds, Source } from './devices.ts';
import { podLinks } from './pod-links.ts';

interface MemberSource extends Source<DeviceKinds | 'dockerContainers' | 'netnsIndex'> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

/** A container on a bridge, by an address that it has. */
export interface Member {
  readonly ip: string;
  /** Its port of the bridge; null: which one it is was not told. */
  readonly port: string | null;
}

/** Containers that run on the bridge, as far as their namespaces and Docker tell; those whose port is known first. */
export function bridgeMembers(source: MemberSource, bridge: ContainerBridge): readonly Member[] {
  const [network] = bridge.prefixes;
  if (network === undefined) return [];
  const found = new Map<string, Member>();
  const add = (ip: string | undefined, port: string | null) => {
    if (ip !== undefined && !found.has(ip) && ip !== network.address && isInside(network.prefix, ip))
      found.set(ip, { ip, port });
  };
  for (const { inner, outer } of podLinks(source).links)
    if (outer.master === bridge.name || bridge.ports.includes(outer.name))
      for (const a of inner.addresses) if (a.family === 4) add(a.address, outer.name);
  const docker = source.get('dockerContainers');
  if (!docker.missing)
    for (const c of docker.value.containers) if (c.state === 'running') for (const n of c.networks) add(n.ip, null);
  return [...found.values()];
}

function isInside(prefix: Prefix, address: string): boolean {
  const ip = parsePrefix(`${address}/32`);
  return ip !== null && prefixCovers(prefix, ip);
}
