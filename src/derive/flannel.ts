import type { Prefix } from '../core/address.ts';
import { parsePrefix } from '../core/address.ts';
import type { Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { perSource } from './per-source.ts';
import { variable } from './settings.ts';

/** What flanneld leased to this node: /run/flannel/subnet.env. */
export interface FlannelLease {
  readonly fact: Fact<'flannelEnv'>;
  /** FLANNEL_NETWORK: the whole cluster's pod range; several ranges give the first. */
  readonly network: { readonly prefix: Prefix; readonly line: number } | null;
  /** FLANNEL_SUBNET: `address` is what the bridge must have, as 10.244.1.1. */
  readonly subnet: {
    readonly prefix: Prefix;
    readonly address: string;
    readonly text: string;
    readonly line: number;
  } | null;
  readonly mtu: { readonly value: number; readonly line: number } | null;
  readonly ipMasq: { readonly value: boolean; readonly line: number } | null;
}

export const flannelLease = perSource((source: Source<'flannelEnv'>): FlannelLease | null => {
  const fact = source.get('flannelEnv');
  if (fact.missing) return null;
  const network = variable(fact.value, 'FLANNEL_NETWORK');
  const subnet = variable(fact.value, 'FLANNEL_SUBNET');
  const mtu = variable(fact.value, 'FLANNEL_MTU');
  const masq = variable(fact.value, 'FLANNEL_IPMASQ');
  const networkPrefix = network === undefined ? null : parsePrefix((network.value.split(',')[0] ?? '').trim());
  const subnetPrefix = subnet === undefined ? null : parsePrefix(subnet.value);
  return {
    fact,
    network: network === undefined || networkPrefix === null ? null : { prefix: networkPrefix, line: network.line },
    subnet:
      subnet === undefined || subnetPrefix === null
        ? null
        : { prefix: subnetPrefix, address: subnet.value.split('/')[0] ?? '', text: subnet.value, line: subnet.line },
    mtu: mtu === undefined || !/^\d+$/.test(mtu.value) ? null : { value: Number(mtu.value), line: mtu.line },
    ipMasq: masq === undefined ? null : { value: masq.value === 'true', line: masq.line },
  };
});
