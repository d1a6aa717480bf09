import { formatPrefix } from '../../src/core/address.ts';
import type { NonEmpty } from '../../src/core/span.ts';
import { acceptPort, MOST_LISTED, networkOrEach } from '../../src/derive/accept-port.ts';
import { type ControlPort, controlPorts } from '../../src/derive/control-plane.ts';
import { isFlannel } from '../../src/derive/devices.ts';
import { type NodePeer, nodePeers } from '../../src/derive/node-peers.ts';
import { defaultDevice, POD_KINDS, type PodNetwork, podNetworks } from '../../src/derive/pods.ts';
import type { Ruleset } from '../../src/facts/index.ts';
import {
  askAlike,
  askInput,
  type Decider,
  decidedBy,
  HOOK_WANTS,
  hookNode,
  isPolicy,
  RULESET_KINDS,
  routesOf,
} from '../../src/net/index.ts';
import type { Cite, NodeView } from '../../src/rule/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_WANTS, ...POD_KINDS, 'fdb'] as const;
type View = NodeView<'addresses' | 'routes4' | 'sockets', (typeof WANTS)[number]>;

/** So many questions a port about other nodes; those that no rule tells apart share one. */
const MOST_PEERS = 32;

export const rule = defineNodeRule({
  id: 'host-firewall-blocks-control-plane',
  title: {
    bad: 'The node’s firewall drops what other nodes or its own pods send to the API server or the kubelet',
    good: 'The node’s firewall lets other nodes and its own pods reach the API server and the kubelet',
  },
  severity: 'high',
  explanation:
    'What is for the node itself passes INPUT. Other nodes come with their own addresses, and so do their pods, which are translated on the way out; pods of the node itself come with the pod’s address, by the bridge. A list of allowed sources needs both: without the nodes’ kubelets lose the API server, or it loses logs, exec and metrics of this node; without the pods’ only those that run here fail.',
  remediation: [
    {
      step: 'Let the nodes’ network and the pods’ network in at these ports.',
      run: 'iptables -I INPUT -s <node network>,<pod network> -p tcp -m multiport --dports 6443,10250 -j ACCEPT',
      verify: 'nc -vz <node> 6443   # from another node, and from a pod of this one',
      undo: 'iptables -D INPUT -s <node network>,<pod network> -p tcp -m multiport --dports 6443,10250 -j ACCEPT',
      risk: 'Opens both ports for those networks; both ask for credentials.',
    },
  ],
  references: [REF.kubePorts, REF.flannelTroubleshooting],
  needs: ['sockets', 'addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, facts, source, wants } = view;
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'the collector ran inside another network namespace, whose ports are not the node’s', [
        'sock.ss-listen',
      ]);
    const ports = controlPorts(facts.sockets);
    const [port] = ports;
    if (port === undefined) {
      if (!isClosed(facts.sockets))
        return unknown(node.id, 'the list of listening sockets is not whole', ['sock.ss-listen']);
      return notApplicable('neither an API server nor a kubelet listens for others on this node');
    }
    const home = homeOf(view);
    const peers = nodePeers(source);
    const pods = podNetworks(source).filter((net) => net.clustered);
    const tally = new NodeTally(node.id);
    const device = facts.addresses.value.devices.find((d) => isFlannel(d.name));
    if (wants.fdb.missing && device !== undefined && peers.length === 0)
      tally.unknown(`which other nodes there are: bridge.fdb ${wants.fdb.because}`, ['bridge.fdb']);
    else if (peers.length === 0 && pods.length === 0)
      return notApplicable('no other node and no pod of a cluster is known to this node');
    if (home === null)
      return unknown(node.id, 'the node’s address on its default route is not known', ['ip.addr', 'ip.route4']);
    const blocks = ports.flatMap((p) => [
      ...fromPeers(view, p, home, peers, ports, tally),
      ...fromPods(view, p, home, pods, peers, tally),
    ]);
    for (const group of byDecider(blocks)) found(view, group, tally);
    return tally.verdict([cite(facts.sockets, port)]);
  },
});

/** Where others reach the node. */
interface Home {
  readonly address: string;
  readonly device: string;
}

