import type { FactKind, FactTypes, Fdb, Links } from '../facts/index.ts';

const hasLo = ({ devices }: Links): boolean => devices.some((d) => d.name === 'lo');

/** Entries of something else than tunnels and one bridge: the kernel keeps some for each card, and `bridge fdb show br cni0` leaves them out. */
function beyondOneBridge({ entries }: Fdb): boolean {
  const own = entries.filter((e) => e.dst === undefined);
  const masters = new Map(own.flatMap((e) => (e.master === undefined ? [] : [[e.dev, e.master]])));
  const bridges = new Set(masters.values());
  const owners = new Set(own.map((e) => masters.get(e.dev) ?? e.dev));
  return owners.size > 1 || [...owners].some((owner) => !bridges.has(owner));
}

/** What a whole list of a kind has on every host. */
const ALWAYS: { readonly [K in FactKind]?: (value: FactTypes[K]) => boolean } = {
  addresses: hasLo,
  links: hasLo,
  linksJson: hasLo,
  fdb: beyondOneBridge,
  // those of lo are in the table `local`
  routes4: ({ routes, allTables }) => routes.length > 0 && (!allTables || routes.some((r) => r.table === 'local')),
  // the rule for the local table
  rules4: ({ rules }) => rules.length > 0,
  // in `sysctl -a` and in what the collector reads
  sysctl: ({ values }) => values.some((v) => v.key.startsWith('net/core/')),
  dockerNetworks: ({ networks }) => networks.some((n) => n.driver === 'null'),
};

/** A part of a list, as `ip addr show eth0`, `sysctl net.ipv4.ip_forward` or `docker network inspect app` print it: what it does not show may be there. */
export const isPart = <K extends FactKind>(kind: K, value: FactTypes[K]): boolean => ALWAYS[kind]?.(value) === false;
