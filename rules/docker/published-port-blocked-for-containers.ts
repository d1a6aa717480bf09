import { isNonEmpty } from '../../src/core/span.ts';
import { acceptPort } from '../../src/derive/accept-port.ts';
import { bridgeMembers } from '../../src/derive/bridge-members.ts';
import { attachedBridges, type ContainerBridge } from '../../src/derive/devices.ts';
import { DOCKER_DAEMON_KINDS } from '../../src/derive/docker-daemon.ts';
import { doorOf, type RuledPort, ruledPorts } from '../../src/derive/docker-published.ts';
import { runningSubject } from '../../src/derive/docker-subject.ts';
import { defaultDevice, OUTSIDE, POD_KINDS } from '../../src/derive/pods.ts';
import { WHO_LIVES } from '../../src/derive/single-addresses.ts';
import { askDestination, askInput, type Decider, decidedBy, HOOK_KINDS, hookNode } from '../../src/net/index.ts';
import type { NodeView } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS, ...DOCKER_DAEMON_KINDS, 'netnsIndex'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** So many pairs of a port and a bridge are asked about. */
const MOST_ASKED = 200;

export const rule = defineNodeRule({
  id: 'published-port-blocked-for-containers',
  title: {
    bad: 'Containers cannot use published ports by the node’s address; other machines can',
    good: 'Containers use published ports by the node’s address',
  },
  severity: 'medium',
  explanation:
    'Docker leaves packets of its own bridges untranslated (nat DOCKER: -i docker0 -j RETURN): they are for the node itself, pass INPUT, and docker-proxy takes them. Packets from other machines are translated before that and never see INPUT. ' +
    'A host firewall that drops by default (ufw, firewalld, a policy) therefore keeps containers alone off a port that everybody else reaches. Where nobody calls the node’s address from a container this is as it should be.',
  remediation: [
    {
      step: 'Call the container by its name over a network that both are on, which needs no port of the node.',
      run: 'docker network create shared && docker network connect shared <client> && docker network connect shared <server>',
      verify: 'docker exec <client> nc -vz <server> <container port>',
      undo: 'docker network disconnect shared <client> && docker network disconnect shared <server> && docker network rm shared',
      risk: 'The two containers reach every port of each other.',
    },
    {
      step: 'Or let what comes in by the bridge use the port.',
      run: 'iptables -I INPUT -i docker0 -p tcp --dport <port> -j ACCEPT',
      verify: 'iptables -C INPUT -i docker0 -p tcp --dport <port> -j ACCEPT && echo accepted',
      undo: 'iptables -D INPUT -i docker0 -p tcp --dport <port> -j ACCEPT',
      risk: 'Containers of that bridge reach that port of the node.',
    },
  ],
  references: [REF.dockerPorts, REF.dockerFirewall],
  needs: [],
  needsAny: ['dockerContainers', 'dockerNetworks'],
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, source, wants } = view;
    const { dockerContainers: containers, dockerdArgs } = wants;
    if (dockerdArgs.missing && dockerdArgs.lookedFor) return notApplicable('dockerd does not run on this node');
    const subject = runningSubject(source);
    if (subject.kind === 'none')
      return notApplicable(
        subject.because,
        subject.told === undefined ? [] : [cite(subject.told.fact, subject.told.span)],
      );
    if (subject.kind === 'open') return unknown(node.id, subject.because, subject.evidence);
    if (containers.missing)
      return unknown(node.id, `which ports are published: docker.containers ${containers.because}`, [
        'docker.containers',
      ]);
    const ports = ruledPorts(containers, subject.networks, node.collectedAt);
    const [port] = ports;
    if (port === undefined) {
      if (!isClosed(containers)) return unknown(node.id, 'the list of containers is not whole', ['docker.containers']);
      return notApplicable('no running container publishes a port', [
        absent(containers, 'a running container with a published port'),
      ]);
    }
    const tally = new NodeTally(node.id);
    const own = new Set(subject.networks.map((n) => n.bridge));
    const bridges = attachedBridges(source).bridges.filter((b) => own.has(b.name));
    const pairs = ports.flatMap((p) => bridges.map((bridge) => ({ bridge, p })));
    for (const { bridge, p } of pairs.slice(0, MOST_ASKED)) judge(view, bridge, p, tally);
    tally.left(pairs.length - MOST_ASKED, pairs.length, 'pairs of a published port and a network');
    return tally.verdict([cite(containers, { line: port.line })]);
  },
});

