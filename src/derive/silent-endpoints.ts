import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Endpoint } from './service-endpoints.ts';

/** An endpoint whose pod does not listen on its port. */
export interface Silent {
  readonly endpoint: Endpoint;
  readonly sockets: Fact<'netnsSockets'>;
  /** `80/tcp`: what the pod listens on. */
  readonly listens: readonly string[];
}

interface PodSource extends Source<FactKind> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
  at?<K extends 'netnsSockets' | 'netnsIptablesNft' | 'netnsIptablesLegacy' | 'netnsNftTables'>(
    kind: K,
    instance: string,
  ): Fact<K> | undefined;
}

/** Of the endpoints that are pods of this node, one a service and so many in all, those that nothing listens for. */
export function silentEndpoints(
  source: PodSource,
  endpoints: readonly Endpoint[],
  most: number,
): { readonly silent: readonly Silent[]; readonly asked: number } {
  const inodes = new Map<string, string>();
  for (const f of source.all('netnsAddresses'))
    for (const d of f.value.devices) for (const a of d.addresses) inodes.set(a.address, f.instance ?? '');
  const asked = new Set<string>();
  const found: Silent[] = [];
  for (const endpoint of endpoints) {
    const inode = inodes.get(endpoint.address);
    if (inode === undefined || asked.size >= most || asked.has(endpoint.key)) continue;
    asked.add(endpoint.key);
    const sockets = source.at?.('netnsSockets', inode);
    if (sockets?.closed !== true || isSilent(sockets, endpoint) !== true || redirects(source, inode)) continue;
    const listens = sockets.value.listeners.filter((l) => !/^(127\.|::1$)/.test(l.address));
    found.push({ endpoint, sockets, listens: [...new Set(listens.map((l) => `${l.port}/${l.proto}`))] });
  }
  return { silent: found, asked: asked.size };
}

function isSilent(sockets: Fact<'netnsSockets'>, { key, address, port }: Endpoint): boolean | null {
  const proto = key.split(' ')[1];
  if (proto !== 'tcp' && proto !== 'udp') return null;
  return !sockets.value.listeners.some(
    (l) =>
      l.proto === proto &&
      l.port === port &&
      (l.address === '0.0.0.0' ||
        l.address === address ||
        l.address === `::ffff:${address}` ||
        (l.address === '::' && l.v6only !== true)),
  );
}

const TABLES = /^(filter|nat|mangle|raw|security)$/;

/** Rules in the pod (a service mesh, containers in containers) may give its packets another port; true also where they were not collected. */
function redirects(source: PodSource, inode: string): boolean {
  const rulesets = [source.at?.('netnsIptablesNft', inode), source.at?.('netnsIptablesLegacy', inode)];
  const tables = source.at?.('netnsNftTables', inode);
  if (rulesets.every((r) => r === undefined)) return true;
  if (tables?.value.tables.some((t) => t.family !== 'ip6' && !TABLES.test(t.name)) === true) return true;
  return rulesets.some((r) => {
    const chains = r?.value.tables.get('nat')?.chains;
    return (chains?.get('PREROUTING')?.ruleCount ?? 0) > 0 || (r?.value.markers.length ?? 0) > 0;
  });
}
