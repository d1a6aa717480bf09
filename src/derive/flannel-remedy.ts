import { shellWord } from '../core/shell.ts';
import type { Fact, MissingFact } from '../facts/index.ts';

/**
 * Restarts flannel on one node; `<node>` where the node is not told yet. Its manifests label the pod alike, whichever namespace they put it in.
 * `k3s`: what it is a part of there.
 */
export function restartFlannel(node: string, k3s?: Fact<'k3sArgs'> | MissingFact<'k3sArgs'>): string {
  const on = `--field-selector ${node === '<node>' ? `spec.nodeName=${node}` : shellWord(`spec.nodeName=${node}`)}`;
  if (k3s?.missing === false) {
    if (k3s.evidence === 'kubelet.cmdline-rke2') return `kubectl -n kube-system delete pod -l k8s-app=canal ${on}`;
    return `systemctl restart ${unitOf(k3s)}`;
  }
  return `kubectl delete pod -A -l app=flannel ${on}   # Canal: -l k8s-app=canal; k3s: systemctl restart k3s (or k3s-agent); else: systemctl restart flanneld`;
}

/** The unit that a node's kubelet is a part of. */
export function restartKubelet(k3s: Fact<'k3sArgs'> | MissingFact<'k3sArgs'>): string {
  if (!k3s.missing) return `systemctl restart ${unitOf(k3s)}`;
  return 'systemctl restart kubelet   # k3s: systemctl restart k3s (or k3s-agent)';
}

function unitOf({ evidence, value }: Fact<'k3sArgs'>): string {
  const agent = value.processes.some((p) => p.argv.some((a) => /(^|\s)agent$/.test(a.text)));
  const [own, server] = evidence === 'kubelet.cmdline-rke2' ? ['rke2', 'rke2-server'] : ['k3s', 'k3s'];
  return agent ? `${own}-agent` : server;
}

/** What flannel writes comes from its leases. */
export const NOTHING_TO_UNDO = 'none needed: the routes are derived from the leases';
