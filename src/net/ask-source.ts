import { packetOf, type Sample } from './ask.ts';
import type { Cite } from './doubt.ts';
import type { NetNode } from './model.ts';
import { keyTo } from './policy.ts';
import type { RouteAnswer } from './routing.ts';
import { joined, present, sourceIsValid } from './source.ts';

/** Whether a node takes a packet by the device that it comes in by (rp_filter and its like). */
export interface SourceAnswer {
  readonly verdict: 'valid' | 'dropped' | 'unknown';
  /** Of the others than valid: why, as a clause. */
  readonly because: string;
  readonly cites: readonly Cite[];
  readonly evidence: readonly string[];
  /** Where an answer would go; null: not known. */
  readonly back: RouteAnswer | null;
  /** The rp_filter that counts: the device's or that of all, whichever is larger; null: not known. */
  readonly mode: number | null;
}

/** `oif`: where the packet goes on; null: it is for the node itself. Its mark is 0. */
export function askSource(node: NetNode, sample: Omit<Sample, 'oif'> & { readonly oif: string | null }): SourceAnswer {
  const { iif, oif } = sample;
  const mode = joined(node.host, iif, 'rp_filter');
  const packet = packetOf({ ...sample, oif: oif ?? '' });
  const none = { cites: [], evidence: [], back: null, mode: mode.value };
  if (packet === null || typeof packet.src !== 'number')
    return { verdict: 'unknown', because: 'the packet has no readable IPv4 addresses', ...none };
  const { truth, because, cites, reason } = sourceIsValid(node.host, iif, packet, oif);
  const { src, dst, proto } = packet;
  const [back = null] = node.host.routing(4).lookup({ ...keyTo(src), src: dst, iif: oif ?? 'lo', proto });
  if (truth === 1)
    return { ...none, verdict: 'valid', because: '', cites: [...present(mode.setting.cite), ...cites], back };
  if (truth === 0) return { ...none, verdict: 'dropped', because, cites, back };
  return { ...none, verdict: 'unknown', because: reason.because, evidence: reason.evidence, back };
}
