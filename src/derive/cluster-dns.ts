import type { Source } from './devices.ts';
import { elements, flag } from './settings.ts';

/** Addresses that the kubelet writes into pods' resolv.conf. */
export function clusterDns(source: Source<'kubeletConfig' | 'kubeletArgs'>): readonly string[] {
  const config = source.get('kubeletConfig');
  const args = source.get('kubeletArgs');
  const flagged = args.missing ? undefined : flag(args.value, 'cluster-dns')?.value;
  if (flagged !== undefined) return flagged.split(',');
  return config.missing ? [] : elements(config.value, 'clusterDNS').map((s) => String(s.value));
}
