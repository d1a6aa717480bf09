import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import { elements, flag, flags, setting } from './settings.ts';

/** Where a running kubelet has a setting from. */
export type KubeletSetting =
  | { readonly kind: 'set'; readonly values: readonly KubeletValue[]; readonly by: 'flag' | 'file' }
  /** Neither a flag nor its file sets it, both collected whole. */
  | { readonly kind: 'default'; readonly args: Fact<'kubeletArgs'> }
  | { readonly kind: 'unknown'; readonly because: string; readonly evidence: readonly string[] }
  /** No kubelet, or one inside another program, which has settings of its own. */
  | { readonly kind: 'none'; readonly because: string };

export interface KubeletValue {
  readonly text: string;
  readonly fact: Fact<'kubeletArgs'> | Fact<'kubeletConfig'>;
  readonly span: Span;
}

export const KUBELET_KINDS = ['kubeletArgs', 'kubeletConfig', 'k3sArgs'] as const;

/**
 * A text or list of texts that the kubelet reads from `--name` or from `key` of its file. Flags win over the file (cmd/kubelet/app/server.go,
 * kubeletConfigFlagPrecedence). Files of --config-dir win over the file and are not collected.
 */
export function kubeletSetting(
  source: Source<(typeof KUBELET_KINDS)[number]>,
  name: string,
  key: string,
): KubeletSetting {
  const args = source.get('kubeletArgs');
  const config = source.get('kubeletConfig');
  const k3s = source.get('k3sArgs');
  if (args.missing && !k3s.missing)
    return { kind: 'none', because: 'the kubelet is part of k3s, which sets it itself' };
  if (args.missing && (args.lookedFor || config.missing))
    return { kind: 'none', because: 'no kubelet runs on this node' };
  if (args.missing)
    return {
      kind: 'unknown',
      because: 'the kubelet’s command line, which wins over its file, was not collected',
      evidence: ['kubelet.cmdline'],
    };
  const flagged = flags(args.value, name);
  if (flagged.length > 0)
    return {
      kind: 'set',
      by: 'flag',
      values: flagged.flatMap((span) => span.value.split(',').map((text) => ({ text: text.trim(), fact: args, span }))),
    };
  const dropIns = flag(args.value, 'config-dir');
  if (dropIns !== undefined)
    return {
      kind: 'unknown',
      because: `files in ${dropIns.value} (--config-dir), which win over the kubelet’s file, were not collected`,
      evidence: ['kubelet.config'],
    };
  if (!args.closed)
    return {
      kind: 'unknown',
      because: 'the kubelet’s command line was not collected whole',
      evidence: ['kubelet.cmdline'],
    };
  if (flag(args.value, 'config') === undefined) return { kind: 'default', args };
  if (config.missing)
    return {
      kind: 'unknown',
      because: `the kubelet’s file was not collected (${config.because})`,
      evidence: ['kubelet.config'],
    };
  const one = setting(config.value, key);
  const all = one?.type === 'array' ? elements(config.value, key) : one === undefined ? [] : [one];
  const values = all.flatMap((span) =>
    typeof span.value === 'string' ? [{ text: span.value, fact: config, span }] : [],
  );
  if (values.length > 0) return { kind: 'set', by: 'file', values };
  return config.closed
    ? { kind: 'default', args }
    : { kind: 'unknown', because: 'the kubelet’s file was not collected whole', evidence: ['kubelet.config'] };
}
