import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { DNS_SERVICE_KINDS, type DnsAnswer, dnsAt, hasNoProxy, usualDns } from '../../src/derive/dns-services.ts';
import { KUBELET_KINDS, type KubeletValue, kubeletSetting } from '../../src/derive/kubelet-setting.ts';
import { containerResolvers } from '../../src/derive/resolvers.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Cite, Finding, Remediation, Undecided } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, findings, isClosed, notApplicable } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** More pods than this with one fault show nothing new. */
const SHOWN = 3;
const AGAIN =
  'Pods keep the address that they were started with: make them anew (kubectl rollout restart). kubeadm gives the address to new nodes from the ConfigMap kubelet-config.';
const VERIFY = 'kubectl exec <a new pod of the node> -- cat /etc/resolv.conf';
const RISK = 'none known: containers go on while the kubelet restarts';

type Wrong = Extract<DnsAnswer, { kind: 'wrong' | 'deaf' }>;

export const rule = defineNodeRule({
  id: 'cluster-dns-address-wrong',
  title: {
    bad: 'Pods are told an address of cluster DNS where nothing answers',
    good: 'The address of cluster DNS that pods are told is one of a service on port 53, or of the node itself',
  },
  severity: 'critical',
  explanation:
    'The kubelet writes its clusterDNS into the resolv.conf of every pod. Where no service has that address, questions leave the node for nobody, and every name fails after a timeout. ' +
    'A node that was set up for another service range keeps its old address.',
  remediation: [
    {
      step: `Set clusterDNS in the kubelet’s file to the address of the DNS service (kubectl -n kube-system get service), and restart the kubelet. ${AGAIN}`,
      run: 'grep -n -A3 clusterDNS /var/lib/kubelet/config.yaml; systemctl cat kubelet | grep -n cluster-dns',
      verify: VERIFY,
    },
  ],
  references: [REF.kubeDns, REF.kubeVips, REF.nodeLocalDns],
  needs: [],
  needsAny: ['kubeletArgs', 'kubeletConfig', 'netnsResolvConf'],
  wants: [...KUBELET_KINDS.filter((k) => k !== 'k3sArgs'), ...DNS_SERVICE_KINDS, 'netnsResolvConf', 'netnsIndex'],
  explains: ['trace-pod-to-service-and-external'],
  evaluate({ node, source }) {
    const setting = kubeletSetting(source, 'cluster-dns', 'clusterDNS');
    const told = setting.kind === 'set' ? setting.values.filter((v) => /^[\d.]+$/.test(v.text)) : [];
    const pods = askedByPods();
    if (setting.kind === 'none' && pods.size === 0) return notApplicable(setting.because);
    if (hasNoProxy(source))
      return notApplicable('no proxy of services runs on this node, so that no service has an address here');
    const answers = new Map<string, DnsAnswer>();
    for (const address of [...told.map((v) => v.text), ...pods.keys()])
      if (!answers.has(address)) answers.set(address, dnsAt(source, address));
    const list: Finding[] = [];
    const unknown: Undecided[] = [];
    const proofs: Cite[] = [];
    const open = (because: string, evidence: readonly string[]) =>
      unknown.push({ nodes: [node.id], because, evidence });
    if (setting.kind === 'unknown') open(setting.because, setting.evidence);
    if (setting.kind === 'set' && told.length === 0)
      open('the kubelet is told no IPv4 address of cluster DNS, and others are not followed', []);
    if (setting.kind === 'default') {
      const usual = usualDns(source);
      if (usual !== undefined && isClosed(setting.args)) list.push(nothingTold(usual));
      else if (pods.size === 0) return notApplicable('the kubelet is told no address of cluster DNS');
    }
    const works = told.some((v) => answers.get(v.text)?.kind === 'right');
    for (const value of told) {
      const answer = answers.get(value.text);
      if (answer?.kind === 'right') proofs.push(cite(value.fact, value.span), cite(answer.fact, answer.span));
      else if (answer?.kind === 'open') {
        if (!works)
          open(
            `whether cluster DNS answers on ${value.text}, which the kubelet gives pods, is not known: ${answer.because}`,
            answer.evidence,
          );
      } else if (answer !== undefined) list.push(ofKubelet(value, answer, works));
    }
    for (const [address, cites] of pods) {
      const answer = answers.get(address);
      if (answer?.kind === 'right') {
        const [first] = cites;
        if (proofs.length === 0 && first !== undefined) proofs.push(first, cite(answer.fact, answer.span));
      } else if (
        !told.some((v) => v.text === address) &&
        (answer?.kind === 'deaf' || (answer?.kind === 'wrong' && answer.sure))
      )
        list.push(...ofPods(address, cites, answer));
    }
    if (isNonEmpty(list)) return findings(list, unknown);
    if (isNonEmpty(unknown)) return { kind: 'unknown', unknown };
    if (isNonEmpty(proofs)) return { kind: 'pass', cites: proofs };
    return notApplicable('no pod here is told an address of cluster DNS');

    /** The kubelet's own marks: search domains of services. Other files are of a dnsPolicy, or a dnsConfig, of the pod. */
    function askedByPods(): ReadonlyMap<string, readonly Cite[]> {
      const found = new Map<string, Cite[]>();
      for (const { fact, servers } of containerResolvers(source)) {
        const [first] = servers;
        if (first === undefined || !/^[\d.]+$/.test(first.address)) continue;
        const list = found.get(first.address);
        if (list !== undefined && list.length >= SHOWN) continue;
        if (!fact.value.lines.some((l) => /^search .*\bsvc\./.test(l.text))) continue;
        found.set(first.address, [...(list ?? []), cite(fact, first)]);
      }
      return found;
    }

    function ofKubelet(value: KubeletValue, answer: Wrong, works: boolean): Finding {
      const sure = answer.kind === 'deaf' || answer.sure;
      return {
        key: value.text,
        severity: works ? 'medium' : sure ? 'critical' : 'high',
        confidence: sure ? 'proven' : 'likely',
        nodes: [node.id],
        about: [value.text],
        message: `The kubelet of ${node.id} gives pods ${value.text} for DNS, ${whyNot(answer)}`,
        cites: [cite(value.fact, value.span), ...whatIs(answer), ...(pods.get(value.text) ?? []).slice(0, 1)],
        disprove: `a resolver outside of the cluster on ${value.text} that knows the cluster’s names`,
        remediation: [remedy(value, answer, configFile())],
      };
    }

    function configFile(): string {
      const args = source.get('kubeletArgs');
      const named = args.missing ? undefined : flag(args.value, 'config')?.value;
      return shellWord(named ?? '/var/lib/kubelet/config.yaml');
    }

    function ofPods(address: string, [first, ...more]: readonly Cite[], answer: Wrong): readonly Finding[] {
      if (first === undefined) return [];
      return [
        {
          key: `pods ${address}`,
          severity: 'high',
          confidence: 'proven',
          nodes: [node.id],
          about: [address],
          message: `Pods of ${node.id} ask ${address} for DNS, ${whyNot(answer)}`,
          cites: [first, ...more, ...whatIs(answer)],
          disprove: 'the pod was made with a dnsConfig of its own',
          remediation: [
            {
              step: 'These pods were started when the kubelet had another address of cluster DNS: make them anew.',
              run: `kubectl get pods -A -o wide --field-selector spec.nodeName=${shellWord(node.hostname ?? node.id)}`,
              verify: VERIFY,
            },
          ],
        },
      ];
    }

    function nothingTold(usual: NonNullable<ReturnType<typeof usualDns>>): Finding {
      const args = source.get('kubeletArgs');
      const config = source.get('kubeletConfig');
      const lacks = [args, config].flatMap((fact) =>
        fact.missing || !isClosed(fact) ? [] : [absent(fact, 'an address of cluster DNS')],
      );
      return {
        key: 'none',
        severity: 'high',
        confidence: 'likely',
        nodes: [node.id],
        message: `The kubelet of ${node.id} is told no address of cluster DNS: pods get the node’s own name servers, and ${usual.address} (${usual.name}) is not asked`,
        cites: [cite(usual.fact, usual.span), ...lacks],
        disprove: 'every pod of the node brings its own dnsConfig',
      };
    }
  },
});

