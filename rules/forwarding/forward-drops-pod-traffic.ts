import { isNonEmpty } from '../../src/core/span.ts';
import { peerRoutes, podNetworks } from '../../src/derive/pods.ts';
import type { Decider, SamplePacket } from '../../src/net/quick.ts';
import { forwardVerdict, mainRoute } from '../../src/net/quick.ts';
import type { Cite, Finding, LineCite, Undecided } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Flow {
  readonly name: string;
  readonly packet: Omit<SamplePacket, 'proto' | 'dport' | 'ctstate'>;
  readonly severity: 'critical' | 'high';
  readonly why: Cite;
}

/** Chains whose purpose is to drop: isolation of networks, network policies. */
const POLICY = /^(DOCKER-ISOLATION|DOCKER-INTERNAL|KUBE-ROUTER|KUBE-NWPLCY|cali-|CILIUM|WEAVE-NPC|NETAVARK_ISOLATION)/;
const PROBES = [
  { proto: 'tcp', dport: 443, sport: 40000 },
  { proto: 'udp', dport: 53, sport: 40000 },
  { proto: 'icmp' },
] as const;
const EXTERNAL = '203.0.113.7';

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
    {
      step: 'Persist with the firewall’s own tool (netfilter-persistent, firewall-cmd --permanent); never -P FORWARD ACCEPT as the first step.',
    },
  ],
  references: [REF.dockerFirewall, REF.flannelTroubleshooting, REF.kubeVips],
  needs: ['addresses', 'routes4', 'iptables'],
  wants: [
    'links',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'flannelEnv',
    'iptablesNft',
    'iptablesLegacy',
    'legacyTables',
    'nftJson',
    'nftText',
  ],
  explains: ['forward-drops-replies', 'trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, source }) {
    const flows: Flow[] = [];
    const peers = peerRoutes(source);
    for (const net of podNetworks(source)) {
      const attached = cite(net.bridge.fact, { line: net.line });
      const [peer] = peers;
      if (net.clustered && peer !== undefined) {
        const route = cite(facts.routes4, peer.route);
        flows.push({
          name: 'other nodes’ pods to its own',
          packet: { src: peer.sample, dst: net.sample, iif: peer.dev, oif: net.bridge.name },
          severity: 'critical',
          why: route,
        });
        flows.push({
          name: 'its pods to those of other nodes',
          packet: { src: net.sample, dst: peer.sample, iif: net.bridge.name, oif: peer.dev },
          severity: 'critical',
          why: route,
        });
      }
      const out = mainRoute(facts.routes4.value.routes, EXTERNAL)?.dev;
      if (out !== undefined)
        flows.push({
          name: 'its containers to the outside',
          packet: { src: net.sample, dst: EXTERNAL, iif: net.bridge.name, oif: out },
          severity: 'high',
          why: attached,
        });
    }
    if (!isNonEmpty(flows)) return notApplicable('no container network with a port and a route to anywhere');
    const found = new Map<string, Finding>();
    const open = new Map<string, Undecided>();
    const accepted: LineCite[] = [];
    for (const flow of flows) {
      for (const probe of PROBES) {
        const result = forwardVerdict(source, { ...flow.packet, ...probe, ctstate: 'NEW' });
        if (result.verdict === 'accept') accepted.push(...result.deciders.map(citeOf));
        else if (result.verdict === 'unknown') {
          open.set(result.because, {
            nodes: [node.id],
            because: `whether FORWARD lets ${flow.name} through: ${result.because}`,
            evidence: result.evidence,
          });
        } else {
          const [decider] = result.deciders;
          if (decider === undefined) continue;
          const key = `${decider.text.replace(/\s*\[\d+:\d+\]/g, '')} in ${decider.chain}`;
          if (!found.has(key)) found.set(key, drop(node.id, flow, probe.proto, decider));
        }
      }
    }
    const list = [...found.values()];
    const undecided = [...open.values()];
    if (isNonEmpty(list)) return findings(list, undecided);
    if (isNonEmpty(undecided)) return { kind: 'unknown', unknown: undecided };
    const unique = [...new Map(accepted.map((c) => [`${c.path}:${c.line}`, c])).values()];
    return isNonEmpty(unique) ? { kind: 'pass', cites: unique } : { kind: 'pass', cites: [flows[0].why] };
  },
});

const citeOf = (d: Decider): LineCite => cite(d.fact as Parameters<typeof cite>[0], { line: d.line });

function drop(node: string, flow: Flow, proto: string, decider: Decider): Finding {
  const { src, dst, iif, oif } = flow.packet;
  const meant = POLICY.test(decider.chain);
  const what = decider.text.startsWith(':') ? `policy DROP of ${decider.chain}` : `"${decider.text}"`;
  return {
    key: `${decider.text.replace(/^:(\S+) (\S+).*$/, 'policy $2 of $1')}`,
    severity: meant ? 'info' : flow.severity,
    confidence: 'proven',
    nodes: [node],
    message: `FORWARD on ${node} drops new traffic from ${flow.name} (${src} -> ${dst} ${proto}, in ${iif}, out ${oif}): ${what}${meant ? ', by policy' : ''}`,
    cites: [citeOf(decider), flow.why],
    disprove: 'a rule in front of it that accepts this packet in the same ruleset',
  };
}
