import { shellWord } from '../../src/core/shell.ts';
import type { NonEmpty } from '../../src/core/span.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { acceptPort, networkOrEach } from '../../src/derive/accept-port.ts';
import { announcedLeases, type Lease } from '../../src/derive/k8s-leases.ts';
import { overlayPeers, strayRemotes } from '../../src/derive/overlay.ts';
import { inUse, TUNNEL_KINDS, type Tunnel, tunnelsOf } from '../../src/derive/tunnels.ts';
import type { Fact, LinkDevice, MissingFact, VxlanAttributes } from '../../src/facts/index.ts';
import {
  askAlike,
  askInput,
  askOutput,
  buildNode,
  type Decider,
  decidedBy,
  HOOK_KINDS,
  type HookAnswer,
  hookNode,
  type NetNode,
  RULESET_KINDS,
  routesOf,
  type Watch,
} from '../../src/net/index.ts';
import type { Cite, Finding } from '../../src/rule/index.ts';
import { cite, defineNodeRule, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

/** So many questions a device and direction; other nodes that no rule tells apart share one. */
const MOST = 32;
/** Other nodes that a sentence names. */
const NAMED = 3;

/** What hooks and routes of IPv6 read beside those of IPv4: an underlay may be either. */
const SIX = ['routes6', 'rules6', 'ip6tables', 'ip6tablesNft', 'ip6tablesLegacy', 'legacyTables6'] as const;

/** One end of a vxlan, and the other ends by one device. */
interface Way {
  readonly tunnel: Tunnel;
  readonly port: number;
  readonly local: string;
  /** Where the others send: `local`, or another address of the node that flannel announces. */
  readonly at: string;
  /** By which it sends to them. */
  readonly dev: string;
  /** By which theirs may come in. */
  readonly doors: readonly string[];
  readonly peers: Tunnel['remotes'];
}

export const rule = defineNodeRule({
  id: 'vxlan-udp-blocked',
  title: {
    bad: 'The node’s firewall drops the vxlan packets of other nodes',
    good: 'The node’s own firewall lets the vxlan packets of other nodes pass',
  },
  severity: 'critical',
  explanation:
    'Packets between pods of two nodes travel as UDP from node to node. They are for the node itself, so INPUT decides, not FORWARD; and each direction has source ports of its own, ' +
    'so both nodes have to let them in as new connections: a rule for answers helps neither. Routes, neighbours and forwarding entries all look well meanwhile. ' +
    'Filters outside the nodes (security groups, switches, hypervisors) are in no bundle.',
  remediation: [
    {
      step: 'Let the vxlan port in from the other nodes, on every node, and keep that in the firewall’s own configuration.',
      run: 'iptables -I INPUT -s <network of the nodes> -p udp --dport 8472 -j ACCEPT',
      verify: 'tcpdump -ni flannel.1   # on this node, while a pod of another node pings one here',
      undo: 'iptables -D INPUT -s <network of the nodes> -p udp --dport 8472 -j ACCEPT',
      risk: 'vxlan has no authentication: let nobody but the nodes in.',
    },
  ],
  references: [REF.flannelTroubleshooting, REF.flannelBackends, REF.vxlan],
  needs: ['links', 'addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: [
    ...HOOK_KINDS.filter((k) => k !== 'links' && k !== 'addresses' && k !== 'routes4'),
    ...SIX,
    ...TUNNEL_KINDS.filter((k) => k !== 'links' && k !== 'addresses' && k !== 'routes4' && k !== 'routes6'),
    'neighbours',
  ],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { tunnels } = tunnelsOf(source);
    const usage = inUse(tunnels);
    const used = tunnels.filter((t) => t.make === 'vxlan' && usage.get(t) !== false);
    const [first] = used;
    if (first === undefined) {
      if (!facts.links.closed)
        return unknown(node.id, 'whether there is a vxlan device: the list of devices was not collected whole', [
          facts.links.evidence,
        ]);
      return notApplicable('no vxlan device that packets of pods leave by');
    }
    const net = used.some((t) => t.family === 6) ? buildNode(source, [...HOOK_KINDS, ...SIX]) : hookNode(source);
    const { devices } = facts.addresses.value;
    const leases = announcedLeases(source);
    const names = new Map(leases.map((l) => [l.underlay?.value, l.name]));
    const stray = overlayPeers(source).length > 0 ? strayRemotes(source) : [];
    const ends = endsOf(devices, leases, wants.fdb, stray, routesOf(net));
    const tally = new NodeTally(node.id);
    let known = 0;
    for (const tunnel of used) {
      const ways = ends(tunnel);
      known += ways.length;
      for (const way of ways) {
        if ('because' in way) tally.unknown(way.because, way.evidence);
        else
          for (const side of ['in', 'out'] as const) {
            const { unknown: open, passed, blocked } = judge(net, way, side);
            for (const [because, evidence] of open) tally.unknown(because, evidence);
            tally.passed(passed);
            for (const b of blocked) tally.fault(fault(node.id, way, side, b, names, devices));
          }
      }
    }
    if (known === 0)
      return notApplicable(`no other node is known to ${first.device.name}`, [cite(first.fact, first.device)]);
    return tally.verdict([cite(first.fact, first.device)]);
  },
});

