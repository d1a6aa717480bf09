import type { Fact, FactKind, K8sNodes, ProcessArgs, Settings } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { flag, flags, setting } from './settings.ts';

/** What the kubelet of a node said of itself in the API, with the line of its version. */
export interface KubeletNode extends Told {
  /** `v1.31.4` is 31. */
  readonly minor: number;
  readonly runtime: (Told & { readonly name: string; readonly major: number }) | null;
}

/**
 * The node's own object of the Kubernetes API: by --hostname-override or the host's name, which the kubelet writes small; `k8s.node` is asked
 * for by that name and holds one.
 */
export function ownNode(
  source: Source<'k8sNodes' | 'kubeletArgs'>,
  hostname: string | null,
): { readonly fact: Fact<'k8sNodes'>; readonly own: K8sNodes['nodes'][number] } | null {
  const fact = source.get('k8sNodes');
  if (fact.missing) return null;
  const args = source.get('kubeletArgs');
  const name = (args.missing ? undefined : flag(args.value, 'hostname-override')?.value) ?? hostname;
  const { nodes } = fact.value;
  const own =
    nodes.find((n) => n.name === name?.toLowerCase()) ?? (fact.evidence === 'k8s.node' ? nodes[0] : undefined);
  return own === undefined ? null : { fact, own };
}

/** It is as old as the kubelet's last report: an upgraded kubelet that never came up is not in it. */
export function kubeletNode(source: Source<'k8sNodes' | 'kubeletArgs'>, hostname: string | null): KubeletNode | null {
  const found = ownNode(source, hostname);
  const version = found?.own.kubeletVersion;
  const minor = /^v?1\.(\d+)/.exec(version?.value ?? '')?.[1];
  if (found === null || version === undefined || minor === undefined) return null;
  const { fact, own } = found;
  return { fact, span: version, minor: Number(minor), runtime: runtimeOf(fact, own) };
}

/** `containerd://1.7.24`, `docker://20.10.24`, `cri-o://1.29.1`. */
function runtimeOf(fact: Fact<FactKind>, { runtimeVersion }: K8sNodes['nodes'][number]): KubeletNode['runtime'] {
  const match = /^([\w-]+):\/\/v?(\d+)\./.exec(runtimeVersion?.value ?? '');
  if (runtimeVersion === undefined || match === null) return null;
  return { fact, span: runtimeVersion, name: match[1] ?? '', major: Number(match[2]) };
}

type Gate = (Told & { readonly on: boolean }) | 'unset' | 'unknown';

/**
 * A feature gate of the kubelet: --feature-gates, which wins, else featureGates of its config; else a whole stage of them (`AllAlpha`). Drop-in
 * files of --config-dir were not collected.
 */
export function featureGate(source: Source<'kubeletArgs' | 'kubeletConfig'>, names: readonly string[]): Gate {
  const args = source.get('kubeletArgs');
  const config = source.get('kubeletConfig');
  for (const name of names) {
    const flagged = args.missing ? null : gateOfFlags(args, name);
    if (flagged !== null) return flagged;
    const written = config.missing ? undefined : setting(config.value as Settings, `featureGates.${name}`);
    const dropIns = args.missing || flag(args.value, 'config-dir') !== undefined;
    if (!config.missing && typeof written?.value === 'boolean' && !dropIns)
      return { fact: config, span: written, on: written.value };
  }
  if (args.missing || !args.closed || flag(args.value, 'config-dir') !== undefined) return 'unknown';
  const read = flag(args.value, 'config') !== undefined;
  const whole = config.missing ? !read && config.lookedFor : config.closed;
  return whole || !read ? 'unset' : 'unknown';
}

function gateOfFlags(args: Fact<'kubeletArgs'>, name: string): Exclude<Gate, string> | null {
  const value = (text: string) => new RegExp(`(?:^|,)\\s*${name}=(true|false|1|0|t|f)\\s*(?:,|$)`, 'i').exec(text)?.[1];
  const span = flags(args.value as ProcessArgs, 'feature-gates').findLast((f) => value(f.value) !== undefined);
  return span === undefined ? null : { fact: args, span, on: /^(true|1|t)$/i.test(value(span.value) ?? '') };
}