function whyNot(answer: Wrong): string {
  if (answer.kind === 'deaf') return 'which the node itself has, but nobody listens there on port 53';
  const [first] = answer.services;
  const name = first?.name == null ? '' : ` (${first.name})`;
  return `which no service has; DNS is on ${first?.address}${name}`;
}

function whatIs(answer: Wrong): readonly Cite[] {
  if (answer.kind === 'wrong') return answer.services.slice(0, 1).map((s) => cite(s.fact, s.span));
  return [
    cite(answer.fact, answer.span),
    ...(isClosed(answer.sockets) ? [absent(answer.sockets, 'a listener there on port 53 of UDP')] : []),
  ];
}

function remedy(value: KubeletValue, answer: Wrong, file: string): Remediation {
  const better = answer.kind === 'wrong' ? answer.services[0]?.address : undefined;
  if (better === undefined || value.text.startsWith('169.254.'))
    return {
      step: 'The node’s own DNS cache (node-local-dns) does not answer: see why its pod does not run here. Until then the kubelet may give pods the address of the DNS service.',
      run: 'kubectl -n kube-system get pods -o wide -l k8s-app=node-local-dns',
      verify: `ss -lun 'sport = :53'   # ${value.text} is among the addresses`,
    };
  if (value.fact.kind === 'kubeletArgs')
    return {
      step: `The kubelet has the address from --cluster-dns on its command line: change it there to ${better}, and restart the kubelet. ${AGAIN}`,
      run: 'systemctl cat kubelet | grep -n cluster-dns; grep -n cluster-dns /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet /etc/sysconfig/kubelet',
      verify: VERIFY,
      undo: `put --cluster-dns=${value.text} back and restart the kubelet`,
      risk: RISK,
    };
  const from = value.text.replaceAll('.', '\\.');
  return {
    step: `Give the kubelet the address of the DNS service (line ${value.span.line} of its file). ${AGAIN}`,
    run: `f=${file}; cp -a "$f" "$f.before" && sed -i '${value.span.line}s/${from}/${better}/' "$f" && systemctl restart kubelet`,
    verify: VERIFY,
    undo: `f=${file}; mv "$f.before" "$f" && systemctl restart kubelet`,
    risk: RISK,
  };
}