interface Open {
  readonly because: string;
  readonly evidence: readonly string[];
}

/** The ends of a tunnel by the devices that lead to them, or why they are not known. */
function endsOf(
  devices: readonly LinkDevice[],
  leases: readonly Lease[],
  fdb: Fact<'fdb'> | MissingFact<'fdb'>,
  stray: readonly string[],
  routeOf: ReturnType<typeof routesOf>,
) {
  const holders = new Map(devices.flatMap((d) => d.addresses.map((a) => [a.address, d.name])));
  return (tunnel: Tunnel): readonly (Way | Open)[] => {
    const { name, vxlan } = tunnel.device;
    const open = (because: string, ...evidence: readonly string[]) => [{ because, evidence }];
    if (vxlan === undefined) return open(`the port of ${name} was not collected`, 'ip.link');
    const { local, dstPort: port } = vxlan;
    if (local === undefined) return open(`with which address ${name} sends is not told`, 'ip.link');
    const vtep = devices.find((d) => d.name === name)?.addresses.map((a) => a.address) ?? [];
    const said = leases.find((l) => vtep.includes(l.vtep))?.underlay?.value;
    const at = said !== undefined && holders.has(said) ? said : local;
    const holder = holders.get(at);
    if (holder === undefined || !holders.has(local))
      return open(
        `whether the firewall lets ${name} pass: ${local}, with which it sends, is no address of the node`,
        'ip.addr',
      );
    if (repliesAlike(vxlan))
      return open(`${name} sends from the port that it listens on: what a firewall takes for answers is not followed`);
    // what is left of a node that no route leads to any more says nothing
    const peers = tunnel.remotes.filter((r) => !holders.has(r.address) && !stray.includes(r.address));
    const whole = !fdb.missing && fdb.closed;
    const ways = [...Map.groupBy(peers, (p) => routeOf(p.address)?.dev ?? null)].map(([dev, of]): Way | Open =>
      dev === null
        ? {
            because: `by which device ${name} sends to ${of[0]?.address} is not known`,
            evidence: ['ip.route4', 'ip.rule4'],
          }
        : { tunnel, port, local, at, dev, doors: [...new Set([dev, ...(holder === 'lo' ? [] : [holder])])], peers: of },
    );
    return whole ? ways : [...ways, ...open(`which nodes are behind ${name} was not collected whole`, 'bridge.fdb')];
  };
}

interface Blocked {
  readonly decider: Decider;
  readonly peers: NonEmpty<string>;
}

