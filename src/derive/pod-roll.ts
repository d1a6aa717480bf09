import { formatPrefix, type Prefix, parseIp4 } from '../core/address.ts';
import type { EvidenceRecord } from '../core/evidence.ts';
import type { Fact } from '../facts/index.ts';
import type { DeviceKinds, Source } from './devices.ts';
import { flannelLease } from './flannel.ts';
import { podLinks } from './pod-links.ts';

/** Which addresses of its pod range a node has, in a few bytes. */
export interface PodRoll {
  /** FLANNEL_SUBNET, and its line. */
  readonly range: string;
  readonly line: number;
  /** Hexadecimal, a bit for each address of the range: some namespace of the node, or the node itself, has it. */
  readonly live: string;
  /** Milliseconds from the rulesets to the last pod's addresses, as the collector took them; null: not known. */
  readonly gap: number | null;
  /** Why a pod may be missing; null: the list is whole. */
  readonly doubt: { readonly because: string; readonly evidence: readonly string[] } | null;
}

type Kinds = DeviceKinds | 'flannelEnv' | 'netnsIndex';
interface RollSource extends Source<Kinds> {
  all(kind: 'netnsAddresses'): readonly Fact<'netnsAddresses'>[];
}

/** A larger range would not be a few bytes. */
const SHORTEST = 21;

/** `host`: inodes of the node's own namespace. null: flannel has no lease here that tells which pods are the node's. */
export function podRoll(
  source: RollSource,
  host: readonly (string | null)[],
  records: readonly Pick<EvidenceRecord, 'id' | 'ms'>[],
): PodRoll | null {
  const lease = flannelLease(source);
  const range = lease?.subnet;
  if (range == null || range.prefix.family !== 4 || range.prefix.length < SHORTEST) return null;
  const inner = source.all('netnsAddresses');
  const addresses = source.get('addresses');
  return {
    range: formatPrefix(range.prefix),
    line: range.line,
    live: bits([...(addresses.missing ? [] : [addresses]), ...inner], range.prefix),
    gap: gapOf(records),
    doubt: doubtOf(source, inner, host),
  };
}

/** Records are in the order in which they were collected. */
function gapOf(records: readonly Pick<EvidenceRecord, 'id' | 'ms'>[]): number | null {
  const from = records.findIndex((r) => r.id === 'fw.iptables-save');
  const to = records.findLastIndex((r) => r.id === 'netns.addr-json');
  if (from < 0 || to < from || records[to]?.ms === undefined) return null;
  let gap = 0;
  for (let i = from; i <= to; i += 1) gap += records[i]?.ms ?? 0;
  return gap;
}

function doubtOf(
  source: RollSource,
  inner: readonly Fact<'netnsAddresses'>[],
  host: readonly (string | null)[],
): PodRoll['doubt'] {
  const evidence = ['netns.addr-json'];
  const addresses = source.get('addresses');
  const index = source.get('netnsIndex');
  if (addresses.missing || !addresses.closed)
    return { because: 'the list of the node’s devices was not collected whole', evidence: ['ip.addr'] };
  if (index.missing || !index.closed)
    return { because: 'the list of network namespaces was not collected whole', evidence: ['netns.index'] };
  const read = new Map(inner.map((f) => [f.instance, f]));
  const unread = index.value.namespaces.find((n) => !host.includes(n.inode) && read.get(n.inode)?.closed !== true);
  if (unread !== undefined)
    return { because: `the addresses of network namespace ${unread.inode} were not collected whole`, evidence };
  const { links, unpaired } = podLinks(source);
  if (unpaired.length > 0)
    return { because: `no namespace that was collected has the other end of ${unpaired[0]}`, evidence };
  // gVisor takes a pod's address out of its namespace
  const bare = links.find((l) => !l.inner.addresses.some((a) => a.family === 4));
  if (bare !== undefined)
    return { because: `the container at ${bare.outer.name} shows no address in its namespace`, evidence: [] };
  return null;
}

function bits(facts: readonly Fact<'addresses' | 'netnsAddresses'>[], range: Prefix): string {
  const digits = new Array<number>(Math.ceil(2 ** (32 - range.length) / 4)).fill(0);
  for (const { value } of facts)
    for (const device of value.devices)
      for (const { family, address } of device.addresses) {
        const at = family === 4 ? offsetIn(range, address) : null;
        if (at !== null) digits[at >> 2] = (digits[at >> 2] ?? 0) | (1 << (at & 3));
      }
  return digits
    .map((d) => d.toString(16))
    .join('')
    .replace(/0+$/, '');
}

/** Place of an address in a range; null: it is not in there. */
function offsetIn(range: Prefix, address: string): number | null {
  const ip = parseIp4(address);
  if (ip === null) return null;
  const at = ip - Number(range.base);
  return at >= 0 && at < 2 ** (32 - range.length) ? at : null;
}

export function hasBit(roll: string, range: Prefix, address: string): boolean {
  const at = offsetIn(range, address);
  return at !== null && (Number.parseInt(roll[at >> 2] ?? '0', 16) & (1 << (at & 3))) !== 0;
}
