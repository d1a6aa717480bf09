import { firstService } from '../../src/derive/service-hooks.ts';
import { hasServices } from '../../src/derive/service-keys.ts';
import { ipvsMode, kubeletOf, nftMode, otherProxy, PROXY_KINDS } from '../../src/derive/service-proxy.ts';
import { restartProxy } from '../../src/derive/service-remedy.ts';
import { HOOK_KINDS, hookNode, RULESET_KINDS } from '../../src/net/index.ts';
import type { Cite, NodeView } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...PROXY_KINDS, 'sockets'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** Where kube-proxy answers health checks and tells its metrics: whoever listens there has its place. */
const OWN_PORTS: ReadonlySet<number> = new Set([10256, 10249]);

const WHY = {
  step: 'See why it is not there: its pod on this node, and the end of its log.',
  run: 'kubectl -n kube-system get pods -o wide -l k8s-app=kube-proxy --field-selector spec.nodeName=<node>; crictl ps -a --name kube-proxy',
  verify: 'pgrep -x kube-proxy',
  undo: 'none needed: these commands only read',
} as const;

export const rule = defineNodeRule({
  id: 'kube-proxy-not-running',
  title: {
    bad: 'kube-proxy’s rules are there, but it does not run',
    good: 'The kube-proxy that keeps the rules of services up to date runs',
  },
  severity: 'medium',
  explanation:
    'Rules that kube-proxy has written stay when it ends, and go on sending connections to the endpoints of that time: services that are made later do not exist on this node, and pods that are gone still get their share. ' +
    'Nothing in the rules themselves shows it.',
  remediation: [WHY, restartProxy(null, null)],
  references: [REF.kubeVips, REF.kubeDebugService],
  needs: [],
  needsAny: RULESET_KINDS,
  wants: WANTS,
  explains: ['service-endpoint-dead'],
  evaluate(view) {
    const { node, wants, source } = view;
    const { kubeProxyArgs: args, k3sArgs: k3s, sockets } = wants;
    const runs = args.missing ? undefined : args.value.processes[0];
    const sign = servedBy(view);
    if (sign === null) return notApplicable('no rules of kube-proxy for services on this node');
    if (!args.missing && runs !== undefined) return pass(cite(args, runs));
    if (!k3s.missing && k3s.value.processes.length > 0) return notApplicable('kube-proxy is part of k3s or rke2 here');
    const agent = otherProxy(source);
    if (agent !== null) return notApplicable(`services may be the affair of ${agent.name} here`);
    const kubelet = kubeletOf(source);
    if (kubelet === 'none') return notApplicable('no kubelet runs on this node');
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'the collector ran inside another network namespace, whose rules are not the node’s', [
        'kubelet.cmdline-kube-proxy',
      ]);
    const what = 'whether the kube-proxy that wrote the rules runs';
    if (kubelet === 'unknown')
      return unknown(node.id, `${what}: whether a kubelet does was not collected`, ['kubelet.cmdline']);
    if (!args.missing || !args.lookedFor)
      return unknown(node.id, `${what}: its command line ${args.missing ? args.because : 'is not there'}`, [
        'kubelet.cmdline-kube-proxy',
      ]);
    if (sockets.missing || !isClosed(sockets))
      return unknown(
        node.id,
        `${what}: no process has its name, and who listens on its ports was not collected whole`,
        ['sock.ss-listen'],
      );
    const listener = sockets.value.listeners.find((l) => l.proto === 'tcp' && OWN_PORTS.has(l.port));
    if (listener !== undefined)
      return unknown(
        node.id,
        `${what}: no process has its name, but something listens on its port ${listener.port} (${listener.processes[0]?.name ?? 'its name was not told'})`,
        [],
      );
    return findings([
      {
        key: 'gone',
        severity: 'medium',
        confidence: 'likely',
        nodes: [node.id],
        message: `No kube-proxy runs on ${node.id}, and its rules for services are still there: services and endpoints that changed since it ended are not in them`,
        cites: [sign, cite(kubelet.fact, kubelet), absent(sockets, 'a listener on kube-proxy’s ports 10256 and 10249')],
        remediation: [WHY, restartProxy(null, node.hostname)],
        disprove: 'a kube-proxy that was just being restarted, or that has another name',
      },
    ]);
  },
});

/** A line of kube-proxy's that serves services, of any mode; null: there is none. */
function servedBy({ source }: View): Cite | null {
  const saved = hookNode(source)
    .host.rules(4)
    .rulesets.find((r) => hasServices(r.ruleset));
  const service = saved === undefined ? null : firstService(saved);
  if (saved !== undefined && service !== null) return cite(saved.fact, service);
  for (const mode of [ipvsMode(source), nftMode(source)]) {
    const sign = mode.kind === 'serves' ? mode.signs[0] : undefined;
    if (sign !== undefined) return cite(sign.fact, sign);
  }
  return null;
}
