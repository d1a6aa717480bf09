import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { ownersOf } from '../../src/derive/dnat-targets.ts';
import { doorOf } from '../../src/derive/docker-published.ts';
import { defaultDevice, OUTSIDE, POD_KINDS } from '../../src/derive/pods.ts';
import {
  byPort,
  keepsFor,
  listenersOn,
  type PortClaim,
  type PortListener,
  portClaims,
  refusedContainers,
} from '../../src/derive/port-claims.ts';
import type { Fact } from '../../src/facts/index.ts';
import { askDestination, HOOK_KINDS, hookNode } from '../../src/net/index.ts';
import type { Cite, Finding, NodeView, Remediation } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS, 'netnsIndex', 'sockets'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** So many ports that two things want are followed through the rulesets. */
const MOST_ASKED = 64;

const LOOK: Remediation = {
  step: 'See who has the port, as a socket and as a rule.',
  run: "ss -lntup; iptables -t nat -S | grep -e '--dport'",
};
const MOVE: Remediation = {
  step: 'Give one of them another port: a program in its configuration, a container with another -p, a pod with another hostPort, a service with another nodePort. A rule goes with its container, pod or service; stopping the program alone leaves the port to the rule.',
  verify: 'ss -lntup   # one of them is on another port, and both answer from another machine',
};

export const rule = defineNodeRule({
  id: 'host-port-conflict',
  title: {
    bad: 'Two things claim one port of the node',
    good: 'Each port of the node that is led to a container or a service is claimed once',
  },
  severity: 'high',
  explanation:
    'A rule of nat (of a published port, a hostPort or a NodePort) takes packets before any socket sees them: a program of the node that listens on the same port gets nothing from other machines, while it still answers what the node asks it over loopback; so the port answers differently depending on where one stands. ' +
    'Of two rules the first that packets come to wins. Docker refuses to start a container whose port is taken; portmap and kube-proxy ask nobody.',
  remediation: [LOOK, MOVE],
  references: [REF.dockerPorts, REF.cniPortmap, REF.kubeVips],
  needs: [],
  needsAny: ['iptables', 'iptablesNft', 'iptablesLegacy', 'dockerContainers'],
  wants: WANTS,
  evaluate(view) {
    const { node, source } = view;
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'the collector ran inside another network namespace, whose ports are not the node’s', [
        'fw.iptables-save',
        'sock.ss-listen',
      ]);
    const refused = refusals(view);
    const { rulesets, gaps } = hookNode(source).host.rules(4);
    const own = doorOf(source, null, defaultDevice(source))?.address ?? null;
    const claims = portClaims(rulesets, own);
    const [claim] = claims;
    if (claim === undefined) {
      if (isNonEmpty(refused)) return findings(refused);
      const gap = gaps.find((g) => g.evidence.some((e) => e.includes('iptables')));
      if (gap !== undefined)
        return unknown(node.id, `whether ports are led to containers: ${gap.because}`, gap.evidence);
      return notApplicable(
        'no rule of iptables that Docker, CNI’s portmap or kube-proxy wrote leads a port of the node to a container or a service',
      );
    }
    const tally = new NodeTally(node.id);
    for (const f of refused) tally.fault(f);
    judge(view, claims, own, tally);
    return tally.verdict([cite(claim.fact, lineOf(claim))]);
  },
});

const lineOf = ({ chain, index }: PortClaim) => ({ line: chain.rule(index).line });

/** Of a container; services and pods of CRI-O are told by their names. */
const ADDRESS = /^[\d.]+:/;

/** Who wants a port, and the line that says so. */
interface Claimant {
  readonly name: string;
  readonly at: Cite;
  readonly claim: PortClaim | null;
}

