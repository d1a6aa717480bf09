import { formatIp4, parseIp4, parsePrefix } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { type ServiceRule, serviceRules } from './service-rules.ts';

/** The cluster's service range: from a flag of the control plane, else the hull of the ClusterIPs that kube-proxy wrote. */
export function serviceRange(source: Source<'staticPods' | 'iptables'>): {
  readonly name: string;
  readonly prefix: string;
  /** The widest range it may be: of a hull only what was used is known. */
  readonly widest: string;
  readonly fact: Fact<'staticPods'> | Fact<'iptables'>;
  readonly span: Span;
} | null {
  const pods = source.get('staticPods');
  if (!pods.missing) {
    for (const line of pods.value.lines) {
      const value = /--service-cluster-ip-range[= ]"?([0-9./]+)/.exec(line.text)?.[1];
      if (value !== undefined && parsePrefix(value) !== null)
        return { name: '--service-cluster-ip-range', prefix: value, widest: value, fact: pods, span: line };
    }
  }
  const rules = source.get('iptables');
  if (rules.missing) return null;
  const chain = rules.value.tables.get('nat')?.chains.get('KUBE-SERVICES');
  const hull = chain === undefined ? null : clusterIps(serviceRules(chain));
  return chain === undefined || hull === null
    ? null
    : { ...hull, name: 'hull of observed ClusterIPs', fact: rules, span: chain.rule(hull.first) };
}

const WIDEST_RANGE = 12;

/** `first`: index of the first rule with one. */
type Hull = { readonly prefix: string; readonly widest: string; readonly first: number };

/** Nodes of one cluster share these: the hull of each array is found once. */
const hulls = new WeakMap<readonly ServiceRule[], Hull | null>();

function clusterIps(rules: readonly ServiceRule[]): Hull | null {
  const known = hulls.get(rules);
  if (known !== undefined) return known;
  const hull = hullOf(rules);
  hulls.set(rules, hull);
  return hull;
}

function hullOf(rules: readonly ServiceRule[]): Hull | null {
  let low = 0xffffffff;
  let high = -1;
  let first: number | undefined;
  let api: number | undefined;
  for (const { index, address, comment } of rules) {
    // `cluster IP` rules only: external and load-balancer addresses are in this chain too
    const ip = parseIp4(address);
    if (ip === null || (comment !== null && !/cluster IP/.test(comment))) continue;
    first ??= index;
    if (comment?.startsWith('default/kubernetes:') === true) api ??= ip;
    low = Math.min(low, ip);
    high = Math.max(high, ip);
  }
  if (first === undefined) return null;
  const block = (ip: number, length: number) => Math.floor(ip / 2 ** (32 - length));
  let length = 32;
  while (length > 0 && block(low, length) !== block(high, length)) length -= 1;
  // an API server takes no wider range: these are services of two ranges, and what lies between them is nobody's
  if (length < WIDEST_RANGE) return null;
  // the API server has the first address of the range: it begins there
  let most = WIDEST_RANGE;
  if (api !== undefined) while (most < length && block(api - 1, most) * 2 ** (32 - most) !== api - 1) most += 1;
  const range = (bits: number) => `${formatIp4(block(low, bits) * 2 ** (32 - bits))}/${bits}`;
  return { prefix: range(length), widest: range(most), first };
}
