import { formatIp4, type Prefix, parsePrefix } from '../../src/core/address.ts';
import { prefixOf } from '../../src/core/route-map.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { clusterGroups, clusterTies } from '../../src/derive/cluster.ts';
import { NOTHING_TO_UNDO, restartFlannel } from '../../src/derive/flannel-remedy.ts';
import { podAsker } from '../../src/derive/pod-asker.ts';
import { type PodPeer, podPlaces } from '../../src/derive/pod-peers.ts';
import type { PodRoute } from '../../src/derive/pod-route.ts';
import { beyondRouter, podRouteRemedy } from '../../src/derive/pod-route-remedy.ts';
import {
  type Asked,
  type Loss,
  type PodDigest,
  type PodNode,
  PodSurvey,
  podNode,
} from '../../src/derive/pod-survey.ts';
import type { PolicyRule } from '../../src/facts/index.ts';
import { buildNode, HOOK_KINDS, hookNode, routeMap, ruleOfMarks } from '../../src/net/index.ts';
import type { Cite, ClusterDigests, ClusterVerdict, Finding, Undecided } from '../../src/rule/index.ts';
import { defineClusterRule, lineCite } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** So many findings a node and way, one a subnet; of more one finding tells. */
const FEW = 3;
/** Owners that one finding names. */
const MANY = 50;

export const rule = defineClusterRule({
  id: 'pod-route-missing-or-wrong',
  title: {
    bad: 'A node does not route another node’s pod subnet to that node',
    good: 'Nodes route each other’s pod subnets to the node that has them',
  },
  severity: 'critical',
  explanation:
    'flanneld writes a route for every other node. Without it packets for the pods there take the default route and vanish at a gateway that knows no pods; ' +
    'with the next hop of another machine they are dropped there, or go round until their TTL ends.',
  remediation: [
    {
      step: 'Read in the log of flanneld why it did not write the route, then restart it on that node: it writes those of every lease again.',
      run: restartFlannel('<node>'),
      verify: 'ip route get <address of a pod there>',
      undo: NOTHING_TO_UNDO,
    },
    {
      step: 'Take away what else writes routes into the pod range: static routes of the distribution, VPN clients, another CNI plugin.',
    },
  ],
  references: [REF.flannelBackends, REF.flannelTroubleshooting],
  needs: ['routes4', 'addresses'],
  wants: [
    ...HOOK_KINDS,
    'flannelEnv',
    'flannelNetConf',
    'flanneldArgs',
    'cniConf',
    'k8sNodes',
    'fdb',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'neighbours',
  ],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ facts, source }): PodDigest {
    const asker = podAsker(source, facts.routes4);
    const known = { ...asker, ...podPlaces(source), ties: clusterTies(source).ties };
    const own = asker.range === null ? null : parsePrefix(asker.range.own);
    if (asker.range === null || own === null) return { ...known, map: null, taken: null };
    const facing = buildNode(source, ['routes4', 'addresses', 'links', 'rules4', 'sysctl']);
    // policy rules may choose by where a packet comes from: from a pod
    const src = formatIp4(Number(own.base) + 10);
    const iif = asker.bridges.find((b) => b === 'cni0' || b === 'docker0') ?? 'cni0';
    const map = routeMap(facing, asker.range.network, { src, iif, skip: asker.range.own });
    const rules = source.get('rules4');
    const dst = podBeside(own, parsePrefix(asker.range.network));
    const sample = { src, dst, proto: 'tcp', iif } as const;
    const by = rules.missing ? undefined : ruleOfMarks(hookNode(source), rules.value.rules, sample);
    return { ...known, map, taken: by === undefined ? null : toWhere(by) };
  },
  evaluate(digests) {
    const findings: Finding[] = [];
    const passes: ClusterVerdict['passes'][number][] = [];
    const unknown: Undecided[] = [];
    const notApplicable: ClusterVerdict['notApplicable'][number][] = [];
    const nodes: PodNode[] = [];
    const groups = clusterGroups(tied(digests, nodes));
    const ranges = Map.groupBy(nodes, (n) => n.network);
    // a node that nothing ties to others may be of any cluster
    for (const members of Map.groupBy(nodes, (n) => groups.get(n.node) ?? `alone ${n.node}`).values()) {
      const survey = new PodSurvey(members, (node) => digests.get(node));
      const lost: Asked[] = [];
      for (const { node, network, taken } of members) {
        const answer = survey.ask(node);
        const like = ranges.get(network)?.find((n) => n.node !== node);
        if (answer.kind === 'none') notApplicable.push({ nodes: [node], because: answer.because });
        else if (answer.kind === 'alone' && like !== undefined)
          unknown.push({
            nodes: [node],
            because: `nothing that was collected ties it to other nodes of ${network}, as ${like.node}: whether they are of its cluster is not known`,
            evidence: ['bridge.fdb', 'k8s.nodes'],
          });
        else if (answer.kind === 'alone')
          notApplicable.push({ nodes: [node], because: 'no other node of its cluster is known' });
        else if (answer.kind === 'lost') lost.push(answer.asked);
        else if (answer.kind === 'right' && taken !== null)
          unknown.push({
            nodes: [node],
            because: `${taken}: where marked packets go is followed by netcase trace`,
            evidence: ['ip.rule4'],
          });
        else if (answer.kind === 'right') {
          const { line, ...file } = answer.route;
          passes.push({ node, cites: [lineCite(file, line), answer.peer.at] });
        } else
          for (const [because, evidence] of answer.open)
            unknown.push({ nodes: [node], because, evidence: [...evidence] });
      }
      const unrouted = new Map<PodPeer, Asked[]>();
      for (const asked of lost) {
        const sure: Loss[] = [];
        for (const loss of asked.losses) {
          const weighed = survey.weigh(asked, loss);
          if (typeof weighed === 'string')
            unknown.push({
              nodes: [asked.node],
              because: weighed,
              evidence: ['flannel.subnet-env', 'ip.route4', 'flannel.net-conf'],
            });
          else if (survey.isOwners(asked, loss) && beyondRouter(asked, loss, survey.backend) === null)
            unrouted.set(loss.peer, [...(unrouted.get(loss.peer) ?? []), asked]);
          else sure.push(weighed);
        }
        const ways = Map.groupBy(sure, ({ route }) => JSON.stringify([route.kind, route.piece.way, route.part]));
        for (const losses of ways.values()) {
          if (losses.length > FEW && isNonEmpty(losses)) findings.push(lossFinding(asked, losses, survey));
          else for (const loss of losses) findings.push(lossFinding(asked, [loss], survey));
        }
      }
      for (const [peer, by] of unrouted) if (isNonEmpty(by)) findings.push(unroutedFinding(peer, by));
    }
    return { findings, passes, unknown, notApplicable };
  },
});

