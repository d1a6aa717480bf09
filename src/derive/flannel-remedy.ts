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

/** After an edit of net-conf.json that not all nodes have read. */
export function sameBackendAgain(names: readonly string[]) {
  return [
    {
      step: 'Make the pods of flannel anew on the nodes that differ (or on all), so that every node reads the same net-conf.json (ConfigMap kube-flannel-cfg); in etcd mode restart flanneld there; Canal’s pods have -l k8s-app=canal, and k3s takes --flannel-backend of its servers when it starts. Reboot a node that keeps routes of the old backend.',
      run: names
        .slice(0, 8)
        .map((n) => `kubectl delete pod -A -l app=flannel --field-selector ${shellWord(`spec.nodeName=${n}`)}`)
        .join('\n'),
      verify: String.raw`kubectl get nodes -o custom-columns='NODE:.metadata.name,BACKEND:.metadata.annotations.flannel\.alpha\.coreos\.com/backend-type'`,
      undo: 'put the old Backend back into the ConfigMap kube-flannel-cfg and make the pods anew again',
      risk: 'Pods of the nodes that change may not reach those of others until all have one backend.',
    },
  ];
}

/** One more argument for flanneld on every node, where its manifest put it. */
export function withArgument(value: string) {
  const patch = [{ op: 'add', path: '/spec/template/spec/containers/0/args/-', value }];
  return {
    run: `kubectl -n kube-flannel patch ds kube-flannel-ds --type json -p ${shellWord(JSON.stringify(patch))}`,
    verify:
      'ip -d link show flannel.1 | grep -o "local [^ ]*"   # on every node: the address that the others reach it by',
    undo: 'kubectl -n kube-flannel rollout undo ds kube-flannel-ds',
  };
}
