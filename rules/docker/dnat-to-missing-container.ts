import { isNonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { type Owner, ownersOf } from '../../src/derive/dnat-targets.ts';
import { DOCKER_DAEMON_KINDS } from '../../src/derive/docker-daemon.ts';
import { doorOf, hostPortRules, type PortRule } from '../../src/derive/docker-published.ts';
import type { Question } from '../../src/derive/docker-questions.ts';
import { restartDocker } from '../../src/derive/docker-remedy.ts';
import { defaultDevice, OUTSIDE, POD_KINDS } from '../../src/derive/pods.ts';
import { askDestination, HOOK_KINDS, hookNode } from '../../src/net/index.ts';
import type { Cite, Finding, NodeView, Remediation } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS, ...DOCKER_DAEMON_KINDS, 'netnsIndex', 'sockets'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** So many rules that lead to nobody are followed. */
const MOST_ASKED = 64;

export const rule = defineNodeRule({
  id: 'dnat-to-missing-container',
  title: {
    bad: 'A published port is led to an address that no container has',
    good: 'Published ports are led to containers that are there',
  },
  severity: 'high',
  explanation:
    'A rule of a container that is gone, left by a daemon that crashed, a CNI DEL that never ran, or a saved ruleset that was loaded again, takes the port before anybody else. ' +
    'So does one that was written by hand for a container, which has another address since it was made anew. ' +
    'Clients hang: the node asks the bridge for an address that nobody answers for.',
  remediation: [
    {
      step: 'Delete the rule.',
      run: 'iptables -t nat -D DOCKER <the rule>',
      verify: 'iptables -t nat -S DOCKER',
      undo: 'iptables -t nat -I DOCKER <the rule>',
      risk: 'none known',
    },
  ],
  references: [REF.dockerPorts, REF.cniPortmap],
  needs: [],
  needsAny: ['iptables', 'iptablesNft', 'iptablesLegacy'],
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, source } = view;
    const { rulesets, gaps } = hookNode(source).host.rules(4);
    const all = hostPortRules(rulesets);
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'the collector ran inside another network namespace, whose rules are not the node’s', [
        'fw.iptables-save',
      ]);
    const ownerOf = ownersOf(source, node.collectedAt);
    const tally = new NodeTally(node.id);
    const proofs: Cite[] = [];
    let asked = 0;
    let own = 0;
    for (const port of all) {
      const owner = ownerOf(port);
      if (owner.kind === 'elsewhere') continue;
      own += 1;
      if (owner.kind === 'lives') {
        if (proofs.length < 3) proofs.push(cite(port.fact, lineOf(port)));
        continue;
      }
      asked += 1;
      if (asked > MOST_ASKED) continue;
      const taken = isTaken(view, port);
      if (taken === false) continue;
      if (owner.kind === 'open')
        tally.unknown(`whether a container has ${port.target}: ${owner.because}`, owner.evidence);
      else if (taken === true) tally.fault(found(view, port, owner, all));
      else
        tally.unknown(
          `whether packets for ${port.port}/${port.proto} go to ${port.target}: ${taken.because}`,
          taken.evidence,
        );
    }
    tally.left(asked - MOST_ASKED, asked, 'rules for ports whose container was not seen');
    if (isNonEmpty(proofs)) return tally.verdict(proofs);
    const gap = gaps.find((g) => g.evidence.some((e) => e.includes('iptables')));
    if (own === 0 && gap !== undefined)
      return unknown(node.id, `whether ports are led to containers: ${gap.because}`, gap.evidence);
    const [first] = all;
    if (own === 0 || first === undefined)
      return notApplicable(
        'no rule of Docker, of CNI’s portmap or of PREROUTING leads a port to a container network of this node',
      );
    return tally.verdict([cite(first.fact, lineOf(first))]);
  },
});

const lineOf = ({ chain, index }: PortRule) => ({ line: chain.rule(index).line });

