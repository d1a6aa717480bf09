import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { DOCKER_DAEMON_KINDS, firewallBackend, rootless, writesRules } from '../../src/derive/docker-daemon.ts';
import {
  externalNetworks,
  type ForwardedNetwork,
  forwardedNetworks,
  mixed,
  publishedPorts,
} from '../../src/derive/docker-networks.ts';
import { restartDocker, userRules } from '../../src/derive/docker-remedy.ts';
import {
  type DockerRules,
  type DockerTable,
  dockerRules,
  idleChains,
  isWritten,
  missingOf,
} from '../../src/derive/docker-rules.ts';
import { defaultDevice, OUTSIDE, outward, POD_KINDS, POD_PROBES, podNetworks } from '../../src/derive/pods.ts';
import {
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
    'Without those of filter, a FORWARD that drops cuts containers off, and one that accepts keeps no networks apart; without those of nat, containers leave with private addresses, and published ports answer only where docker-proxy takes them, every client with the bridge’s address.',
  remediation: [restartDocker(null, 'iptables'), userRules('iptables'), CULPRIT],
  references: [REF.dockerFirewall, REF.dockerd],
  needs: [],
  needsAny: ['dockerdArgs', 'dockerNetworks'],
  wants: WANTS,
  explains: [
    'docker-user-ineffective',
    'forward-drops-pod-traffic',
    'forward-drops-replies',
    'egress-masquerade-missing',
    'trace-pod-to-service-and-external',
  ],
  evaluate(view): NodeVerdict {
    const networks = judged(view);
    if (!('all' in networks)) return networks;
    const tally = new NodeTally(view.node.id);
    judge(view, networks, 'filter', tally);
    judge(view, networks, 'nat', tally);
    return tally.verdict(networks.runs(networks.all[0]));
  },
});

type Networks = NonEmpty<ForwardedNetwork>;

interface Judged {
  readonly all: Networks;
  /** That dockerd runs, with a network here. */
  runs(network: ForwardedNetwork): NonEmpty<Cite>;
}

/** Docker's networks of which the rules are asked for; else the answer. */
function judged(view: View): Judged | NodeVerdict {
  const { node, wants, source } = view;
  const { dockerdArgs, dockerNetworks, dockerUnit, addresses } = wants;
  if (dockerdArgs.missing && dockerdArgs.lookedFor) return notApplicable('dockerd does not run on this node');
  const { netns, pid1netns } = node.context;
  if (netns !== null && pid1netns !== null && netns !== pid1netns)
    return unknown(node.id, 'the collector ran inside another network namespace, whose rules are not the node’s', [
      'fw.iptables-save',
    ]);
  const writes = writesRules(source);
  if (writes.answer === 'no')
    return notApplicable('dockerd is told to write no rules (iptables=false)', [cite(writes.fact, writes.span)]);
  const other = rootless(source);
  if (other !== null)
    return notApplicable('dockerd is rootless: its networks are in a namespace of its own', [
      cite(other.fact, other.span),
    ]);
  if (dockerNetworks.missing)
    return unknown(node.id, `which networks Docker has: docker.network-inspect ${dockerNetworks.because}`, [
      'docker.network-inspect',
    ]);
  const { networks } = dockerNetworks.value;
  if (dockerdArgs.missing && !networks.some((n) => n.driver === 'host' || Object.keys(n.options).some(isDockerOption)))
    return unknown(node.id, 'whether dockerd or another program answered for docker (podman does)', ['docker.cmdline']);
  const state = dockerUnit.missing
    ? undefined
    : dockerUnit.value.properties.find((p) => p.key === 'ActiveState' && /^(de)?activating$/.test(p.value));
  if (state !== undefined) return unknown(node.id, `docker.service was ${state.value} just then`, ['docker.unit']);
  const external = externalNetworks(dockerNetworks);
  if (external.length === 0) {
    if (!isClosed(dockerNetworks))
      return unknown(node.id, 'the list of Docker’s networks is not whole', ['docker.network-inspect']);
    return notApplicable('Docker has no bridge network that leads out of the node', [
      absent(dockerNetworks, 'a network of driver bridge that is not internal'),
    ]);
  }
  if (addresses.missing)
    return unknown(node.id, `whether Docker’s bridges are on this node: ip.addr ${addresses.because}`, ['ip.addr']);
  const all = forwardedNetworks(source, dockerNetworks, addresses);
  if (isNonEmpty(all)) {
    const process = dockerdArgs.missing ? undefined : dockerdArgs.value.processes[0];
    return {
      all,
      runs: ({ device, line }) => [
        dockerdArgs.missing || process === undefined
          ? cite(dockerNetworks, { line })
          : cite(dockerdArgs, { line: process.line }),
        cite(addresses, { line: device.line }),
      ],
    };
  }
  const there = addresses.value.devices.some((d) => external.some((n) => n.bridge === d.name));
  const shown = addresses.value.devices.some((d) => d.addresses.length > 0);
  if (there && shown && isClosed(addresses))
    return notApplicable('Docker’s bridges have no IPv4 address', [
      absent(addresses, 'an IPv4 address of a bridge of Docker'),
    ]);
  const because =
    'none of Docker’s bridges is a device with an address here: dockerd has its networks in another namespace, or they were removed';
  return unknown(node.id, because, there ? ['ip.addr'] : ['docker.info-json', 'ip.addr']);
}

