import { formatPrefix, parsePrefix } from '../core/address.ts';
import type { FactKind, FactTypes, LinkDevice, Links, PolicyRules, Routes } from '../facts/index.ts';

/** The node's other lists, as far as there are any; whether they are whole is not asked. */
export type Look = <K extends FactKind>(kind: K) => FactTypes[K] | undefined;

type Whole<K extends FactKind> = (value: FactTypes[K], look: Look) => boolean;

const hasLo = ({ devices }: Links): boolean => devices.some((d) => d.name === 'lo');

/** Every other list of the kernel names no device that this one lacks; a head without a line below it was cut there. */
function hasEveryDevice(links: Links, look: Look): boolean {
  if (!hasLo(links) || headsOnly(links)) return false;
  const names = new Set(links.devices.map((d) => d.name));
  const routes = look('routes4')?.routes ?? [];
  const lists = [look('addresses')?.devices, look('links')?.devices] as const;
  return (
    links.devices.every((d) => d.master === undefined || names.has(d.master)) &&
    routes.every((r) => [r, ...r.nexthops].every(({ dev }) => dev === undefined || names.has(dev))) &&
    lists.every((list) => list?.every((d) => names.has(d.name)) !== false) &&
    look('neighbours')?.entries.every((e) => names.has(e.dev)) !== false
  );
}

/** The kernel writes the address that it made a route of into that route; of IPv6 it is the destination of one in the table local. */
function hasKernelSources({ devices }: Links, look: Look): boolean {
  const own = new Set(devices.flatMap((d) => d.addresses.map((a) => a.address)));
  const ofKernel = (kind: 'routes4' | 'routes6') => (look(kind)?.routes ?? []).filter((r) => r.proto === 'kernel');
  return (
    ofKernel('routes4').every(({ src }) => src === undefined || own.has(src)) &&
    ofKernel('routes6').every(({ type, dst }) => type !== 'local' || own.has(dst.replace('/128', '')))
  );
}

/** `ip` prints `link/...` below each head: is there a head alone, while others have more? */
function headsOnly({ devices }: Links): boolean {
  const last = devices.at(-1);
  return last !== undefined && isHead(last) && !devices.every(isHead);
}

const isHead = ({ line, endLine }: LinkDevice): boolean => endLine === undefined || endLine === line;

/** Entries of something else than tunnels and one bridge: the kernel keeps some for each card, and `bridge fdb show br cni0` leaves them out. */
function beyondOneBridge({ entries }: FactTypes['fdb']): boolean {
  const own = entries.filter((e) => e.dst === undefined);
  const masters = new Map(own.flatMap((e) => (e.master === undefined ? [] : [[e.dev, e.master]])));
  const bridges = new Set(masters.values());
  const owners = new Set(own.map((e) => masters.get(e.dev) ?? e.dev));
  return owners.size > 1 || [...owners].some((owner) => !bridges.has(owner));
}

/** Each port of a bridge has its own address in the table (br_fdb_add_local), each Ethernet device that is up that of all hosts (ip_mc_up). */
function hasEveryPort({ entries }: FactTypes['fdb'], look: Look): boolean {
  const devices = look('links')?.devices ?? [];
  const bridges = new Set(devices.flatMap((d) => (d.kind === 'bridge' ? [d.name] : [])));
  const seen = new Set(entries.map((e) => e.dev));
  const listed = ({ kind = '', flags, master }: LinkDevice) =>
    (ETHERNET.has(kind) && flags.includes('MULTICAST') && flags.includes('UP')) ||
    (master !== undefined && bridges.has(master));
  return devices.every((d) => seen.has(d.name) || !listed(d));
}

/** Kinds of devices that the table lists; '' is a network card. */
const ETHERNET: ReadonlySet<string> = new Set(['', 'veth', 'bridge']);

/** Nothing of the table `local`, where there is always lo, though other tables than main are shown. */
const hasTables = ({ routes, allTables }: Routes): boolean =>
  routes.length > 0 && (!allTables || routes.some((r) => r.table === 'local'));

/** Has it the routes that the kernel makes of each address of a device that is up (fib_add_ifaddr)? */
function hasKernelRoutes(value: Routes, look: Look): boolean {
  if (!hasTables(value)) return false;
  const { routes, allTables } = value;
  const known = new Set(routes.map((r) => `${r.type} ${r.dst}`));
  const up = (look('addresses')?.devices ?? []).filter((d) => d.flags.includes('UP'));
  return up.every(({ name, addresses, master }) =>
    addresses.every(({ family, address, prefixLength, secondary, peer }) => {
      if (family === 6 || peer !== undefined || master !== undefined) return true;
      const net = parsePrefix(`${address}/${prefixLength}`);
      if (allTables && !known.has(`local ${address}/32`)) return false;
      return (
        name === 'lo' || net === null || secondary || prefixLength === 32 || known.has(`unicast ${formatPrefix(net)}`)
      );
    }),
  );
}

/** It begins with the rule for the table local and ends with that for main, behind which IPv4 has one for default. */
const hasUsualRules = ({ rules }: PolicyRules): boolean =>
  ['local', 'main'].every((table) => rules.some((r) => r.table === table && r.suppressPrefixLength === undefined));

/** What a whole list of a kind has on every host, or where the node's other lists say so. */
const WHOLE: { readonly [K in FactKind]?: Whole<K> } = {
  addresses: (links, look) => hasEveryDevice(links, look) && hasKernelSources(links, look),
  links: hasEveryDevice,
  linksJson: hasEveryDevice,
  fdb: (fdb, look) => beyondOneBridge(fdb) && hasEveryPort(fdb, look),
  routes4: hasKernelRoutes,
  rules4: hasUsualRules,
  rules6: hasUsualRules,
  netnsAddresses: hasLo,
  netnsLinks: hasLo,
  netnsRoutes4: hasTables,
  netnsRules4: hasUsualRules,
  // in `sysctl -a` and in what the collector reads
  sysctl: ({ values }) => values.some((v) => v.key.startsWith('net/core/')),
  // a node that has just booted has none, and so has a file that was never filled
  neighbours: ({ entries }) => entries.length > 0,
  dockerNetworks: ({ networks }, look) =>
    networks.some((n) => n.driver === 'null') &&
    look('dockerNetworkList')?.networks.every((known) => networks.some((n) => n.name === known.name)) !== false,
  dockerContainers: ({ containers }, look) => {
    const counted = look('dockerInfo')?.settings.find((s) => s.path === 'ContainersRunning')?.value;
    return typeof counted !== 'number' || containers.filter((c) => c.state === 'running').length >= counted;
  },
};

/**
 * A part of a list: as `ip addr show eth0`, `sysctl net.ipv4.ip_forward` or `docker network inspect app` print it, or what `head` and a
 * terminal's scroll-back leave of one. What it does not show may be there.
 */
export const isPart = <K extends FactKind>(kind: K, value: FactTypes[K], look: Look): boolean =>
  WHOLE[kind]?.(value, look) === false;
