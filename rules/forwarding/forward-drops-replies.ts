import { isNonEmpty } from '../../src/core/span.ts';
import { acceptAnswers } from '../../src/derive/accept-range.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
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
import {
  askForward,
  type Decider,
  decidedBy,
  HOOK_WANTS,
  hookNode,
  isDropped,
  RULESET_KINDS,
  routesThrough,
} from '../../src/net/index.ts';
import type { Finding } from '../../src/rule/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'forward-drops-replies',
  title: { bad: 'Answers to containers are dropped in FORWARD', good: 'Answers come back through FORWARD' },
  severity: 'high',
  explanation:
    'The request is accepted on its way out, but nothing accepts the answer on its way back, so it dies on the policy of FORWARD. ' +
    'The client sees a timeout although the server answered. Docker’s rule "-i docker0 ! -o docker0 -j ACCEPT" needs its partner ' +
    '"-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"; untracked packets (NOTRACK) are never ESTABLISHED.',
  remediation: [
    {
      step: 'Let the owner write its pair of rules again (systemctl restart docker; flanneld does it within seconds). Until then accept answers in front of the drop:',
      run: 'iptables -I FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      verify: 'iptables -nvL FORWARD | head -3   # the rule counts, the policy does not',
      undo: 'iptables -D FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      risk: 'Accepts packets of connections that were accepted once; new connections are judged as before.',
    },
  ],
  references: [REF.dockerFirewall, REF.flannelTroubleshooting],
  needs: ['addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: [...HOOK_WANTS, ...POD_KINDS],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
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
    let asked = 0;
    for (const flow of flows) {
      for (const probe of POD_PROBES) {
        const request = askForward(net, { ...flow, ...probe });
        const elsewhere = (way: 'request' | 'reply') =>
          spared(source, flow.net, (a) => !isDropped(askForward(net, { ...flow, ...probe, [flow.end]: a }, way)));
        if (isDropped(request)) {
          // a request that is dropped has no answer: forward-drops-pod-traffic speaks
          const sent = elsewhere('request');
          if (sent === null) continue;
          asked += 1;
          tally.unknown(
            `whether answers to ${flow.name} come back: requests of ${flow.net.sample} are dropped, those of ${sent} may not be, and which addresses containers have was not collected`,
            WHO_LIVES,
          );
          continue;
        }
        asked += 1;
        const answer = askForward(net, { ...flow, ...probe }, 'reply');
        const [decider] = answer.deciders;
        const other = answer.verdict === 'drop' ? elsewhere('reply') : null;
        if (answer.verdict === 'accept' && request.verdict === 'accept') {
          const away =
            flow.elsewhere === null ? null : askForward(net, { ...flow, ...probe, ...flow.elsewhere }, 'reply');
          if (away !== null && away.verdict !== 'accept') tally.unknown(...undecidedWay(flow));
          else tally.passed(answer.deciders.map((d) => cite(d.fact, d)));
        } else if (other !== null) {
          const because = `whether answers to ${flow.name} come back: those to ${flow.net.sample} do not, those to ${other} may, and which addresses containers have was not collected`;
          tally.unknown(because, WHO_LIVES);
        } else if (answer.verdict === 'drop' && request.verdict === 'accept' && decider !== undefined) {
          const what = decidedBy(decider);
          const untracked = [...answer.deciders, ...request.deciders].find((d) => /notrack/i.test(d.text));
          const why = untracked === undefined ? '' : `; "${untracked.text}" keeps the connection untracked`;
          const pass = request.deciders.find((d) => d.fact.path === decider.fact.path) ?? request.deciders[0];
          const out = [...(pass === undefined ? [] : [pass]), ...(untracked === undefined ? [] : [untracked])];
          tally.fault({
            key: `${what} (${decider.place})`,
            severity: 'high',
            confidence: flow.live ? 'proven' : 'likely',
            nodes: [node.id],
            message: `Answers to ${flow.name} (${flow.dst} -> ${flow.src} ${probe.proto}, in ${flow.oif}, out ${flow.iif}) are dropped on ${node.id}: ${what} in ${decider.place}; the request is accepted${why}`,
            cites: [cite(decider.fact, decider), ...out.map((d) => cite(d.fact, d)), cite(flow.fact, flow)],
            disprove: 'a rule in front of it that accepts RELATED,ESTABLISHED packets in the same ruleset',
            remediation: remedy(decider, untracked),
          });
        } else {
          const because = `whether answers to ${flow.name} come back: ${answer.because || request.because}`;
          tally.unknown(because, [...answer.evidence, ...request.evidence]);
        }
      }
    }
    if (asked === 0) return notApplicable('no request gets through, so there is no answer to drop');
    return tally.verdict([cite(flows[0].fact, flows[0])]);
  },
});

function remedy(decider: Decider, untracked: Decider | undefined): NonNullable<Finding['remediation']> {
  const cut = untracked ?? decider;
  const accept = untracked === undefined ? acceptAnswers(decider.fact.evidence, decider.place) : null;
  // nothing knows an answer of an untracked connection: what keeps it untracked, or drops before tracking, has to go
  if (accept === null)
    return [{ step: `Find out who wrote "${cut.text}" (${cut.place}) and why, and make it spare this traffic.` }];
  return [
    {
      step: 'Let the owner write its pair of rules again (systemctl restart docker; flanneld does it within seconds). Until then accept answers in front of the drop:',
      ...accept,
      risk: 'Accepts packets of connections that were accepted once; new connections are judged as before.',
    },
  ];
}
