import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { DOCKER_DAEMON_KINDS, firewallBackend, type Told, writesRules } from '../../src/derive/docker-daemon.ts';
import { effectOnPorts, type Knock, lackOf, lostPorts } from '../../src/derive/docker-lost-ports.ts';
import { type ForwardedNetwork, mixed, publishedPorts } from '../../src/derive/docker-networks.ts';
import { acceptances, doorOf, ruledPorts, translations } from '../../src/derive/docker-published.ts';
import { openQuestions } from '../../src/derive/docker-questions.ts';
import { restartContainers, restartDocker, userRules } from '../../src/derive/docker-remedy.ts';
import {
  type DockerRules,
  type DockerTable,
  dockerRules,
  idleChains,
  isWritten,
  missingOf,
} from '../../src/derive/docker-rules.ts';
import { type DockerSubject, dockerSubject } from '../../src/derive/docker-subject.ts';
import { defaultDevice, OUTSIDE, outward, POD_KINDS, POD_PROBES, podNetworks } from '../../src/derive/pods.ts';
import {
  askDestination,
  askEgress,
  askForward,
  type Decider,
  decidedBy,
  HOOK_KINDS,
  hookNode,
  routeThrough,
} from '../../src/net/index.ts';
import type { Cite, NodeVerdict, NodeView } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS, ...DOCKER_DAEMON_KINDS] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** The restart lasts until the next time. */
const CULPRIT = {
  step: 'Find out who emptied the tables, and make it run before dockerd (After= in a drop-in of docker.service), or load tables of its own only.',
  run: "systemctl list-units --all 'firewalld*' 'iptables*' 'nftables*' 'netfilter-persistent*' 'ufw*'",
  verify: 'restart that unit: Docker’s rules are still there',
} as const;

export const rule = defineNodeRule({
  id: 'docker-rules-missing',
  title: {
    bad: 'dockerd runs, but its packet filter rules are gone',
    good: 'Packets come to the rules that dockerd wrote',
  },
  severity: 'critical',
  explanation:
    'dockerd writes its rules when it starts; whoever empties the tables after that (iptables -F, iptables-restore, nft flush ruleset, a restart of nftables.service) takes them away, and nobody puts them back. ' +
    'Where only a chain DOCKER was emptied, or rules of an earlier time were loaded, single published ports have lost theirs. ' +
    'Without those of filter, a FORWARD that drops cuts containers off, and one that accepts keeps no networks apart; without those of nat, containers leave with private addresses, and published ports answer only where docker-proxy takes them, every client with the bridge’s address.',
  remediation: [restartDocker(null, 'iptables'), userRules('iptables'), CULPRIT],
  references: [REF.dockerFirewall, REF.dockerd],
  needs: [],
  needsAny: ['dockerdArgs', 'dockerNetworks'],
  wants: WANTS,
  explains: [
    'dnat-to-missing-container',
    'docker-user-ineffective',
    'forward-drops-pod-traffic',
    'forward-drops-replies',
    'bridge-netfilter-drops-same-bridge',
    'loopback-publish-broken',
    'egress-masquerade-missing',
    'trace-pod-to-service-and-external',
  ],
  evaluate(view): NodeVerdict {
    const { node, wants, source } = view;
    if (wants.dockerdArgs.missing && wants.dockerdArgs.lookedFor)
      return notApplicable('dockerd does not run on this node');
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'the collector ran inside another network namespace, whose rules are not the node’s', [
        'fw.iptables-save',
      ]);
    const subject = dockerSubject(source);
    if (subject.kind === 'open') return unknown(node.id, subject.because, subject.evidence);
    if (subject.kind === 'none') {
      const { because, told, lacks } = subject;
      if (told !== undefined) return notApplicable(because, [cite(told.fact, told.span)]);
      return notApplicable(
        because,
        lacks !== undefined && isClosed(lacks.fact) ? [absent(lacks.fact, lacks.what)] : [],
      );
    }
    const tally = new NodeTally(node.id);
    judge(view, subject, 'filter', tally);
    judge(view, subject, 'nat', tally);
    return tally.verdict(citesOf(subject.runs(subject.networks[0])));
  },
});

type Asked = Extract<DockerSubject, { kind: 'asked' }>;
const citesOf = ([first, ...more]: NonEmpty<Told>): NonEmpty<Cite> => [
  cite(first.fact, first.span),
  ...more.map((t) => cite(t.fact, t.span)),
];