function judge(view: View, bridge: ContainerBridge, port: RuledPort, tally: NodeTally): void {
  const { node, source, wants } = view;
  const { proto, hostPort, hostIp } = port;
  const { dockerContainers: containers } = wants;
  const host = hookNode(source);
  const door = doorOf(source, hostIp, defaultDevice(source));
  if (containers.missing || (proto !== 'tcp' && proto !== 'udp')) return;
  const what = `whether containers of ${bridge.name} may use published port ${hostPort}/${proto}`;
  if (door === null) {
    tally.unknown(`${what}: the node’s address is not known`, ['ip.addr', 'ip.route4']);
    return;
  }
  const members = bridgeMembers(source, bridge);
  const own = new Set(port.targets.map((t) => t.ip));
  const client = members.find((m) => !own.has(m.ip)) ?? members[0];
  if (client === undefined) {
    tally.unknown(`${what}: which addresses they have was not collected`, WHO_LIVES);
    return;
  }
  const sample = { src: client.ip, dst: door.address, proto, dport: hostPort, iif: bridge.name } as const;
  const here = `${door.address}:${hostPort}`;
  const { outcomes, because, evidence } = askDestination(host, sample);
  // led to a container at once, as without docker-proxy: FORWARD is asked then, not INPUT
  if (outcomes.length > 0 && outcomes.every((o) => o.to !== null && o.to !== here)) return;
  const answer = askInput(host, sample);
  if (answer.verdict === 'accept') {
    tally.passed(answer.deciders.slice(0, 2).map((d) => cite(d.fact, d)));
    return;
  }
  const [decider] = answer.deciders;
  if (answer.verdict === 'unknown' || outcomes.length !== 1 || decider === undefined) {
    tally.unknown(`${what}: ${answer.because || because}`, answer.evidence.length > 0 ? answer.evidence : evidence);
    return;
  }
  const outside = askDestination(host, { ...sample, src: OUTSIDE, iif: door.device });
  const led = outside.outcomes.find((o) => port.targets.some((t) => o.to === `${t.ip}:${port.containerPort}`));
  // what nobody reaches is another rule's
  if (led === undefined || port.young !== null) return;
  const alone = own.has(client.ip);
  tally.fault({
    key: `${bridge.name} ${decider.text.startsWith(':') ? decidedBy(decider) : decider.text}`,
    // the only container there would have to call itself by the node's address
    severity: alone ? 'low' : 'medium',
    confidence: 'proven',
    nodes: [node.id],
    about: [here],
    message: `Containers of ${bridge.name} on ${node.id} cannot use port ${hostPort}/${proto} of container ${port.container} by the node’s address (${client.ip} -> ${here}): they come in by INPUT, where ${decidedBy(decider)} in ${decider.place} drops them; other machines are led past it`,
    cites: [
      cite(decider.fact, decider),
      cite(containers, { line: port.line }),
      ...(led.decider === null ? [] : [cite(led.decider.fact, led.decider)]),
    ],
    disprove: `a rule in front of it that accepts ${hostPort}/${proto} from ${bridge.name}`,
    remediation: remedy(port, bridge, decider, proto),
  });
}

function remedy(port: RuledPort, bridge: ContainerBridge, { fact, place }: Decider, proto: 'tcp' | 'udp') {
  const open = acceptPort({ fact, place, proto, port: port.hostPort, way: 'in', ends: { device: bridge.name } });
  const step = `Call ${port.container} by its name over a network that both are on (port ${port.containerPort} there), which needs no port of the node. Otherwise:`;
  return isNonEmpty(port.targets) ? [{ step }, open] : [open];
}
