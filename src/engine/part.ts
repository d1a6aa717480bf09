import type { FactKind, FactTypes, Links } from '../facts/index.ts';

const hasLo = ({ devices }: Links): boolean => devices.some((d) => d.name === 'lo');

/** What a whole list of a kind has on every host. */
const ALWAYS: { readonly [K in FactKind]?: (value: FactTypes[K]) => boolean } = {
  addresses: hasLo,
  links: hasLo,
  linksJson: hasLo,
  // of lo's own address, and the rule for the local table
  routes4: ({ routes }) => routes.length > 0,
  rules4: ({ rules }) => rules.length > 0,
  // each device has entries of its own for the groups that it listens to
  fdb: ({ entries }) => entries.length > 0,
  // in `sysctl -a` and in what the collector reads
  sysctl: ({ values }) => values.some((v) => v.key.startsWith('net/core/')),
  dockerNetworks: ({ networks }) => networks.some((n) => n.driver === 'null'),
};

/** A part of a list, as `ip addr show eth0`, `sysctl net.ipv4.ip_forward` or `docker network inspect app` print it: what it does not show may be there. */
export const isPart = <K extends FactKind>(kind: K, value: FactTypes[K]): boolean => ALWAYS[kind]?.(value) === false;
