import type { IptTable, Ruleset } from '../facts/firewall.ts';
import { serviceKeys } from './service-keys.ts';

/** A place that a service sends connections to. */
export interface Endpoint {
  /** `default/web:http`. */
  readonly service: string;
  /** `10.96.0.20 tcp 80`. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Of new connections, 0 to 1; null: the rules do not choose by plain chance. */
  readonly share: number | null;
  /** KUBE-SVC-..., and KUBE-SEP-...: the same on every node. */
  readonly from: string;
  readonly chain: string;
}

const JUMP =
  /^-A KUBE-SV[CL]-\S+ (?:-m comment --comment "[^"]* -> (\d[\d.]*):(\d+)" )?(?:-m statistic --mode random --probability ([\d.]+) )?-j (KUBE-SEP-\S+)$/;
const TARGET = / -j DNAT --to-destination (\d[\d.]*):(\d+)(?: |$)/;

/**
 * Every endpoint of every ClusterIP with its share of connections, as the rules choose: each jump takes its probability of what those before it
 * left. Jumps of session affinity (`-m recent`) repeat endpoints for clients that were there before.
 */
export function endpointsOf({ tables }: Pick<Ruleset, 'tables'>): readonly Endpoint[] {
  const nat = tables.get('nat');
  if (nat === undefined) return [];
  return serviceKeys({ tables }).flatMap(({ key, name, backed, chain, index }): Endpoint[] => {
    const own = backed ? / -j (KUBE-SV[CL]-\S+)$/.exec(chain.texts()[index] ?? '')?.[1] : undefined;
    return own === undefined ? [] : endpointsIn(nat, own, { service: name, key, from: own });
  });
}

function endpointsIn(nat: IptTable, chain: string, of: Pick<Endpoint, 'service' | 'key' | 'from'>): Endpoint[] {
  const found: Endpoint[] = [];
  let left: number | null = 1;
  for (const text of nat.chains.get(chain)?.texts() ?? []) {
    if (text.includes(' -j KUBE-MARK-MASQ') || text.includes(' -m recent ')) continue;
    const [, told, port, chance, sep] = JUMP.exec(text) ?? [];
    if (sep === undefined) {
      left = null;
      continue;
    }
    const to = told === undefined ? targetOf(nat, sep) : { address: told, port: Number(port) };
    if (to !== null)
      found.push({
        ...of,
        address: to.address,
        port: to.port,
        share: left === null ? null : left * Number(chance ?? 1),
        chain: sep,
      });
    if (left !== null) left *= 1 - Number(chance ?? 1);
  }
  return found;
}

/** Where an endpoint's own chain leads, and its rule. */
export function targetOf(
  nat: IptTable,
  sep: string,
): { readonly address: string; readonly port: number; readonly line: number } | null {
  const chain = nat.chains.get(sep);
  for (const [index, text] of (chain?.texts() ?? []).entries()) {
    const [, address, port] = TARGET.exec(text) ?? [];
    if (chain !== undefined && address !== undefined)
      return { address, port: Number(port), line: chain.rule(index).line };
  }
  return null;
}

/** The line of the rule that sends a service's connections to this endpoint; null: the ruleset has none (chains that nothing leads to stay for a while). */
export function lineOf(
  { tables }: Pick<Ruleset, 'tables'>,
  { key, from, chain, address, port }: Endpoint,
): number | null {
  const nat = tables.get('nat');
  if (nat === undefined || !serviceKeys({ tables }).some((s) => s.key === key && s.backed)) return null;
  if (
    nat.chains
      .get(from)
      ?.texts()
      .some((t) => t.endsWith(` -j ${chain}`)) !== true
  )
    return null;
  const to = targetOf(nat, chain);
  return to !== null && to.address === address && to.port === port ? to.line : null;
}