/** Do packets for the port really go there? Not where the rule is not reached, or another is in front of it. */
function isTaken({ source }: View, { proto, port, address, target }: PortRule): boolean | Question {
  const door = doorOf(source, address, defaultDevice(source));
  if (door === null || (proto !== 'tcp' && proto !== 'udp'))
    return { because: 'by which address they come from outside is not known', evidence: ['ip.addr', 'ip.route4'] };
  const sample = { src: OUTSIDE, dst: door.address, proto, dport: port, iif: door.device } as const;
  const { outcomes, because, evidence } = askDestination(hookNode(source), sample);
  if (outcomes.some((o) => o.to === target)) return outcomes.length === 1 ? true : { because, evidence };
  return isNonEmpty(outcomes) ? false : { because, evidence };
}

type Nobody = Extract<Owner, { kind: 'nobody' }>;

/** What else wants the port: it does not get its packets. */
function rival({ wants }: View, rule: PortRule, all: readonly PortRule[]): string | null {
  const { proto, port, target } = rule;
  const { dockerContainers: containers, sockets } = wants;
  const publishes = containers.missing
    ? undefined
    : containers.value.containers.find(
        (c) => c.state === 'running' && c.ports.some((p) => p.hostPort === port && p.proto === proto),
      );
  const ip = publishes?.networks.find((n) => n.ip !== undefined && n.ip !== '')?.ip;
  if (publishes !== undefined) return `container ${publishes.name}${ip === undefined ? '' : ` (${ip})`} publishes it`;
  const other = all.find((r) => r.port === port && r.proto === proto && r.target !== target);
  if (other !== undefined) return `${other.target} should get it`;
  const listener = sockets.missing
    ? undefined
    : sockets.value.listeners.find((l) => l.proto === proto && l.port === port && !l.address.startsWith('127.'));
  const [process] = listener?.processes ?? [];
  return listener === undefined ? null : `${process?.name ?? 'a program'} of the node listens on it`;
}

function found(view: View, rule: PortRule, { told, whole }: Nobody, all: readonly PortRule[]): Finding {
  const { node, source } = view;
  const { proto, port, target, chain, fact, index } = rule;
  const wanted = rival(view, rule, all);
  const { line, text } = chain.rule(index);
  const address = target.replace(/:[\d-]+$/, '');
  // whoever wrote it himself wants the port to be served
  const idle = wanted === null && !byHand(rule);
  const lost = byHand(rule)
    ? 'the rule was written by hand, and its clients get no answer'
    : 'whoever uses the port next gets no packets';
  return {
    key: `${port}/${proto} ${target}`,
    severity: idle ? 'medium' : 'high',
    confidence: whole === null ? 'proven' : 'likely',
    nodes: [node.id],
    latent: idle,
    about: [address],
    message: `${port}/${proto} on ${node.id} is led to ${target}, which no container there has: ${wanted === null ? lost : `${wanted}, and gets no packets from outside`}`,
    cites: [
      cite(fact, { line }),
      cite(told.fact, told.span),
      ...(whole !== null && isClosed(whole) ? [absent(whole, `a running container with ${address}`)] : []),
    ],
    remediation: remedy(source, rule, text),
    disprove: `a container that had ${address} until a moment before`,
  };
}

const byHand = ({ chain }: PortRule): boolean => chain.name === 'PREROUTING';

function remedy(source: View['source'], { fact, chain, index }: PortRule, text: string): Remediation[] {
  const iptables = iptablesOf(fact.evidence);
  const spec = text.replace(/^-A /, '');
  const steps: Remediation[] = /^[\w .:/!,+@-]+$/.test(spec)
    ? [
        {
          step:
            chain.name === 'PREROUTING'
              ? 'Delete the rule, where it was written too. Publish the port by Docker (-p) instead, which follows the container to its next address, or lead it to the address of today.'
              : 'Delete the rule: its container is gone.',
          run: `${iptables} -t nat -D ${spec}`,
          verify: `${iptables} -t nat -C ${spec} 2>/dev/null || echo gone`,
          undo: `${iptables} -t nat -I ${chain.name} ${index + 1} ${spec.slice(chain.name.length + 1)}`,
          risk: 'none known',
        },
      ]
    : [{ step: `Delete "${text}" of nat.` }];
  if (chain.name === 'DOCKER') {
    const step = 'Or restart dockerd: it empties its chain and writes the rules of running containers.';
    steps.push({ ...restartDocker(source, iptables), step });
  }
  return steps;
}
