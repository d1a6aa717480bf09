import { formatPrefix, isGlobal, parseIp } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { setInDaemonJson } from '../../src/derive/daemon-json-edit.ts';
import { DOCKER_DAEMON_KINDS, type Told, unmasqueraded, writesRules } from '../../src/derive/docker-daemon.ts';
import type { ForwardedNetwork } from '../../src/derive/docker-networks.ts';
import { withoutProxy } from '../../src/derive/docker-ports.ts';
import { doorOf, portNames, type RuledPort, ruledPorts } from '../../src/derive/docker-published.ts';
import { runningSubject } from '../../src/derive/docker-subject.ts';
import { defaultDevice, OUTSIDE, outward, POD_KINDS, type PodNetwork, podNetworks } from '../../src/derive/pods.ts';
import { askDestination, askEgress, HOOK_KINDS, hookNode, routeThrough } from '../../src/net/index.ts';
import type { Cite, Finding, NodeView, Remediation } from '../../src/rule/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS, ...DOCKER_DAEMON_KINDS] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** So many ports of a node are followed through its rulesets. */
const MOST_ASKED = 64;

export const rule = defineNodeRule({
  id: 'docker-iptables-disabled',
  title: {
    bad: 'dockerd is told to write no rules, and nothing does its work',
    good: 'dockerd writes no rules, and others do its work',
  },
  severity: 'high',
  explanation:
    'With iptables=false dockerd writes none at all: no translation of what containers send, none of published ports, and nothing that keeps its networks apart. ' +
    'Containers then leave with private addresses, which others do not answer; ports are served by docker-proxy alone, which shows every client with the bridge’s address, and with userland-proxy=false by nobody. Rules of an earlier run stay until somebody flushes them, so that it breaks with the next boot.',
  remediation: [
    {
      step: 'Let dockerd write its rules, or write those of the networks yourself and load them at boot.',
      ...setInDaemonJson({ iptables: true }, null),
      verify: 'iptables -t nat -S | grep DOCKER',
      risk: 'Restarts dockerd: without live-restore all containers stop. Its rules come beside those that are there.',
    },
  ],
  references: [REF.dockerFirewall, REF.dockerd],
  needs: [],
  needsAny: ['dockerdArgs', 'daemonJson', 'dockerUnit'],
  wants: WANTS,
  explains: ['egress-masquerade-missing', 'trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, wants, source } = view;
    if (wants.dockerdArgs.missing && wants.dockerdArgs.lookedFor)
      return notApplicable('dockerd does not run on this node');
    const told = writesRules(source);
    const { rulesets } = hookNode(source).host.rules(4);
    if (told.answer === 'yes') return notApplicable('dockerd writes its rules');
    if (told.answer === 'unknown') {
      const chain = rulesets.find((r) => r.ruleset.tables.get('nat')?.chains.has('DOCKER') === true);
      if (chain !== undefined) return notApplicable('dockerd has written rules');
      return unknown(node.id, 'whether dockerd is told to write no rules (iptables=false)', told.evidence);
    }
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'the collector ran inside another network namespace, whose rules are not the node’s', [
        'fw.iptables-save',
      ]);
    const subject = runningSubject(source);
    if (subject.kind === 'open') return unknown(node.id, subject.because, subject.evidence);
    if (subject.kind === 'none') return notApplicable(subject.because);
    const used = subject.networks.filter((n) => n.used);
    if (!isNonEmpty(used)) return notApplicable('no container is attached to a bridge network of Docker');
    const tally = new NodeTally(node.id);
    leaving(view, told, used, tally);
    published(view, told, used, tally);
    return tally.verdict([cite(told.fact, told.span)]);
  },
});

/** What containers send: with which address it leaves. */
function leaving({ node, source }: View, told: Told, used: NonEmpty<ForwardedNetwork>, tally: NodeTally): void {
  const host = hookNode(source);
  const masqOff = unmasqueraded(source);
  for (const net of podNetworks(source)) {
    const network = used.find((n) => n.bridge === net.bridge.name);
    const sample = parseIp(net.sample);
    // dockerd itself writes that option to its default network where it may write no rules (measured on 20.10)
    const meant = network?.translates === true && (network.masqueraded || network.name === 'bridge');
    if (!meant || net.clustered || (sample !== null && isGlobal(sample))) continue;
    if (net.bridge.name === 'docker0' && masqOff !== null) continue;
    const way = routeThrough(host, outward(net));
    const what = `whether ${formatPrefix(net.prefix)} is translated`;
    if (way === null) {
      if (defaultDevice(source) !== null) tally.unknown(`${what}: which way it leaves is not known`, ['ip.rule4']);
      continue;
    }
    if (way.dev === net.bridge.name) continue;
    const answer = askEgress(host, { ...outward(net), oif: way.dev }, way.via);
    const lines = answer.deciders.slice(0, 1).map((d) => cite(d.fact, { line: d.line }));
    if (answer.verdict === 'unknown') tally.unknown(`${what}: ${answer.because}`, answer.evidence);
    else if (answer.verdict === 'translated') tally.passed([cite(told.fact, told.span), ...lines]);
    else tally.fault(untranslated(node.id, source, net, told, [cite(net.bridge.fact, { line: net.line }), ...lines]));
  }
}

