import type { Span } from '../core/span.ts';
import type { Fact, NetnsIndex, TextLines } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { perSource } from './per-source.ts';

/** A line `nameserver`. */
export interface NameServer extends Span {
  readonly address: string;
}

/** The resolv.conf of a container. */
export interface ContainerResolver {
  /** The namespace, as in `netns/<inode>/`. */
  readonly inode: string;
  readonly fact: Fact<'netnsResolvConf'>;
  readonly servers: readonly NameServer[];
}

type Namespace = NetnsIndex['namespaces'][number];

/** glibc reads no more of them (MAXNS of resolv.h); musl the same. */
const MOST_SERVERS = 3;

/** Files of one text are one value: those of a node's pods are mostly the same. */
const read = new WeakMap<TextLines, readonly NameServer[]>();

export function nameServers(value: TextLines): readonly NameServer[] {
  const known = read.get(value);
  if (known !== undefined) return known;
  const servers = value.lines
    .flatMap(({ text, line }): NameServer[] => {
      const address = /^nameserver\s+([0-9A-Fa-f.:]+)/.exec(text)?.[1];
      return address === undefined ? [] : [{ address, line }];
    })
    .slice(0, MOST_SERVERS);
  read.set(value, servers);
  return servers;
}

export const isOwnLoopback = (address: string): boolean => /^127\.\d+\.\d+\.\d+$|^::1$/.test(address);

/**
 * What containers ask for names: namespaces that a container runtime made, with a process inside. Not those of services with PrivateNetwork, of VPNs
 * and the like; nor of virtual machines and sandboxes, whose process on the node sees the node's own file.
 */
export const containerResolvers = perSource(
  (
    source: Source<'netnsIndex'> & { all(kind: 'netnsResolvConf'): readonly Fact<'netnsResolvConf'>[] },
  ): readonly ContainerResolver[] => {
    const index = source.get('netnsIndex');
    const known = new Map(index.missing ? [] : index.value.namespaces.map((n) => [n.inode, n]));
    return source.all('netnsResolvConf').flatMap((fact): ContainerResolver[] => {
      const inode = fact.instance ?? '';
      const namespace = known.get(inode);
      // without the list, whose they are is for the sender to know
      if (!index.missing && (namespace === undefined || !isContainer(namespace))) return [];
      return [{ inode, fact, servers: nameServers(fact.value) }];
    });
  },
);

function isContainer({ cgroup, pin, comm }: Namespace): boolean {
  if (/^(qemu|cloud-hyper|firecracker|virtiofsd|kata|runsc|containerd-shim)/.test(comm ?? '')) return false;
  return cgroup !== undefined || /\/netns\/cni-|\/docker\/netns\//.test(pin ?? '');
}
