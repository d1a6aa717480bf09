import { isNonEmpty } from '../../src/core/span.ts';
import { acceptRange } from '../../src/derive/accept-range.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import type { PodFlow } from '../../src/derive/pods.ts';
import {
  outward,
  POD_KINDS,
  POD_PROBES,
  podFlows,
  unaskedPeers,
  unaskedWays,
  undecidedWay,
} from '../../src/derive/pods.ts';
import { spared, WHO_LIVES } from '../../src/derive/single-addresses.ts';
import type { Decider } from '../../src/net/index.ts';
import {
  askForward,
  decidedBy,
  HOOK_WANTS,
  hookNode,
  isDropped,
  isPolicy,
  RULESET_KINDS,
  routesThrough,
} from '../../src/net/index.ts';
import type { Finding } from '../../src/rule/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

/** The step that comes after any hand-made rule. */
const PERSIST = {
  step: 'Persist with the firewall’s own tool (netfilter-persistent, firewall-cmd --permanent); never -P FORWARD ACCEPT as the first step.',
};

export const rule = defineNodeRule({
  id: 'forward-drops-pod-traffic',
  title: { bad: 'FORWARD drops new pod traffic', good: 'FORWARD lets pod traffic through' },
  severity: 'critical',
  explanation:
    'A packet between nodes must be accepted by FORWARD on both nodes, in every ruleset that is loaded. Docker sets the policy to DROP when it enables forwarding, ' +
    'and only flannel’s, kube-proxy’s, CNI’s or your own accept rules let pods through.',
  remediation: [
    {
      step: 'Find out who should have written the accept rules (flannel with --iptables-forward-rules, kube-proxy, CNI) and start it; until then accept the cluster’s range.',
      run: 'iptables -I FORWARD -d 10.244.0.0/16 -j ACCEPT; iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT',
      verify: 'iptables -nvL FORWARD | head -1   # the policy counter stops growing',
      undo: 'iptables -D FORWARD -d 10.244.0.0/16 -j ACCEPT; iptables -D FORWARD -s 10.244.0.0/16 -j ACCEPT',
      risk: 'Accepts all traffic of the pod range, network policies of the same chain excepted.',
    },
    PERSIST,
  ],
  references: [REF.dockerFirewall, REF.flannelTroubleshooting, REF.kubeVips],
  needs: ['addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: [...HOOK_WANTS, ...POD_KINDS],
  explains: [
    'forward-drops-replies',
    'bridge-netfilter-drops-same-bridge',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, facts, source }) {
    const net = hookNode(source);
    const flows = podFlows(source, (pods) => routesThrough(net, outward(pods)).map((r) => r.dev));
    if (!isNonEmpty(flows)) {
      const { bridges, doubt } = attachedBridges(source);
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      if (bridges.length > 0 && !isClosed(facts.routes4))
        return unknown(node.id, 'the node’s routes were not collected whole', [facts.routes4.evidence]);
      return notApplicable('no container network with a port, an IPv4 address and a route to anywhere');
    }
    const tally = new NodeTally(node.id);
    const unasked = unaskedPeers(source);
    if (unasked !== null) tally.unknown(unasked, ['flannel.subnet-env']);
    const hidden = unaskedWays(source, flows);
    if (hidden !== null) tally.unknown(hidden, [facts.routes4.evidence]);
    for (const flow of flows) {
      for (const probe of POD_PROBES) {
        const answer = askForward(net, { ...flow, ...probe });
        const [decider] = answer.deciders;
        const other = flow.elsewhere === null ? null : askForward(net, { ...flow, ...probe, ...flow.elsewhere });
        if (answer.verdict === 'accept' && other !== null && other.verdict !== 'accept')
          tally.unknown(...undecidedWay(flow));
        else if (answer.verdict === 'accept') tally.passed(answer.deciders.map((d) => cite(d.fact, d)));
        else if (!isDropped(answer) || decider === undefined)
          tally.unknown(`whether FORWARD lets ${flow.name} through: ${answer.because}`, answer.evidence);
        else {
          const exempt = spared(
            source,
            flow.net,
            (a) => !isDropped(askForward(net, { ...flow, ...probe, [flow.end]: a })),
          );
          if (exempt === null) tally.fault(drop(node.id, flow, probe.proto, decider, answer.presumedDrop === true));
          else
            tally.unknown(
              `whether FORWARD lets ${flow.name} through: it drops ${flow.net.sample} but not ${exempt}, and which addresses containers have was not collected`,
              WHO_LIVES,
            );
        }
      }
    }
    return tally.verdict([cite(flows[0].fact, flows[0])]);
  },
});

/** `presumed`: tables that were not collected might translate the packet before. */
function drop(node: string, flow: PodFlow, proto: string, decider: Decider, presumed: boolean): Finding {
  const { src, dst, iif, oif } = flow;
  const chain = decider.place.split(' > ').at(-1) ?? decider.place;
  const meant = isPolicy(decider.place);
  const what = decidedBy(decider);
  return {
    key: decider.text.startsWith(':') ? `${what} (${decider.place})` : `${decider.text} in ${chain}`,
    severity: meant ? 'info' : flow.severity,
    // rules for single addresses may let the real ones through
    confidence: flow.live && !presumed ? 'proven' : 'likely',
    nodes: [node],
    message: `FORWARD on ${node} drops new traffic from ${flow.name} (${src} -> ${dst} ${proto}, in ${iif}, out ${oif}): ${what} in ${decider.place}${meant ? ', by policy' : ''}`,
    cites: [cite(decider.fact, decider), cite(flow.fact, flow)],
    disprove: presumed
      ? 'tables that were not collected (iptables-legacy-save, nft list ruleset) and translate this packet before'
      : 'a rule in front of it that accepts this packet in the same ruleset',
    remediation: meant
      ? []
      : [
          {
            step: `Find out who should have written the accept rules (flannel with --iptables-forward-rules, kube-proxy, CNI, docker) and start it; until then accept ${flow.range} in the ruleset that drops it.`,
            ...acceptRange(decider.fact.evidence, decider.place, flow.range, flow.net.clustered ? 'all' : 'answers'),
            risk: flow.net.clustered
              ? `Accepts all traffic of ${flow.range}, network policies of the same chain excepted.`
              : `Accepts all that ${flow.range} sends, network policies of the same chain excepted, and answers to it.`,
          },
          PERSIST,
        ],
  };
}
