import { parsePrefix, prefixCovers } from '../core/address.ts';
import type { IptChain } from '../facts/firewall.ts';
import type { Source } from './devices.ts';
import type { PodNetwork } from './pods.ts';

const RULESETS = ['iptables', 'iptablesNft', 'iptablesLegacy'] as const;
/** So many are tried: they stand for all that have rules of their own. */
const MOST = 8;

export type SingleAddressKinds = (typeof RULESETS)[number] | 'cniLeases';

/** What tells which addresses containers have. */
export const WHO_LIVES = ['netns.addr-json', 'docker.containers', 'cni.ipam'];

/**
 * An address of the network that a rule or a lease names alone and that `fares` better than the sample: the CNI plugins bridge and firewall
 * write their rules for single addresses, and then a sample that nobody has proves nothing. null: none, or the sample is in use.
 */
export function spared(
  source: Source<SingleAddressKinds>,
  net: PodNetwork,
  fares: (address: string) => boolean,
): string | null {
  return net.live ? null : (singleAddresses(source, net).find(fares) ?? null);
}

function singleAddresses(source: Source<SingleAddressKinds>, net: PodNetwork): readonly string[] {
  const found = new Set<string>();
  const add = (text: string) => {
    const ip = parsePrefix(text);
    const address = text.replace(/\/32$/, '');
    const own = net.bridge.prefixes.some((p) => p.address === address);
    if (ip?.length === 32 && !own && address !== net.sample && prefixCovers(net.prefix, ip)) found.add(address);
  };
  const leases = source.get('cniLeases');
  if (!leases.missing) for (const lease of leases.value.leases) add(`${lease.ip}/32`);
  for (const kind of RULESETS) {
    const rules = source.get(kind);
    if (rules.missing) continue;
    for (const table of rules.value.tables.values())
      for (const chain of table.chains.values()) for (const text of sourcesOf(chain)) add(text);
  }
  return [...found].slice(0, MOST);
}

function sourcesOf(chain: IptChain): readonly string[] {
  return chain.shared().flatMap(({ source }) => (source === undefined || source.negated ? [] : [source.value]));
}