function judge(view: View, { networks, runs }: Asked, table: DockerTable, tally: NodeTally): void {
  const { node, source } = view;
  const backend = firewallBackend(source);
  const host = hookNode(source).host.rules(4);
  const { rulesets } = host;
  const rules = dockerRules(source, rulesets, table, backend);
  const { reached, native, bases, looked } = rules;
  const jumps = reached.filter((r) => r.target === 'DOCKER');
  const covered = (n: ForwardedNetwork) =>
    native !== null || jumps.some((r) => table === 'nat' || r.out === null || r.out === n.bridge);
  const lost = networks.filter((n) => !covered(n));
  if (!isNonEmpty(lost)) {
    const left = idleChains(rules);
    if (left !== null)
      tally.unknown(`whether packets come to Docker’s rules of ${table}: ${left.because}`, left.evidence);
    if (native !== null) tally.passed([cite(native.fact, native.span)]);
    tally.passed(reached.map((r) => cite(r.fact, { line: r.line })));
    judgePorts(view, networks, table, rules, tally);
    return;
  }
  const chains = rules.chains();
  const what = `whether packets come to Docker’s rules of ${table}`;
  const open = openQuestions(source, table, rules, host, node.format);
  const writes = writesRules(source);
  if (writes.answer === 'unknown' && chains.length === 0 && reached.length === 0) {
    const because = 'there are none, but dockerd may have been told so (iptables=false)';
    open.push({ because, evidence: writes.evidence });
  }
  for (const { because, evidence } of open) tally.unknown(`${what}: ${because}`, evidence);
  if (open.length > 0) return;
  const partly = reached.length > 0 ? ` ${lost.map((n) => n.bridge).join(', ')}` : '';
  const missing = missingOf(table, backend, partly);
  const proofs = looked.flatMap((fact) => (isClosed(fact) ? [absent(fact, missing.line)] : []));
  const user = backend !== 'nftables' && !reached.some((r) => r.target === 'DOCKER-USER');
  const { decider, ...effect } = table === 'nat' ? withoutNat(view, lost) : withoutFilter(view, lost, user);
  // dockerd leaves DOCKER-USER as it is: a restart would change nothing
  if (decider?.place.endsWith(' > DOCKER-USER') === true && lost.every((n) => isWritten(rulesets, n.bridge))) {
    tally.unknown(
      `${what}: they are there, but in front of them ${decidedBy(decider)} of DOCKER-USER drops what containers send`,
      [],
    );
    return;
  }
  const left = reached.slice(0, 1).map((r) => ({ fact: r.fact, span: { line: r.line } }));
  const dropper = decider === null ? [] : [{ fact: decider.fact, span: { line: decider.line } }];
  const places = new Map<string, Cite>();
  for (const { fact, span } of [...bases, ...left, ...chains.slice(0, 1), ...dropper])
    places.set(`${fact.path} ${span.line}`, cite(fact, span));
  const nft = backend === 'nftables';
  const program = iptablesOf(chains[0]?.fact.evidence ?? '');
  tally.fault({
    key: `${table}${partly}`,
    severity: effect.severity,
    confidence: chains.length > 0 && writes.answer === 'yes' && partly === '' ? 'proven' : 'likely',
    nodes: [node.id],
    // what cuts off others' pods may be something else
    latent: effect.severity === 'medium' || mixed(source, networks),
    message: `Docker runs on ${node.id}, but ${missing.says}: ${effect.says}`,
    cites: [...citesOf(runs(lost[0])), ...proofs, ...places.values()],
    remediation: [
      restartDocker(source, program, nft),
      ...(table === 'filter' && !nft ? [userRules(program)] : []),
      CULPRIT,
    ],
    disprove: 'a dockerd that was started with iptables=false, or one that was just starting',
  });
}

interface Effect {
  readonly severity: 'critical' | 'high' | 'medium';
  readonly says: string;
  readonly decider: Decider | null;
}

const IDLE = 'no container is attached to its networks, so nothing breaks until one is';

/** What becomes of packets of these networks in FORWARD. `user`: DOCKER-USER is lost as well. */
function withoutFilter({ source }: View, lost: readonly ForwardedNetwork[], user: boolean): Effect {
  const used = lost.filter((n) => n.used).map((n) => n.bridge);
  if (used.length === 0) return { severity: 'medium', says: IDLE, decider: null };
  const host = hookNode(source);
  for (const net of podNetworks(source)) {
    if (!used.includes(net.bridge.name)) continue;
    const oif = routeThrough(host, outward(net))?.dev ?? defaultDevice(source) ?? 'netcase-any';
    const answers = POD_PROBES.map((probe) => askForward(host, { ...outward(net), ...probe, oif }));
    const [decider] = answers[0]?.deciders ?? [];
    if (decider === undefined || !answers.every((a) => a.verdict === 'drop')) continue;
    const says = `${decidedBy(decider)} drops what containers of ${net.bridge.name} send`;
    return { severity: 'critical', says, decider };
  }
  const says = `they no longer keep Docker’s networks apart${user ? ' or apply DOCKER-USER' : ''} (containers are on ${used.join(', ')})`;
  return { severity: 'high', says, decider: null };
}