function judge(view: View, claims: readonly PortClaim[], own: string | null, tally: NodeTally): void {
  const { sockets } = view.wants;
  if (sockets.missing)
    tally.unknown(`who listens on the ports that rules lead elsewhere: sock.ss-listen ${sockets.because}`, [
      'sock.ss-listen',
    ]);
  else if (!isClosed(sockets)) tally.unknown('the list of listening sockets is not whole', ['sock.ss-listen']);
  let asked = 0;
  for (const group of byPort(claims).values()) {
    const [first] = group;
    if (first === undefined) continue;
    const listeners = sockets.missing ? [] : listenersOn(sockets, first.port, first.proto);
    const foreign = listeners.filter((l) => l.process === null || !group.some((c) => keepsFor(c, l.process ?? '')));
    const places = new Set([...group, ...foreign.filter((l) => !l.wildcard)].flatMap((c) => c.address ?? []));
    if (own !== null) places.add(own);
    for (const place of places) {
      const wanting = group.filter((c) => c.address === null || c.address === place);
      const heard = foreign.filter((l) => l.wildcard || l.address === place);
      if (wanting.length + Math.min(heard.length, 1) < 2 || wanting.length === 0) continue;
      asked += 1;
      if (asked > MOST_ASKED) continue;
      contest(view, place, wanting, heard, tally);
    }
    if (own === null && group.length + foreign.length > 1)
      tally.unknown(`who gets packets for ${first.port}/${first.proto}: the node’s address is not known`, [
        'ip.addr',
        'ip.route4',
      ]);
  }
  tally.left(asked - MOST_ASKED, asked, 'ports that several want');
}

/** The port at one address of the node: who gets what comes in there? */
function contest(
  view: View,
  place: string,
  wanting: readonly PortClaim[],
  heard: readonly PortListener[],
  tally: NodeTally,
): void {
  const { node, source, wants } = view;
  const [first] = wanting;
  const device = deviceOf(view, place);
  if (first === undefined || (first.proto !== 'tcp' && first.proto !== 'udp')) return;
  const { proto, port } = first;
  const what = `who gets packets for ${port}/${proto} at ${place}`;
  if (device === null) {
    tally.unknown(`${what}: no device with that address was collected`, ['ip.addr']);
    return;
  }
  const sample = { src: OUTSIDE, dst: place, proto, dport: port, iif: device } as const;
  const { outcomes, because, evidence } = askDestination(hookNode(source), sample);
  if (outcomes.length === 0) {
    tally.unknown(`${what}: ${because}`, evidence);
    return;
  }
  // the program is itself a backend, or packets come to no rule
  if (outcomes.some((o) => o.to === null || isOwn(view, o.to, port))) return;
  const winner =
    wanting.find((c) => outcomes.some((o) => o.to === c.target)) ?? wanting.find((c) => !ADDRESS.test(c.target));
  if (winner === undefined) return;
  const ownerOf = ownersOf(source, node.collectedAt);
  const lives = (c: PortClaim) => !ADDRESS.test(c.target) || /^(lives|elsewhere)$/.test(ownerOf(c).kind);
  // that nobody has the address is another rule's, as is what the other backend of iptables wants
  if (!lives(winner)) return;
  const losing = wanting.filter(
    (c) =>
      c !== winner &&
      c.fact === winner.fact &&
      c.kind !== 'external' &&
      winner.kind !== 'external' &&
      c.target !== winner.target &&
      lives(c),
  );
  const { sockets } = wants;
  const [nameless] = heard.filter((l) => l.process === null);
  const named = heard.filter((l) => l.process !== null);
  if (nameless !== undefined && named.length === 0 && losing.length === 0) {
    const why = `who listens on ${port}/${proto} was not told, which takes root: it may be what has the port anyway`;
    tally.unknown(`${what}: ${why}`, ['sock.ss-listen']);
    return;
  }
  const losers = [
    ...named.map((l) => listening(l, sockets.missing ? null : sockets)),
    ...losing.map((c) => claiming(view, c)),
  ].flatMap((c) => c ?? []);
  if (!isNonEmpty(losers)) return;
  const takes = claiming(view, winner);
  const got = losers.map((l) => l.name).join(' and ');
  tally.fault({
    key: `${port}/${proto}`,
    severity: 'high',
    confidence: 'proven',
    nodes: [node.id],
    message: `${port}/${proto} on ${node.id} is claimed twice: ${takes.name} takes what other machines send to ${place}:${port}, and ${got} ${losers.length > 1 ? 'get' : 'gets'} nothing of it`,
    cites: [takes.at, ...losers.map((l) => l.at)],
    remediation: [
      {
        ...LOOK,
        run: `ss -Hln${proto === 'tcp' ? 't' : 'u'}p 'sport = :${port}'; iptables -t nat -S | grep -e '--dport ${port} '`,
      },
      ...losers.concat(takes).map(moved),
    ],
    disprove: `a connection from another machine to ${place}:${port} that ${losers[0].name} answers`,
  });
}

