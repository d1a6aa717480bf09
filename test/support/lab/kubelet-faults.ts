import { type Effect, paths } from './faults.ts';
import type { Lab } from './lab.ts';

export type RuntimeFault = 'cri-disabled' | 'no-containerd';

/** As Docker's package containerd.io ships it, without its comments. */
const DOCKERS = 'disabled_plugins = ["cri"]\n';

/** The kubelet of the first node and its runtime do not fit, in two ways. */
export async function kubeletRuntimeMismatch(lab: Lab, how: RuntimeFault): Promise<Effect> {
  const { a, pa, pb, icmp } = paths(lab);
  if (how === 'cri-disabled') {
    a.write('/etc/containerd/config.toml', DOCKERS);
    await a.stopProcess('kubelet');
  } else await a.stopProcess('containerd');
  return { rule: 'kubelet-runtime-mismatch', nodes: [a.id], breaks: [], keeps: [icmp(pa, pb)] };
}