/** What becomes of published ports, and of the addresses that containers leave with. */
function withoutNat({ source }: View, lost: readonly ForwardedNetwork[]): Effect {
  const used = lost.filter((n) => n.used);
  if (used.length === 0) return { severity: 'medium', says: IDLE, decider: null };
  const { ports, whole } = publishedPorts(source);
  const host = hookNode(source);
  const bare = podNetworks(source).filter((net) => {
    const network = used.find((n) => n.bridge === net.bridge.name);
    const out = routeThrough(host, outward(net));
    if (network?.masqueraded !== true || out === null || out.dev === net.bridge.name) return false;
    return askEgress(host, { ...outward(net), dst: OUTSIDE, oif: out.dev }, out.via).verdict === 'none';
  });
  const says: string[] = [];
  if (ports.length > 0 || !whole) {
    const which = ports.length === 0 ? '' : ` (${ports.slice(0, 5).join(', ')}${ports.length > 5 ? ' …' : ''})`;
    says.push(
      `published ports${which} answer only where docker-proxy takes them, every client with the bridge’s address`,
    );
  }
  if (bare.length > 0)
    says.push(`containers of ${bare.map((n) => n.bridge.name).join(', ')} leave with their private addresses`);
  if (isNonEmpty(says)) return { severity: 'high', says: says.join('; '), decider: null };
  const idle = 'no port is published and containers’ addresses are translated by others, so nothing breaks yet';
  return { severity: 'medium', says: idle, decider: null };
}

/** Packets come to Docker's chain of the table: does it hold the rules of each published port? */
function judgePorts(
  { node, wants, source }: View,
  networks: Asked['networks'],
  table: DockerTable,
  rules: DockerRules,
  tally: NodeTally,
): void {
  const { dockerContainers: containers } = wants;
  const host = hookNode(source);
  const ruled = host.host.rules(4);
  const written = { nat: translations(ruled.rulesets), filter: acceptances(ruled.rulesets) };
  const whole = !containers.missing && isClosed(containers);
  if (!whole && written.nat.length + written.filter.length === 0 && networks.some((n) => n.used)) {
    const why = containers.missing ? containers.because : 'was not collected whole';
    const because = `whether ports are published, for there is no rule of one: docker.containers ${why}`;
    tally.unknown(because, ['docker.containers']);
  }
  if (containers.missing) return;
  const asking = {
    door: (hostIp: string | null) => doorOf(source, hostIp, defaultDevice(source)),
    destination: (sample: Knock) => askDestination(host, sample),
    forward: (sample: Knock, oif: string) => askForward(host, { ...sample, oif }),
  };
  const ports = ruledPorts(containers, networks, node.collectedAt);
  const { lost, open, own, more } = lostPorts(ports, table, written, asking, firewallBackend(source));
  for (const { because, evidence } of open) tally.unknown(because, evidence);
  if (own !== null) tally.passed([cite(own.fact, { line: own.chain.rule(own.index).line })]);
  if (!isNonEmpty(lost)) return;
  const questions = openQuestions(source, table, rules, ruled, node.format);
  for (const { because, evidence } of questions)
    tally.unknown(`whether published ports have rules of ${table}: ${because}`, evidence);
  if (questions.length > 0) return;
  const [first] = lost;
  const chain = rules.chains().slice(0, 1);
  const deciders = new Map(lost.flatMap(({ decider }) => (decider === null ? [] : [[decider.text, decider]])));
  const lacks = `a rule of Docker’s ${table === 'nat' ? 'that sends' : 'that lets in'} ${lackOf(first.port, table)}`;
  const nft = firewallBackend(source) === 'nftables';
  const program = iptablesOf(chain[0]?.fact.evidence ?? '');
  const { says, severity } = effectOnPorts(table, { lost, more }, decidedBy);
  const again = restartContainers(
    lost.map((l) => l.port),
    nft ? null : program,
  );
  tally.fault({
    key: `${table} ports`,
    severity,
    confidence: 'likely',
    nodes: [node.id],
    latent: severity === 'medium',
    about: lost.flatMap(({ port }) => port.targets.map((t) => t.ip)),
    message: `Docker runs on ${node.id}, but ${says}`,
    cites: [
      cite(containers, { line: first.port.line }),
      ...rules.looked.flatMap((fact) => (isClosed(fact) ? [absent(fact, lacks)] : [])),
      ...chain.map((c) => cite(c.fact, c.span)),
      ...[...deciders.values()].slice(0, 2).map((d) => cite(d.fact, { line: d.line })),
    ],
    // dockerd appends rules: behind one that sends the port elsewhere its own would do nothing
    remediation: [
      ...(lost.some((l) => l.sentTo !== null) ? [] : [again]),
      restartDocker(source, program, nft),
      CULPRIT,
    ],
    disprove: 'a container that was started while the node was looked at',
  });
}