function deviceOf({ wants }: View, address: string): string | null {
  if (wants.addresses.missing) return null;
  return wants.addresses.value.devices.find((d) => d.addresses.some((a) => a.address === address))?.name ?? null;
}

/** It goes to the node itself, on the same port. */
function isOwn(view: View, to: string, port: number): boolean {
  const m = /^([\d.]+):(\d+)$/.exec(to);
  return m !== null && Number(m[2]) === port && deviceOf(view, m[1] ?? '') !== null;
}

function listening(l: PortListener, fact: Fact<'sockets'> | null): Claimant | null {
  return fact === null
    ? null
    : { name: `${l.process}, which listens on ${l.address},`, at: cite(fact, l), claim: null };
}

function claiming({ wants }: View, claim: PortClaim): Claimant {
  const { kind, target, fact } = claim;
  const containers = wants.dockerContainers;
  const ip = target.replace(/:[\d-]+$/, '');
  const container = containers.missing
    ? undefined
    : containers.value.containers.find((c) => c.networks.some((n) => n.ip === ip));
  const name = {
    published: container === undefined ? `a container (${target})` : `container ${container.name} (${target})`,
    hostPort: `the hostPort of a pod (${target})`,
    nodePort: `the NodePort of service ${target}`,
    external: `service ${target}, which has the node’s address,`,
  }[kind];
  return { name, at: cite(fact, lineOf(claim)), claim };
}

/** How this one is moved. */
function moved({ name, claim }: Claimant): Remediation {
  const plain = name.replace(/,.*/, '');
  if (claim?.kind === 'nodePort' || claim?.kind === 'external') {
    const [namespace = '', service = ''] = claim.target.split(/[/:]/);
    const get = `kubectl -n ${shellWord(namespace)} get service ${shellWord(service)}`;
    return {
      step: `Either: give service ${namespace}/${service} another port (spec.ports[].nodePort, spec.externalIPs).`,
      run: `${get} -o yaml`,
      verify: `${get} -o wide`,
    };
  }
  return {
    step: claim === null ? `Either: let ${plain} listen on another port.` : `Either: give ${plain} another port.`,
    verify: 'ss -lntup',
  };
}

/** Containers that dockerd could not start for want of a port that somebody still has. */
function refusals({ node, wants }: View): readonly Finding[] {
  const { dockerContainers: containers, sockets } = wants;
  if (containers.missing) return [];
  return refusedContainers(containers).flatMap(({ name, line, port, proto, ran }): readonly Finding[] => {
    const other = containers.value.containers.find(
      (c) => c.state === 'running' && c.ports.some((p) => p.hostPort === port && p.proto === proto),
    );
    const [program] = sockets.missing || other !== undefined ? [] : listenersOn(sockets, port, proto);
    const holder =
      other !== undefined
        ? { name: `container ${other.name}`, at: cite(containers, { line: other.line }) }
        : program !== undefined && !sockets.missing
          ? { name: program.process ?? 'a program of the node', at: cite(sockets, program) }
          : null;
    if (holder === null) return [];
    return [
      {
        key: `${port}/${proto} of ${name}`,
        // what never ran may be a try that was given up
        severity: ran && other === undefined ? 'high' : ran || other === undefined ? 'medium' : 'low',
        confidence: 'proven',
        nodes: [node.id],
        message: `Container ${name} on ${node.id} could not be started: ${holder.name} has its port ${port}/${proto}`,
        cites: [cite(containers, { line }), holder.at],
        remediation: [
          {
            step: 'Move what has the port, then start the container; or make the container anew with another -p.',
            run: `docker start ${shellWord(name)}`,
            verify: `docker ps --filter name=${shellWord(name)}`,
            undo: `docker stop ${shellWord(name)}`,
            risk: 'none known: it is refused again while the port is taken',
          },
        ],
        disprove: 'a container that was started since',
      },
    ];
  });
}
