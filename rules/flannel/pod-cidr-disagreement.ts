import { prefixCovers, samePrefix } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { POD_RANGE_KINDS, type PodRange, podRanges } from '../../src/derive/pod-ranges.ts';
import {
  cite,
  defineNodeRule,
  type Finding,
  findings,
  notApplicable,
  pass,
  type Remediation,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'pod-cidr-disagreement',
  title: {
    bad: 'flannel, the controller manager and kube-proxy do not agree on the pod range',
    good: 'All that was collected names one pod range',
  },
  severity: 'high',
  explanation:
    'The controller manager cuts each node’s podCIDR out of --cluster-cidr, flanneld takes it only if its own Network holds it (“subnet ... specified in the flannel net config doesn’t contain ... PodCIDR”), ' +
    'and kube-proxy takes for pods what clusterCIDR holds. Where they differ new nodes get no network, or connections to services are masqueraded that should not be.',
  remediation: [
    {
      step: 'Find out which range is meant (kubeadm’s podSubnet), and write it in all places: --cluster-cidr of the controller manager, Network in the ConfigMap kube-flannel-cfg, clusterCIDR in the ConfigMap kube-proxy.',
      run: 'kubectl get cm -A -o yaml | grep -E \'podSubnet|clusterCIDR|"Network"\'; grep -r cluster-cidr /etc/kubernetes/manifests',
      verify: "kubectl get nodes -o custom-columns='NODE:.metadata.name,CIDR:.spec.podCIDR'",
      undo: 'none needed: it only reads',
      risk: 'none known',
    },
    { step: 'Make the pods of flannel and kube-proxy anew, node by node.' },
  ],
  references: [REF.flannelKubernetes, REF.flannelTroubleshooting, REF.kubeProxyConfig],
  needs: [],
  wants: [...POD_RANGE_KINDS],
  needsAny: ['flannelEnv', 'flannelNetConf'],
  explains: ['flannel-identity-disagrees'],
  evaluate({ node, wants, source }) {
    const ranges = podRanges(source, node.hostname);
    const { running, configured, lease, podCidr, cut, proxy } = ranges;
    const flannels = running ?? configured;
    if (flannels === null) {
      if (wants.flannelEnv.missing && wants.flannelNetConf.missing)
        return wants.flannelEnv.lookedFor
          ? notApplicable('no flannel on this node: no subnet.env, no net-conf.json')
          : unknown(node.id, 'flannel’s pod range was not collected', ['flannel.subnet-env', 'flannel.net-conf']);
      return notApplicable('flannel has no IPv4 range here');
    }
    // the configuration counts for what comes next
    const next = configured ?? flannels;
    const found: Finding[] = [];
    const tell = (key: string, message: string, change: Partial<Finding>, ...at: readonly PodRange[]) => {
      const cites = at.map((r) => cite(r.fact, r.span));
      if (isNonEmpty(cites))
        found.push({
          key,
          severity: 'high',
          confidence: 'proven',
          nodes: [node.id],
          message,
          cites,
          disprove: DISPROVE,
          ...change,
        });
    };
    if (podCidr !== null && !prefixCovers(next.prefix, podCidr.prefix))
      tell(
        'podCIDR',
        `the podCIDR ${podCidr.text} of ${node.id} is outside flannel’s Network ${next.text}: flanneld does not take it, and the node has no pod network once flanneld starts anew`,
        { remediation: renetwork(podCidr.text) },
        podCidr,
        next,
      );
    // a lease that is not the podCIDR is said by flannel-identity-disagrees
    if (running !== null && configured !== null && !samePrefix(running.prefix, configured.prefix)) {
      const refused = lease !== null && !prefixCovers(configured.prefix, lease.prefix);
      tell(
        'configuration',
        `flanneld of ${node.id} runs with ${running.text}, and its configuration says ${configured.text}: ${
          refused
            ? `it does not hold the subnet ${lease.text} of the node, and flanneld does not start with it`
            : 'it takes that when it starts anew, other nodes perhaps did already'
        }`,
        { severity: refused ? 'high' : 'medium', latent: true, remediation: renetwork(running.text) },
        configured,
        running,
      );
    }
    if (cut !== null && !prefixCovers(next.prefix, cut.prefix))
      tell(
        'controller manager',
        `the controller manager on ${node.id} gives nodes subnets of ${cut.text}, and flannel’s Network is ${next.text}: flanneld of a node with a subnet outside of that does not start`,
        {
          ...(podCidr !== null && prefixCovers(next.prefix, podCidr.prefix)
            ? { severity: 'medium' as const, latent: true }
            : {}),
          confidence: 'likely',
          remediation: renetwork(cut.text),
        },
        cut,
        next,
      );
    if (proxy !== null && !prefixCovers(proxy.prefix, flannels.prefix))
      tell(
        'kube-proxy',
        `kube-proxy of ${node.id} takes ${proxy.text} for the pods of the cluster, and flannel’s are of ${flannels.text}: what other pods send to services is masqueraded, and servers do not see who asks`,
        { severity: 'medium', confidence: 'likely', latent: true, remediation: [reproxy(flannels.text)] },
        proxy,
        flannels,
      );
    if (isNonEmpty(found)) return findings(found);
    const others = [running, configured, podCidr, cut, proxy].filter((r) => r !== null);
    const [first, second, ...more] = others;
    if (first === undefined || second === undefined)
      return unknown(node.id, `one place alone tells the pod range (${flannels.text})`, [
        'flannel.net-conf',
        'k8s.node',
        'kubelet.kube-proxy-config',
      ]);
    return pass(...([first, second, ...more].map((r) => cite(r.fact, r.span)) as [ReturnType<typeof cite>]));
  },
});

const DISPROVE = 'these files are of two clusters, or of a migration from one range to the other that is not over';

const renetwork = (range: string): Remediation[] => [
  {
    step: `If ${range} is the range that is meant, write it as Network into flannel’s configuration; pods of flannel read it when they start. A range that holds the old one and the new one lets nodes go on.`,
    run: 'ns=$(kubectl get cm -A --field-selector metadata.name=kube-flannel-cfg -o jsonpath=\'{.items[0].metadata.namespace}\'); kubectl -n "$ns" edit cm kube-flannel-cfg',
    verify:
      "kubectl get cm -A --field-selector metadata.name=kube-flannel-cfg -o yaml | grep '\"Network\"'; kubectl get nodes -o custom-columns='NODE:.metadata.name,CIDR:.spec.podCIDR'",
    undo: 'put the old Network back in the same way',
    risk: 'Pods that keep addresses outside of Network are not masqueraded and not forwarded by flannel’s rules.',
  },
  {
    step: 'Else correct --cluster-cidr in /etc/kubernetes/manifests/kube-controller-manager.yaml; the podCIDR of a Node does not change: nodes with a wrong one have to be deleted and to join again.',
  },
];

const reproxy = (range: string) => ({
  step: `Write clusterCIDR: ${range} into the configuration of kube-proxy and make its pods anew.`,
  run: `kubectl -n kube-system get cm kube-proxy -o yaml | sed ${shellWord(`s#clusterCIDR: .*#clusterCIDR: ${range}#`)} | kubectl apply -f - && kubectl -n kube-system rollout restart ds kube-proxy`,
  verify: 'kubectl -n kube-system get cm kube-proxy -o yaml | grep clusterCIDR',
  undo: 'put the old clusterCIDR back in the same way',
  risk: 'none known',
});
