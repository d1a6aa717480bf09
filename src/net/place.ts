import { type Addr, formatAddr, isLinkLocal, isLoopback, parseAddr } from './addr.ts';
import type { NetCluster } from './cluster.ts';
import type { NetNode } from './model.ts';
import type { Space } from './space.ts';
import { isUplink } from './wire.ts';

/** The place names nothing in the evidence, or several things; the message says what is there. */
export class PlaceError extends Error {
  override readonly name = 'PlaceError';
}

/** Where a packet starts. `space` null: outside the evidence, with this address. */
export interface Start {
  readonly space: Space | null;
  /** null: the kernel chooses. */
  readonly source: Addr | null;
}

/** `node-a`, `10.244.1.10`, `node-a/container`. */
export function startOf(cluster: NetCluster, place: string): Start {
  const addr = parseAddr(place);
  if (addr !== null) return startAt(cluster, addr);
  if (cluster.ids.includes(place)) {
    const node = cluster.node(place);
    if (node !== undefined) return { space: node.host, source: null };
  }
  const slash = place.indexOf('/');
  if (slash > 0) {
    const space = namespaceOf(cluster, place.slice(0, slash), place.slice(slash + 1));
    return { space, source: null };
  }
  throw new PlaceError(`there is no node ${place}; the case has ${some(cluster.ids)}`);
}

function startAt(cluster: NetCluster, addr: Addr): Start {
  const owners = cluster.owners(addr);
  const spaces = new Map<string, Space>();
  for (const owner of owners) {
    const node = cluster.node(owner.node);
    const space = owner.inode === null ? node?.host : node?.space(owner.inode);
    if (space !== undefined) spaces.set(space.id, space);
  }
  const [first, ...more] = spaces.values();
  if (first === undefined) return { space: null, source: addr };
  if (more.length > 0) {
    const where = [...spaces.values()].map((s) => s.id).join(', ');
    throw new PlaceError(
      `${formatAddr(addr)} is in ${spaces.size} namespaces (${where}); name the node: NODE or NODE/CONTAINER`,
    );
  }
  return { space: first, source: addr };
}

/** A container by its name or id, a namespace by its pinned name or inode, a pod's address. */
function namespaceOf(cluster: NetCluster, id: string, name: string): Space {
  const node = cluster.node(id);
  if (node === undefined) throw new PlaceError(`there is no node ${id}; the case has ${some(cluster.ids)}`);
  const direct =
    node.space(name) ??
    onlyOne(
      withAddress(node, (addr) => addr === name),
      `${id}/${name}`,
    );
  if (direct !== undefined) return direct;
  const index = node.facts.get('netnsIndex');
  const pinned = index.missing ? undefined : index.value.namespaces.find((n) => n.pin?.endsWith(`/${name}`) === true);
  const pinnedSpace = pinned === undefined ? undefined : node.space(pinned.inode);
  if (pinnedSpace !== undefined) return pinnedSpace;
  const docker = node.facts.get('dockerContainers');
  const containers = docker.missing ? [] : docker.value.containers;
  const begin = containers.filter((c) => name.length >= 6 && c.id.startsWith(name));
  const found =
    containers.find((c) => c.name.replace(/^\//, '') === name) ?? (begin.length === 1 ? begin[0] : undefined);
  if (found === undefined) {
    const names = containers.map((c) => c.name.replace(/^\//, ''));
    throw new PlaceError(`${id} has no container ${name}${names.length === 0 ? '' : `; it has ${some(names)}`}`);
  }
  if (found.networkMode === 'host') return node.host;
  const byPid =
    index.missing || found.pid === undefined ? undefined : index.value.namespaces.find((n) => n.pid === found.pid);
  const byPidSpace = byPid === undefined ? undefined : node.space(byPid.inode);
  if (byPidSpace !== undefined) return byPidSpace;
  const ips = new Set(found.networks.flatMap((n) => (n.ip === undefined ? [] : [n.ip])));
  const byIp = onlyOne(
    withAddress(node, (addr) => ips.has(addr)),
    `${id}/${name}`,
  );
  if (byIp !== undefined) return byIp;
  throw new PlaceError(`the network namespace of ${name} on ${id} was not collected`);
}

/** Namespaces inside the node that have such an address. */
const withAddress = (node: NetNode, wanted: (addr: string) => boolean): readonly Space[] =>
  node.spaces.filter((s) => s.inode !== null && s.devices.addresses.some((a) => wanted(formatAddr(a.addr))));

function onlyOne(spaces: readonly Space[], place: string): Space | undefined {
  const [first, ...more] = spaces;
  if (more.length === 0) return first;
  const where = spaces.map((s) => s.id).join(', ');
  throw new PlaceError(`${place} may be any of ${spaces.length} namespaces: ${where}; name one of them`);
}

export interface Target {
  readonly addr: Addr;
  readonly port: number | null;
}

/** `10.96.0.1:443`, `[fd00::1]:80`, `10.244.2.10`, `node-b:30080`, `node-b`. */
export function targetOf(cluster: NetCluster, text: string): Target {
  const whole = parseAddr(text);
  if (whole !== null) return { addr: whole, port: null };
  const m = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^(.+):(\d{1,5})$/.exec(text);
  const host = m?.[1] ?? text;
  const port = m?.[2] === undefined ? null : Number(m[2]);
  if (port !== null && (port < 1 || port > 65535))
    throw new PlaceError(`${port} of ${text} is no port: ports go from 1 to 65535`);
  const addr = parseAddr(host) ?? nodeAddress(cluster, host);
  if (addr !== null) return { addr, port };
  const container =
    host.indexOf('/') > 0
      ? namespaceOf(cluster, host.slice(0, host.indexOf('/')), host.slice(host.indexOf('/') + 1))
      : null;
  const own = container?.devices.addresses.find((a) => !isLoopback(a.addr) && !isLinkLocal(a.addr));
  if (own !== undefined) return { addr: own.addr, port };
  throw new PlaceError(`${host} is no address, and no node of the case (${some(cluster.ids)})`);
}

/** The address by which other nodes know it: the first one of an uplink. */
function nodeAddress(cluster: NetCluster, id: string): Addr | null {
  if (!cluster.ids.includes(id)) return null;
  const host = cluster.node(id)?.host;
  if (host === undefined) return null;
  const usable = host.devices.addresses.filter(
    (a) => !isLoopback(a.addr) && !isLinkLocal(a.addr) && a.scope === 'global',
  );
  const onUplink = usable.filter((a) => {
    const device = host.device(a.dev);
    return device !== undefined && isUplink({ space: host, device });
  });
  const first = onUplink.find((a) => typeof a.addr === 'number') ?? onUplink[0] ?? usable[0];
  if (first === undefined) throw new PlaceError(`no address of ${id} is in the evidence`);
  return first.addr;
}

const some = (names: readonly string[]): string =>
  names.length <= 8 ? names.join(', ') : `${names.slice(0, 8).join(', ')} and ${names.length - 8} more`;