function homeOf({ facts, source }: View): Home | null {
  const device = defaultDevice(source);
  const own = facts.addresses.value.devices.find((d) => d.name === device)?.addresses;
  const address = own?.find((a) => a.family === 4 && a.scope === 'global' && !a.secondary)?.address;
  return device === null || address === undefined ? null : { address, device };
}

/** What a line keeps from one server. */
interface Block {
  readonly port: ControlPort;
  readonly decider: Decider;
  readonly who: string;
  readonly sources: NonEmpty<string>;
  readonly at: Cite;
  readonly to: string;
  readonly severity: 'high' | 'medium';
  /** The source is one that is there. */
  readonly live: boolean;
}

/** Other nodes: all of them use the API; of the kubelet only the API server and what measures, so that one that may is enough. */
function fromPeers(
  { node, source, facts }: View,
  port: ControlPort,
  home: Home,
  peers: readonly NodePeer[],
  ports: readonly ControlPort[],
  tally: NodeTally,
): readonly Block[] {
  const host = hookNode(source);
  const what = `whether other nodes reach ${port.name} (${port.port}/tcp)`;
  const dst = port.address ?? home.address;
  const routeOf = routesOf(host);
  const near = peers.filter((p) => p.address !== home.address && routeOf(p.address)?.dev === home.device);
  if (peers.length > 0 && near.length === 0) {
    const because = `${what}: flannel’s peers are not on ${home.device}, and by which network they reach it was not collected`;
    tally.unknown(because, []);
    return [];
  }
  const packet = { dst, proto: 'tcp', dport: port.port, iif: home.device } as const;
  const { groups, unasked } = askAlike(
    host,
    near.map((p) => p.address),
    MOST_PEERS,
    (src, watch) => askInput(host, { src, ...packet }, watch),
  );
  const answers = new Map(groups.flatMap(({ addresses, answer }) => addresses.map((a) => [a, answer] as const)));
  const asked = near.flatMap((peer) => {
    const answer = answers.get(peer.address);
    return answer === undefined ? [] : [{ peer, answer }];
  });
  tally.left(unasked.length, near.length, `nodes that may use ${port.name}`);
  const open = asked.find((a) => a.answer.verdict === 'unknown');
  const accepted = asked.filter((a) => a.answer.verdict === 'accept');
  const dropped = asked.filter((a) => a.answer.verdict === 'drop' && a.answer.deciders.length > 0);
  if (open !== undefined) tally.unknown(`${what}: ${open.answer.because}`, open.answer.evidence);
  for (const { answer } of groups)
    if (answer.verdict === 'accept') tally.passed(answer.deciders.slice(0, 1).map((d) => cite(d.fact, d)));
  const [first] = dropped;
  const decider = first?.answer.deciders[0];
  if (first === undefined || decider === undefined) return [];
  if (port.component === 'kubelet') {
    if (accepted.length > 0 || open !== undefined) return [];
    if (near.length > asked.length) {
      const because = `${what}: ${asked.length} of ${near.length} do not, and which of them is the control plane was not collected`;
      tally.unknown(because, []);
      return [];
    }
  }
  const others = port.component === 'kubelet' ? guests(decider, port.port) : null;
  if (others !== null) {
    const because = `${what}: those that flannel knows do not, but "${others}" lets others in, and whether the control plane is among them was not collected`;
    tally.unknown(because, []);
    return [];
  }
  const names = dropped.map((d) => d.peer.address);
  const all = near.map((p) => p.address);
  const under = facts.addresses.value.devices.find((d) => d.name === home.device);
  const [nearest, ...sources] = all.length > MOST_LISTED ? networkOrEach(all, under) : all;
  return [
    {
      port,
      decider,
      who: `${accepted.length === 0 ? 'other nodes' : 'some other nodes'} (${names.slice(0, 4).join(', ')}${names.length > 4 ? ' …' : ''})`,
      sources: [nearest ?? first.peer.address, ...sources],
      at: cite<'fdb' | 'routes4'>(first.peer.fact, first.peer.span),
      to: `${dst}:${port.port}`,
      // the API server is here: what others want of this kubelet is metrics
      severity: port.component === 'kubelet' && ports.some((p) => p.component === 'api') ? 'medium' : 'high',
      live: port.sure && node.complete,
    },
  ];
}