const isDockerOption = (name: string) => name.startsWith('com.docker.network.');

function judge(view: View, { all: networks, runs }: Judged, table: DockerTable, tally: NodeTally): void {
  const { node, source } = view;
  const backend = firewallBackend(source);
  const { rulesets } = hookNode(source).host.rules(4);
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
    return;
  }
  const chains = rules.chains();
  const what = `whether packets come to Docker’s rules of ${table}`;
  const open = openQuestions(view, table, rules);
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
    cites: [...runs(lost[0]), ...proofs, ...places.values()],
    remediation: [
      restartDocker(source, program, nft),
      ...(table === 'filter' && !nft ? [userRules(program)] : []),
      CULPRIT,
    ],
    disprove: 'a dockerd that was started with iptables=false, or one that was just starting',
  });
}

/** Why Docker's rules may be there although nothing shows them. */
function openQuestions(
  view: View,
  table: DockerTable,
  { looked, unread }: DockerRules,
): { because: string; evidence: readonly string[] }[] {
  const { node, wants, source } = view;
  const { nftJson, nftText, legacyTables } = wants;
  const backend = firewallBackend(source);
  const nftRead = (!nftJson.missing && isClosed(nftJson)) || (!nftText.missing && isClosed(nftText));
  const noNft = nftJson.missing && nftJson.lookedFor && nftText.missing && nftText.lookedFor;
  const open: { because: string; evidence: readonly string[] }[] = [];
  if ((backend !== 'iptables' || unread) && !nftRead && !noNft) {
    const why = nftJson.missing ? nftJson.because : 'not collected whole';
    open.push({ because: `the nft tables are not known: fw.nft-json ${why}`, evidence: ['fw.nft-json'] });
  }
  for (const fact of looked)
    if (!isClosed(fact)) open.push({ because: `${fact.path} was not collected whole`, evidence: [fact.evidence] });
  if (looked.length === 0) open.push({ because: 'no ruleset was collected', evidence: ['fw.iptables-save'] });
  if (backend === 'nftables') return open;
  const { gaps, rulesets } = hookNode(source).host.rules(4);
  // of legacy tables the kernel says which it has
  const named = legacyTables.missing || !legacyTables.closed ? [] : legacyTables.value.tables.map((t) => t.name);
  for (const { key, because, evidence } of gaps) {
    const asked = evidence.includes('fw.nft-json') || (evidence.includes('fw.iptables-nft-save') && nftRead);
    const legacy = evidence.includes('fw.iptables-legacy-save') && named.length > 0 && !named.includes(table);
    const other = / legacy (\w+)$/.exec(key)?.[1] ?? table;
    if (!asked && !legacy && (other === table || other === 'whole')) open.push({ because, evidence });
  }
  const blank = rulesets.find((r) => r.ruleset.tables.size === 0);
  if (node.format === 'loose-files' && blank !== undefined) {
    const because = `${blank.fact.path} is empty, which a command that failed leaves too`;
    open.push({ because, evidence: [blank.fact.evidence] });
  }
  return open;
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
