import { type Prefix, parsePrefix, prefixCovers } from '../core/address.ts';
import type { IptTable, Ruleset } from '../facts/firewall.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { type ServiceRule, serviceRules } from './service-rules.ts';

export const SERVICE_KINDS = ['iptables', 'iptablesNft', 'iptablesLegacy'] as const satisfies readonly FactKind[];
type ServiceKind = (typeof SERVICE_KINDS)[number];

/** The rules of kube-proxy's iptables mode, in whichever ruleset they are; null: in none that was collected. */
export function kubeServices(source: Source<ServiceKind>): Fact<ServiceKind> | null {
  for (const kind of SERVICE_KINDS) {
    const fact = source.get(kind);
    if (!fact.missing && (fact.value.tables.get('nat')?.chains.get('KUBE-SERVICES')?.ruleCount ?? 0) > 0) return fact;
  }
  return null;
}

/** A service that sends some connections of a network to a container of the same network, with the client's own address. */
export interface LocalService {
  readonly name: string;
  readonly address: string;
  readonly port: number | null;
  readonly backend: string;
  /** Line of the DNAT rule. */
  readonly line: number;
}

const DNAT = /-j DNAT --to-destination (\d[\d.]*):\d+/;

/**
 * The first service with a backend in `network` whose clients there keep their address; 'masqueraded': their answers come back through the
 * node (kube-proxy does so for all services or for none); null: no service has a backend there.
 */
export function localService(rules: Ruleset, network: Prefix): LocalService | 'masqueraded' | null {
  const chains = rules.tables.get('nat')?.chains;
  const portal = chains?.get('KUBE-SERVICES');
  if (chains === undefined || portal === undefined) return null;
  const services = serviceRules(portal);
  const spared = (service: ServiceRule) =>
    isMasqueraded(service, [...(chains.get(service.chain)?.texts() ?? []), ...portal.texts()], network);
  const [first] = services;
  let masqueraded = first !== undefined && spared(first);
  for (const service of services) {
    const endpoint = localEndpoint(chains, service, network);
    if (endpoint === null) continue;
    if (spared(service)) masqueraded = true;
    else
      return {
        name: (service.comment ?? service.chain).replace(/ cluster IP$/, ''),
        address: service.address,
        port: service.port,
        ...endpoint,
      };
  }
  return masqueraded ? 'masqueraded' : null;
}

function localEndpoint(
  chains: IptTable['chains'],
  service: ServiceRule,
  network: Prefix,
): { readonly backend: string; readonly line: number } | null {
  for (const jump of chains.get(service.chain)?.texts() ?? []) {
    const name = / -j (KUBE-SEP-[^ ]+)$/.exec(jump)?.[1];
    const endpoint = name === undefined ? undefined : chains.get(name);
    for (const [index, text] of (endpoint?.texts() ?? []).entries()) {
      const backend = DNAT.exec(text)?.[1];
      const at = backend === undefined ? null : parsePrefix(`${backend}/32`);
      if (backend !== undefined && at !== null && prefixCovers(network, at) && endpoint !== undefined)
        return { backend, line: endpoint.rule(index).line };
    }
  }
  return null;
}

/** `--masquerade-all`, or a --cluster-cidr that leaves the clients out: their packets are marked on the way to this service. */
function isMasqueraded({ address }: ServiceRule, texts: readonly string[], clients: Prefix): boolean {
  return texts.some((text) => {
    if (!text.endsWith(' -j KUBE-MARK-MASQ') || !text.includes(` -d ${address}/32 `)) return false;
    const spared = / ! -s ([\d./]+) /.exec(text)?.[1];
    const prefix = spared === undefined ? null : parsePrefix(spared);
    return prefix === null ? !/ -s /.test(text) : !prefixCovers(prefix, clients);
  });
}