/** A rule of the same ruleset that lets some sources use the port: the control plane need not be a node with pods. */
function guests({ fact, place }: Decider, port: number): string | null {
  if (!place.startsWith('filter/') || !/^iptables/.test(fact.kind)) return null;
  const chains = (fact.value as Ruleset).tables.get('filter')?.chains.values() ?? [];
  const named = new RegExp(` --dports? (?:\\S*,)?${port}(?:[, ]|$)`);
  for (const chain of chains)
    for (const text of chain.texts())
      if (named.test(text) && / -s |--match-set/.test(text) && text.endsWith(' -j ACCEPT')) return text;
  return null;
}

/** Pods of the node itself: with the pod’s own address, by the bridge [V75]. */
function fromPods(
  { node, source }: View,
  port: ControlPort,
  home: Home,
  pods: readonly PodNetwork[],
  peers: readonly NodePeer[],
  tally: NodeTally,
): readonly Block[] {
  const host = hookNode(source);
  const dst = port.address ?? home.address;
  return pods.flatMap((net): readonly Block[] => {
    const sample = { src: net.sample, dst, proto: 'tcp', dport: port.port, iif: net.bridge.name } as const;
    const answer = askInput(host, sample);
    const [decider] = answer.deciders;
    if (answer.verdict === 'accept') tally.passed(answer.deciders.slice(0, 1).map((d) => cite(d.fact, d)));
    if (answer.verdict === 'unknown')
      tally.unknown(
        `whether pods of the node reach ${port.name} (${port.port}/tcp): ${answer.because}`,
        answer.evidence,
      );
    if (answer.verdict !== 'drop' || decider === undefined) return [];
    // what nobody may is a choice; what others may was forgotten for pods
    const others = peers
      .slice(0, MOST_PEERS)
      .some((p) => askInput(host, { ...sample, src: p.address, iif: home.device }).verdict === 'accept');
    if (port.component === 'kubelet' && !others) return [];
    return [
      {
        port,
        decider,
        who: `its own pods (${net.sample})`,
        sources: [formatPrefix(net.prefix)],
        at: cite(net.bridge.fact, { line: net.line }),
        to: `${dst}:${port.port}`,
        severity: port.component === 'kubelet' ? 'medium' : 'high',
        live: port.sure && net.live && node.complete,
      },
    ];
  });
}

function byDecider(blocks: readonly Block[]): readonly NonEmpty<Block>[] {
  const groups = new Map<string, [Block, ...Block[]]>();
  for (const block of blocks) {
    const key = `${block.decider.fact.path} ${block.decider.line}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [block]);
    else group.push(block);
  }
  return [...groups.values()];
}

function found({ node, facts }: View, group: NonEmpty<Block>, tally: NodeTally): void {
  const [{ decider }] = group;
  const ports = new Map(group.map((b) => [b.port.line, b.port]));
  const says = [...ports.values()].map((p) => {
    const who = group.filter((b) => b.port === p).map((b) => b.who);
    return `what ${who.join(' and ')} send to ${p.name} (${p.port}/tcp)`;
  });
  const meant = isPolicy(decider.place);
  const text = decider.text.startsWith(':') ? decidedBy(decider) : decider.text;
  tally.fault({
    key: `${[...ports.values()].map((p) => p.port).join(', ')} ${text}`,
    severity: meant ? 'info' : group.some((b) => b.severity === 'high') ? 'high' : 'medium',
    confidence: group.every((b) => b.live) ? 'proven' : 'likely',
    nodes: [node.id],
    about: [...new Set(group.map((b) => b.to))],
    message: `INPUT on ${node.id} drops ${says.join(' and ')}: ${decidedBy(decider)} in ${decider.place}`,
    cites: [
      cite(decider.fact, decider),
      ...[...ports.values()].map((p) => cite(facts.sockets, p)),
      ...group.map((b) => b.at),
    ],
    disprove: 'a rule in front of it that accepts these sources at this port',
    remediation: meant
      ? []
      : group.map((b) =>
          acceptPort({
            fact: decider.fact,
            place: decider.place,
            proto: 'tcp',
            port: b.port.port,
            way: 'in',
            ends: { addresses: b.sources },
          }),
        ),
  });
}