/** An address in the subnet before a node's own, or in the one after it where it is the first. */
function podBeside(own: Prefix, network: Prefix | null): string {
  const subnet = 2 ** (32 - own.length);
  return formatIp4(Number(own.base) + (own.base === network?.base ? subnet : -subnet) + 10);
}

/** `ip rule 100 leads packets of pods with mark 0x1 to table 7`. */
function toWhere({ pref, fwmark = 0, action, table }: PolicyRule): string {
  const to = action === 'lookup' ? `table ${table}` : action;
  return `ip rule ${pref} leads packets of pods that a rule gives mark 0x${fwmark.toString(16)} to ${to}`;
}

function* tied(digests: ClusterDigests<PodDigest>, nodes: PodNode[]) {
  for (const d of digests) {
    nodes.push(podNode(d));
    yield { ...d, ties: { network: null, ties: d.digest.ties } };
  }
}

/** What becomes of packets that no route of their own takes. */
function taker({ piece }: PodRoute): string {
  const { way } = piece;
  const dst = prefixOf(piece);
  const [hop] = way.hops;
  if (way.type === 'none') return 'the kernel answers that there is none';
  if (way.type !== 'unicast' || hop === undefined) return `${way.type} ${dst} rejects packets for its pods`;
  const by = dst === '0.0.0.0/0' ? 'the default route' : `the route to ${dst}`;
  return `${by} takes packets for its pods${typeof hop[1] === 'number' ? ` to ${formatIp4(hop[1])}` : ''} by ${hop[0]}`;
}

function lossFinding(asked: Asked, losses: NonEmpty<Loss>, survey: PodSurvey): Finding {
  const { node, own } = asked;
  const [loss, ...more] = losses;
  const { kind, part, piece } = loss.route;
  const some = part ? ` (${formatIp4(piece.first)} to ${formatIp4(piece.last)})` : '';
  const listed = losses.slice(0, FEW).map((l) => `${l.subnet} of ${l.peer.name}`);
  const whose =
    more.length === 0
      ? `${loss.subnet}${some}, the pod subnet of ${loss.peer.name}`
      : `the pod subnets of ${losses.length} nodes (${listed.join(', ')} and ${losses.length - FEW} more)`;
  // what a route of somebody else's leads to may know the pods
  const elsewhere = kind === 'missing' && piece.way.type === 'unicast' && piece.length > 0;
  const sure = !part && !elsewhere && !own.marked && losses.every((l) => l.near && l.peer.node !== null);
  const said: Cite[] = [];
  if (piece.way.rule !== undefined && own.rulesAt !== null) said.push(lineCite(own.rulesAt, piece.way.rule));
  if (piece.line > 0) said.push(lineCite(own.routesAt, piece.line));
  const told = tell(asked, loss, survey, whose);
  const cites = [...told.cites, ...said, loss.peer.at];
  return {
    key: more.length === 0 ? `${kind} ${loss.subnet}` : `${kind} many`,
    severity: part ? 'high' : 'critical',
    confidence: sure ? 'proven' : 'likely',
    nodes: [node, ...losses.slice(0, MANY).flatMap((l) => l.peer.node ?? [])],
    disprove: 'a later collection in which the route leads to the node that has the subnet',
    remediation: podRouteRemedy(asked, losses, survey),
    ...told.change,
    message: told.message,
    cites: isNonEmpty(cites) ? cites : [loss.peer.at],
  };
}

