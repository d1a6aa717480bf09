import { formatPrefix } from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { outward, POD_KINDS, POD_PROBES, type PodFlow, podFlows } from '../../src/derive/pods.ts';
import { spared, WHO_LIVES } from '../../src/derive/single-addresses.ts';
import { askEgress, type Decider, HOOK_WANTS, hookNode, RULESET_KINDS, routesThrough } from '../../src/net/index.ts';
import type { Finding } from '../../src/rule/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'overlay-traffic-masqueraded',
  title: {
    bad: 'Packets from pod to pod leave the node with another source address',
    good: 'Packets from pod to pod keep the pod’s address',
  },
  severity: 'medium',
  explanation:
    'flannel routes pod addresses end to end, so between nodes nothing needs to be translated. Translated, the other pod sees the address of flannel.1 or of the node: ' +
    'network policies by source, access lists and sessions by address fail, and logs name the wrong client. Connections as such work.',
  remediation: [
    {
      step: 'Where dockerd wrote the rule, set "ip-masq": false in its daemon.json (flannel translates what leaves the cluster) and restart docker. A rule of your own: exempt the pod range.',
      run: 'iptables -t nat -I POSTROUTING -s <pod range> -d <pod range> -m mark ! --mark 0x4000/0x4000 -j RETURN',
      verify: 'a server in a pod logs the address of a client pod on the node',
      undo: 'iptables -t nat -D POSTROUTING -s <pod range> -d <pod range> -m mark ! --mark 0x4000/0x4000 -j RETURN',
    },
  ],
  references: [REF.flannelReservations, REF.dockerBridge],
  needs: ['addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: [...HOOK_WANTS, ...POD_KINDS],
  evaluate({ node, facts, source }) {
    const lease = flannelLease(source);
    if (lease === null) return notApplicable('no flannel lease on this node');
    const net = hookNode(source);
    const flows = podFlows(source, () => []).filter(
      (f) => f.net.clustered && f.end === 'src' && f.severity === 'critical',
    );
    if (!isNonEmpty(flows)) {
      if (!isClosed(facts.routes4) || !isClosed(facts.addresses))
        return unknown(node.id, 'the node’s routes or addresses were not collected whole', ['ip.route4', 'ip.addr']);
      return notApplicable('no pod network here with a port, an IPv4 address and a route to other nodes’ pods');
    }
    const tally = new NodeTally(node.id);
    for (const flow of flows) {
      const [way] = routesThrough(net, { ...outward(flow.net), dst: flow.dst });
      if (way === undefined) {
        tally.unknown(`whether ${flow.name} keep their address: which way they leave is not known`, ['ip.rule4']);
        continue;
      }
      if (way.dev !== flow.oif) {
        tally.unknown(
          `whether ${flow.name} keep their address: policy rules send them by ${way.dev}, not by ${flow.oif}`,
          ['ip.rule4'],
        );
        continue;
      }
      const ask = (src: string, probe: (typeof POD_PROBES)[number]) =>
        askEgress(net, { src, dst: flow.dst, ...probe, iif: flow.iif, oif: way.dev }, way.via);
      for (const probe of POD_PROBES) {
        const answer = ask(flow.src, probe);
        const [decider] = answer.deciders;
        if (answer.redirected === true)
          tally.unknown(`whether ${flow.name} keep their address: a rule sends ${probe.proto} somewhere else`, []);
        else if (answer.verdict === 'none') tally.passed(answer.deciders.slice(0, 1).map((d) => cite(d.fact, d)));
        else if (answer.verdict === 'unknown' || decider === undefined)
          tally.unknown(`whether ${flow.name} keep their address: ${answer.because}`, answer.evidence);
        else {
          const exempt = spared(source, flow.net, (a) => ask(a, probe).verdict === 'none');
          if (exempt === null)
            tally.fault(
              translated(node.id, flow, probe.proto, decider, {
                range: formatPrefix(lease.network?.prefix ?? flow.net.prefix),
                marker: MARKED.test(decider.place) ? answer.marker : undefined,
              }),
            );
          else
            tally.unknown(
              `whether ${flow.name} keep their address: that of ${flow.net.sample} is translated, not that of ${exempt}, and which addresses containers have was not collected`,
              WHO_LIVES,
            );
        }
      }
    }
    return tally.verdict([cite(flows[0].fact, flows[0])]);
  },
});

/** Chains of kube-proxy and of portmap translate what has their mark. */
const MARKED = / > (KUBE-POSTROUTING|CNI-HOSTPORT-MASQ)$/;

interface Circumstances {
  /** Of the cluster's pods. */
  readonly range: string;
  /** The rule that gave the packet the mark for which it is translated. */
  readonly marker: Decider | undefined;
}

function translated(
  node: string,
  flow: PodFlow,
  proto: string,
  decider: Decider,
  { range, marker }: Circumstances,
): Finding {
  // its list of ranges that keep their address is somebody's decision
  const meant = /IP-MASQ-AGENT/.test(decider.place);
  const native = decider.place.startsWith('nft ');
  const table = iptablesOf(decider.fact.evidence);
  const rule = `POSTROUTING -s ${range} -d ${range} -m mark ! --mark 0x4000/0x4000 -j RETURN`;
  const docker = / ! -o \S+ -j MASQUERADE/.test(decider.text);
  const step = docker
    ? 'Where dockerd wrote this rule, set "ip-masq": false in /etc/docker/daemon.json (flannel translates what leaves the cluster) and restart docker. Until then exempt the pod range:'
    : 'Find out who wrote this rule and narrow it to what leaves the cluster. Until then exempt the pod range:';
  return {
    key: `${decider.text} in ${decider.place}`,
    severity: meant ? 'info' : 'medium',
    confidence: flow.live ? 'proven' : 'likely',
    nodes: [node],
    message: `Packets from the pods of ${node} to those of other nodes (${flow.src} -> ${flow.dst} ${proto}, out ${flow.oif}) leave with another source address: "${decider.text}" in ${decider.place}${meant ? ', as ip-masq-agent was told' : ''}${marker === undefined ? '' : `, for the mark that "${marker.text}" in ${marker.place} gives them`}`,
    cites: [
      cite(decider.fact, decider),
      ...(marker === undefined ? [] : [cite(marker.fact, marker)]),
      cite(flow.fact, flow),
    ],
    disprove: 'a server in a pod of another node that sees the pod’s own address',
    remediation: marker
      ? [
          {
            step: `Narrow "${marker.text}" (${marker.place}) to what it was written for, or let it set another bit: kube-proxy (0x4000) and portmap (0x2000) translate what has theirs.`,
          },
        ]
      : native
        ? [{ step: `Narrow the rule in ${decider.place} to what leaves the cluster: ip daddr != ${range}.` }]
        : [
            {
              step,
              run: `${table} -t nat -I ${rule}`,
              verify: `${table} -t nat -C ${rule} && echo exempt`,
              undo: `${table} -t nat -D ${rule}`,
              risk: 'Pod-to-pod packets pass no later rule of this nat table; what kube-proxy marked for translation still does.',
            },
          ],
  };
}
