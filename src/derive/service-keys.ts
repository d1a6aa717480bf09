import { parseIp4 } from '../core/address.ts';
import type { IptChain, IptTable, Ruleset } from '../facts/firewall.ts';

/** One address and port of a service, as kube-proxy (iptables mode) has it on a node. */
export interface ServiceKey {
  /** `10.96.0.10 udp 53`. */
  readonly key: string;
  /** `kube-system/kube-dns:dns`; '' without a comment. */
  readonly name: string;
  /** It leads to backends; else it is refused. */
  readonly backed: boolean;
  readonly chain: IptChain;
  readonly index: number;
}

/**
 * A ClusterIP's rule: in nat it leads to the service's backends (KUBE-SVC, or KUBE-SVL with internalTrafficPolicy Local), in filter it refuses
 * because there are none. Load balancers' and external addresses (KUBE-EXT, KUBE-FW, `loadbalancer IP`) depend on more than the service.
 */
const CLUSTER_IP =
  /^-A KUBE-SERVICES -d (\d[\d.]*)(?:\/32)? -p (tcp|udp|sctp) (?:-m comment --comment (?:"([^"\\]*)"|([^ "\\]+)) )?-m (?:tcp|udp|sctp) --dport (\d+) -j (KUBE-SV[CL]-\S+|REJECT|DROP)(?: |$)/;
const OTHER = /(?:loadbalancer|external) IP$/;

interface Found {
  readonly key: string;
  readonly name: string;
  readonly index: number;
}

/** Nodes of one cluster share the rules of a long chain: each array is read once. */
const known = new WeakMap<readonly string[], readonly Found[]>();

const NONE: readonly Found[] = [];

function foundIn(chain: IptChain | undefined): readonly Found[] {
  if (chain === undefined) return NONE;
  const texts = chain.texts();
  let found = known.get(texts);
  if (found === undefined) {
    found = texts.flatMap((text, index): Found[] => {
      const [, address = '', proto = '', quoted, plain, port = ''] = CLUSTER_IP.exec(text) ?? [];
      const comment = quoted ?? plain ?? '';
      if (address === '' || OTHER.test(comment)) return [];
      const name = comment.replace(/ (?:cluster IP|has no (?:local )?endpoints)$/, '');
      return [{ key: `${address} ${proto} ${port}`, name, index }];
    });
    known.set(texts, found);
  }
  return found;
}

/** Every ClusterIP and port that the ruleset knows, with or without backends. */
export function serviceKeys({ tables }: Pick<Ruleset, 'tables'>): readonly ServiceKey[] {
  return (['nat', 'filter'] as const).flatMap((table) => {
    const chain = tables.get(table)?.chains.get('KUBE-SERVICES');
    return chain === undefined ? [] : foundIn(chain).map((f) => ({ ...f, backed: table === 'nat', chain }));
  });
}

const keySets = new WeakMap<readonly Found[], ReadonlySet<string>>();

/** The ClusterIP and port lead to backends in nat, which comes before any refusal in filter. */
export function isBacked({ tables }: Pick<Ruleset, 'tables'>, key: string): boolean {
  const found = foundIn(tables.get('nat')?.chains.get('KUBE-SERVICES'));
  let keys = keySets.get(found);
  if (keys === undefined) {
    keys = new Set(found.map((f) => f.key));
    keySets.set(found, keys);
  }
  return keys.has(key);
}

/** One of them, without a look at the others. */
export function firstKey({ tables }: Pick<Ruleset, 'tables'>): Pick<ServiceKey, 'chain' | 'index'> | null {
  for (const table of ['nat', 'filter']) {
    const chain = tables.get(table)?.chains.get('KUBE-SERVICES');
    const [first] = foundIn(chain);
    if (chain !== undefined && first !== undefined) return { chain, index: first.index };
  }
  return null;
}

export const hasServices = (ruleset: Pick<Ruleset, 'tables'>): boolean => firstKey(ruleset) !== null;

/** A set of services in a few bytes: nodes that have the same ones have the same text. */
export interface ServiceSum {
  readonly count: number;
  readonly sum: string;
}

const sums = new WeakMap<readonly Found[], readonly [number, number]>();

/** Of each part a sum that does not depend on the order of rules. */
function sumOf(found: readonly Found[]): readonly [number, number] {
  let sum = sums.get(found);
  if (sum === undefined) {
    let [plus, mixed] = [0, 0];
    for (const { key } of found) {
      let hash = 0x811c9dc5;
      for (let i = 0; i < key.length; i += 1) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
      plus = (plus + (hash >>> 0)) >>> 0;
      mixed = (mixed ^ Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)) >>> 0;
    }
    sum = [plus, mixed];
    sums.set(found, sum);
  }
  return sum;
}

export function serviceSum({ tables }: Pick<Ruleset, 'tables'>): ServiceSum {
  const parts = ['nat', 'filter'].map((table) => foundIn(tables.get(table)?.chains.get('KUBE-SERVICES')));
  const count = parts.reduce((n, p) => n + p.length, 0);
  const sum = parts.map(sumOf).reduce(([a, b], [c, d]) => [(a + c) >>> 0, (b ^ d) >>> 0], [0, 0]);
  return { count, sum: sum.map((n) => n.toString(16)).join('-') };
}

/**
 * Where `default/kubernetes` leads: the cluster's API servers, which clusters do not share. null: it has no backends here, or only loopback ones
 * (a proxy beside every node), which say nothing.
 */
export function apiServers(nat: IptTable | undefined): string | null {
  const service = nat?.chains.get('KUBE-SERVICES');
  const index = foundIn(service).find((f) => f.name === 'default/kubernetes:https')?.index;
  const svc = index === undefined ? undefined : / -j (KUBE-SVC-\S+)$/.exec(service?.texts()[index] ?? '')?.[1];
  if (nat === undefined || svc === undefined) return null;
  const found = (nat.chains.get(svc)?.texts() ?? []).flatMap((jump) => {
    const sep = / -j (KUBE-SEP-\S+)$/.exec(jump)?.[1];
    const texts = sep === undefined ? [] : (nat.chains.get(sep)?.texts() ?? []);
    return texts.flatMap((text) => / --to-destination (\d[\d.]*:\d+)/.exec(text)?.[1] ?? []);
  });
  const servers = [...new Set(found)].filter((s) => parseIp4(s.split(':')[0] ?? '') !== null && !s.startsWith('127.'));
  return servers.length === 0 ? null : servers.sort().join(',');
}