interface Told {
  readonly message: string;
  readonly cites: readonly Cite[];
  readonly change?: Partial<Pick<Finding, 'severity' | 'confidence' | 'about'>>;
}

function tell(asked: Asked, loss: Loss, survey: PodSurvey, whose: string): Told {
  const { node, own } = asked;
  const { route, subnet } = loss;
  const { piece } = route;
  if (route.kind === 'astray') return astray(route, loss, survey, `${node} routes ${whose}, to`);
  if (route.kind === 'rejected') {
    const by = piece.dst === '' ? 'a policy rule' : `the route ${piece.way.type} ${prefixOf(piece)}`;
    return { message: `${node} rejects packets for ${whose}: ${by} takes them`, cites: [] };
  }
  const dead = own.dead.find((d) => d.dst === subnet);
  if (dead !== undefined)
    return { message: `${node} passes over its route to ${whose}: its device has no carrier`, cites: [dead.at] };
  if (own.mainless && own.rulesAt !== null && piece.way.type === 'none')
    return {
      message: `${node} does not find its route to ${whose}: no policy rule leads to the main table`,
      cites: [{ kind: 'absent', ...own.rulesAt, absent: 'a rule that looks up main' }],
    };
  const absent: Cite = { kind: 'absent', ...own.routesAt, absent: `a route to ${subnet}` };
  const { overlay } = own;
  const message = `${node} has no route to ${whose}: ${taker(route)}`;
  if (overlay !== null && !overlay.up)
    return { message: `${message}; ${overlay.dev} is down`, cites: [absent, overlay.at] };
  const beyond = beyondRouter(asked, loss, survey.backend);
  if (beyond !== null)
    return {
      message: `${message}; ${beyond.slice(0, 3).join(', ')} of ${loss.peer.name} is on no network of ${node}, and host-gw needs every node to be a direct neighbour`,
      cites: [absent],
    };
  const bare = overlay === null && (own.backend ?? survey.backend) === 'vxlan';
  return { message: bare ? `${message}; it has no flannel device` : message, cites: [absent] };
}

/** The next hop is not the node that has the subnet. A third node of the cluster may pass packets on: a detour, but it works. */
function astray(route: Loss['route'], loss: Loss, survey: PodSurvey, lead: string): Told {
  const { dev, via } = route as Extract<PodRoute, { kind: 'astray' }>;
  const cites: Cite[] = [];
  const likely = { confidence: 'likely' } as const;
  const { name } = loss.peer;
  if (via === null)
    return { message: `${lead} ${dev} without a next hop: nobody there has its addresses`, cites, change: likely };
  const hop = `${lead} ${formatIp4(via)} by ${dev}`;
  const behind = survey.behind(via, loss);
  if (behind === null) return { message: `${hop}: ${name} is not reached by that`, cites, change: likely };
  if (behind.onward === null) return { message: `${hop}: that is ${behind.name}`, cites, change: likely };
  if (!behind.onward)
    return { message: `${hop}: that is ${behind.name}, which does not route it to ${name} either`, cites };
  return {
    message: `${hop}: that is ${behind.name}, by which packets take a detour as long as it forwards them`,
    cites,
    // what ends there, or comes back from there, is its doing; anything else has another cause
    change: { severity: 'medium', confidence: 'likely', about: [`on ${behind.name} at`, formatIp4(via)] },
  };
}

/** Nobody routes the subnet: what its owner says of itself did not reach the others. */
function unroutedFinding(peer: PodPeer, by: NonEmpty<Asked>): Finding {
  const subnet = by[0].losses.find((l) => l.peer === peer)?.subnet ?? formatIp4(peer.first);
  const [first, ...others] = [...(peer.node === null ? [] : [peer.node]), ...by.map((n) => n.node)];
  return {
    key: `unrouted ${subnet}`,
    severity: 'critical',
    confidence: 'likely',
    nodes: [first ?? by[0].node, ...others],
    message: `None of the ${by.length} nodes that route other pod subnets has a route to ${subnet}, that of ${peer.name}: flannel did not announce it, or withdrew it`,
    cites: [
      peer.at,
      ...by.slice(0, FEW).map(({ own }): Cite => ({ kind: 'absent', ...own.routesAt, absent: `a route to ${subnet}` })),
    ],
    disprove: `a later collection in which the others route ${subnet} to ${peer.name}`,
    remediation: [
      {
        step: `Look at ${peer.name} first: does flanneld run there, and has its Node object the podCIDR ${subnet} and flannel’s annotations? Then restart flanneld there.`,
        run: `kubectl get node ${shellWord(peer.name)} -o yaml | grep -E 'podCIDR|flannel.alpha'; ${restartFlannel(peer.name)}`,
        verify: `ip route get ${formatIp4(peer.first + 10)}   # on another node`,
        undo: NOTHING_TO_UNDO,
      },
    ],
  };
}