function judge(net: NetNode, { tunnel, port, local, at, dev, doors, peers }: Way, side: 'in' | 'out') {
  const what = side === 'in' ? `udp/${port} of other nodes gets in` : `udp/${port} to other nodes gets out`;
  const open: [string, readonly string[]][] = [];
  const passed: Cite[] = [];
  const drops: { readonly decider: Decider; readonly addresses: readonly string[] }[] = [];
  const ask = (peer: string, watch: Watch): HookAnswer => {
    const udp = { proto: 'udp', dport: port } as const;
    if (side === 'out') return askOutput(net, { ...udp, src: local, dst: peer, oif: dev }, watch);
    const [first, ...others] = doors.map((iif) => askInput(net, { ...udp, src: peer, dst: at, iif }, watch));
    if (first !== undefined && others.every((o) => o.verdict === first.verdict)) return first;
    const because = `by which of ${doors.join(', ')} it comes in is not known, and they differ`;
    return { verdict: 'unknown', because, deciders: [], evidence: [] };
  };
  const { groups, unasked } = askAlike(
    net,
    peers.map((p) => p.address),
    MOST,
    ask,
  );
  for (const { answer, addresses } of groups) {
    const { verdict, because, evidence, deciders } = answer;
    const [decider] = deciders;
    if (verdict === 'accept') passed.push(cite(tunnel.fact, tunnel.device), ...deciders.map((d) => cite(d.fact, d)));
    else if (verdict === 'unknown' || decider === undefined) open.push([`whether ${what}: ${because}`, evidence]);
    else drops.push({ decider, addresses });
  }
  if (unasked.length > 0)
    open.push([
      `whether ${what}: the rules tell so many nodes apart that ${unasked.length} of ${peers.length} were not asked about`,
      [],
    ]);
  const blocked: Blocked[] = [];
  for (const same of Map.groupBy(drops, ({ decider: d }) => `${d.fact.path} ${d.line}`).values()) {
    const of = same.flatMap((s) => s.addresses);
    if (same[0] !== undefined && isNonEmpty(of)) blocked.push({ decider: same[0].decider, peers: of });
  }
  return { unknown: open, passed, blocked };
}

function fault(
  node: string,
  { tunnel, port, dev, peers }: Way,
  side: 'in' | 'out',
  { decider, peers: of }: Blocked,
  names: ReadonlyMap<string | undefined, string>,
  devices: readonly LinkDevice[],
): Finding {
  const { name } = tunnel.device;
  const all = of.length === peers.length;
  const what = `${decidedBy(decider)} in ${decider.place}`;
  const listed = of.slice(0, NAMED).map((a) => (names.has(a) ? `${names.get(a)} (${a})` : a));
  const more = of.length > NAMED ? ` and ${of.length - NAMED} more` : '';
  const share = all ? '' : `, ${of.length} of ${peers.length} nodes`;
  const effect =
    side === 'in'
      ? 'what pods there send to pods here is lost'
      : 'what pods here send to pods there does not leave the node';
  const entries = peers.filter((p) => p.address === of[0]).map((p) => cite(p.fact, p.span));
  return {
    key: `${side} ${name}: ${what}`,
    severity: all ? 'critical' : 'high',
    // a list of nodes in the rules may be newer than the entry of one that is gone
    confidence: all && tunnel.used === true ? 'proven' : 'likely',
    nodes: [node],
    message: `${node} drops vxlan packets (udp/${port}) ${side === 'in' ? 'from' : 'to'} ${listed.join(', ')}${more}${share}: ${what}; ${effect}`,
    cites: [cite(decider.fact, decider), cite(tunnel.fact, tunnel.device), ...entries],
    disprove: 'a rule in front of it that accepts this packet in the same ruleset',
    remediation: [
      acceptPort({
        fact: decider.fact,
        place: decider.place,
        proto: 'udp',
        port,
        way: side,
        ends: {
          addresses: networkOrEach(
            of,
            devices.find((d) => d.name === dev),
          ),
        },
        door: dev,
        warning: 'vxlan has no authentication, so let nobody else in',
      }),
      {
        step: 'Look for the same on the other nodes: each has to let the others in. Then see that packets arrive; what still does not come is dropped between the nodes (security group, switch, hypervisor).',
        run: `timeout 10 tcpdump -c 5 -ni ${shellWord(dev)} udp port ${port}`,
        verify: 'ping -c 3 <IP of a pod on another node>   # from a pod of this node',
        undo: 'none needed: nothing was changed',
      },
    ],
  };
}

/** Its packets and those that it gets may be the two halves of one connection: then a rule for answers lets them in. */
function repliesAlike({ srcPort, dstPort }: VxlanAttributes): boolean {
  return srcPort !== undefined && srcPort[0] !== 0 && srcPort[0] <= dstPort && dstPort <= srcPort[1];
}