function untranslated(
  node: string,
  source: View['source'],
  net: PodNetwork,
  told: Told,
  lines: readonly Cite[],
): Finding {
  const subnet = formatPrefix(net.prefix);
  const rule = `POSTROUTING -s ${subnet} ! -o ${shellWord(net.bridge.name)} -j MASQUERADE`;
  return {
    key: `egress ${net.bridge.name}`,
    severity: 'high',
    confidence: 'likely',
    nodes: [node],
    message: `dockerd on ${node} is told to write no rules, and nothing translates what containers of ${net.bridge.name} send: it leaves with addresses of ${subnet}, and answers come back only where routers know the way to them`,
    cites: [cite(told.fact, told.span), ...lines],
    remediation: [
      writeAgain(source, told),
      {
        step: 'Or translate it yourself, and load the rule at boot.',
        run: `iptables -t nat -A ${rule}`,
        verify: `iptables -t nat -C ${rule} && echo translated`,
        undo: `iptables -t nat -D ${rule}`,
        risk: 'none known',
      },
    ],
    disprove: `routers that have a route to ${subnet} by this node`,
  };
}

function writeAgain(source: View['source'], told: Told): Remediation {
  const common = {
    verify: 'iptables -t nat -S | grep DOCKER',
    risk: 'Restarts dockerd: without live-restore all containers stop. Its rules come beside those that are there.',
  };
  if (told.fact.kind === 'daemonJson')
    return { step: 'Let dockerd write its rules.', ...setInDaemonJson({ iptables: true }, source), ...common };
  return {
    step: 'Let dockerd write its rules: take --iptables=false out of its options (ExecStart of docker.service, or the file of variables that it reads), and restart it.',
    run: 'systemctl cat docker.service; grep -s -e iptables /etc/default/docker /etc/sysconfig/docker',
    ...common,
  };
}

/** What comes to published ports. */
function published(
  { node, wants, source }: View,
  told: Told,
  used: NonEmpty<ForwardedNetwork>,
  tally: NodeTally,
): void {
  const { dockerContainers: containers } = wants;
  if (containers.missing || !isClosed(containers)) {
    const why = containers.missing ? containers.because : 'was not collected whole';
    tally.unknown(`which ports containers publish: docker.containers ${why}`, ['docker.containers']);
  }
  if (containers.missing) return;
  const host = hookNode(source);
  const bare: RuledPort[] = [];
  const ports = ruledPorts(containers, used, null);
  tally.left(ports.length - MOST_ASKED, ports.length, 'published ports');
  for (const port of ports.slice(0, MOST_ASKED)) {
    const { hostIp, proto, hostPort } = port;
    const door = doorOf(source, hostIp, defaultDevice(source));
    if (door === null || (proto !== 'tcp' && proto !== 'udp')) continue;
    const sample = { src: OUTSIDE, dst: door.address, proto, dport: hostPort, iif: door.device } as const;
    const { outcomes, because, evidence } = askDestination(host, sample);
    const [only] = outcomes;
    const what = `whether published port ${hostPort}/${proto} of ${port.container} is translated`;
    if (only === undefined || outcomes.length > 1) tally.unknown(`${what}: ${because}`, evidence);
    else if (only.to === `${door.address}:${hostPort}`) bare.push(port);
    else if (only.decider !== null) tally.passed([cite(only.decider.fact, { line: only.decider.line })]);
  }
  const [first] = bare;
  if (first === undefined) return;
  const dead = withoutProxy(source);
  const they = bare.length > 1 ? 'ports' : 'port';
  const effect = dead
    ? 'no docker-proxy takes them either (userland-proxy=false)'
    : 'docker-proxy takes them, and shows every client with the bridge’s address';
  tally.fault({
    key: 'ports',
    severity: dead ? 'high' : 'medium',
    confidence: 'likely',
    nodes: [node.id],
    latent: !dead,
    about: bare.map((p) => String(p.hostPort)),
    message: `dockerd on ${node.id} is told to write no rules, and nothing translates packets for published ${they} ${portNames(bare)}: ${effect}`,
    cites: [cite(told.fact, told.span), cite(containers, { line: first.line })],
    remediation: [writeAgain(source, told)],
    disprove: dead
      ? 'rules that translate them in a table that was not collected'
      : 'clients whose addresses nobody needs',
  });
}
