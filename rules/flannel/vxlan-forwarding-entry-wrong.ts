import { shellWord } from '../../src/core/shell.ts';
import { clusterGroups } from '../../src/derive/cluster.ts';
import { restartFlannel } from '../../src/derive/flannel-remedy.ts';
import type { Announced, Lease } from '../../src/derive/k8s-leases.ts';
import type { Vtep } from '../../src/derive/overlay.ts';
import { homeless, isFronted, isTied, isUnrouted, isUnroutedLease, vteps } from '../../src/derive/overlay.ts';
import {
  isStranger,
  type Leased,
  looseTies,
  type OverlayDigest,
  type Owner,
  overlayTables,
  ownerOfPeer,
  type PeerRow,
  ties,
  unlikeLease,
} from '../../src/derive/overlay-clusters.ts';
import { placeOf, timeOf } from '../../src/derive/pod-peers.ts';
import type { Cite, Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { absent, cite, defineClusterRule, isClosed, lineCite } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { PROVEN, type Weight, weighed, weightOf } from '../../src/rule/weight.ts';

type FileRef = Pick<LineCite, 'node' | 'evidence' | 'path'>;

type Cited = Vtep & { readonly cite: Cite };

interface Entries extends OverlayDigest<Cited> {
  readonly files: { readonly route: FileRef; readonly neighbour: FileRef; readonly fdb: FileRef };
  /** Its tunnel ends whose own address is no address of the node. */
  readonly homeless: readonly { readonly dev: string; readonly local: string; readonly cites: readonly [Cite, Cite] }[];
  /** Whether a missing entry is a fact. */
  readonly wholeNeighbours: boolean;
  readonly wholeFdb: boolean;
}

export const rule = defineClusterRule({
  id: 'vxlan-forwarding-entry-wrong',
  title: {
    bad: 'A node’s static entries for an overlay peer are missing or wrong',
    good: 'Neighbour and forwarding entries match the peers',
  },
  severity: 'critical',
  explanation:
    'flannel uses static neighbour and forwarding entries; nothing is learned. A stale MAC is dropped by the receiver as "other host", ' +
    'a missing forwarding entry is dropped by the sender, a wrong remote goes to a machine that is not there. ' +
    'A neighbour entry that is not permanent works until the kernel forgets it.',
  remediation: [
    {
      step: 'Restart flannel on the node that has the wrong entries: it adds those of every lease again.',
      run: restartFlannel('<node>'),
      verify: 'bridge fdb show dev flannel.1; ip neigh show dev flannel.1',
      undo: 'none needed: the entries are derived from the leases',
    },
    {
      step: 'Keep systemd-udev and NetworkManager off flannel devices (MACAddressPolicy=none, unmanaged): a changed MAC wipes the device’s own neighbours.',
    },
  ],
  references: [REF.flannelVxlan, REF.flannelMac, REF.vxlan],
  needs: ['links', 'routes4', 'fdb', 'neighbours'],
  wants: ['flannelEnv', 'addresses', 'k8sNodes'],
  explains: ['flannel-public-ip-unreachable', 'trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ facts, wants, source }): Entries {
    const { fdb, neighbours, links, routes4 } = facts;
    const file = ({ node, evidence, path }: FileRef): FileRef => ({ node, evidence, path });
    const { addresses } = wants;
    const tables = overlayTables(source);
    const used = new Set(tables.peers.map(([dev]) => dev));
    return {
      ...tables,
      homeless: homeless(source).flatMap(({ dev, local, line, endLine }) => {
        if (!used.has(dev) || local === null || addresses.missing || !isClosed(addresses)) return [];
        return [{ dev, local, cites: [cite(links, { line, endLine }), absent(addresses, `the address ${local}`)] }];
      }),
      files: { route: file(routes4), neighbour: file(neighbours), fdb: file(fdb) },
      vteps: vteps(source).map((v) => ({ ...v, cite: cite(links, v) })),
      wholeNeighbours: neighbours.closed,
      wholeFdb: fdb.closed,
    };
  },
  evaluate(digests) {
    const findings: Finding[] = [];
    const passes = [];
    const unknown: Undecided[] = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    const ownerOf = new Map<string, Owner<Cited>[]>();
    const leases = new Map<string, Leased[]>();
    const groups = clusterGroups(ties(digests, ownerOf, leases));
    const kin = clusterGroups(looseTies(digests, groups, ownerOf));
    const clusters = Map.groupBy([...ownerOf.values()].flat(), (o) => kin.get(o.node));
    const announcedIn = Map.groupBy([...leases.values()].flat(), (l) => groups.get(l.from));
    for (const d of digests) {
      const { peers, onDemand, wholeFdb, wholeNeighbours, files } = d.digest;
      const [first] = peers;
      if (first === undefined) {
        notApplicable.push({ nodes: [d.node], because: 'no route over a flannel vxlan device' });
        continue;
      }
      const before = findings.length;
      for (const vtep of d.digest.vteps) {
        const wrong = announcedWrong(d.node, vtep, d.digest.leases);
        if (wrong !== null) findings.push(wrong);
      }
      for (const end of d.digest.homeless) findings.push(homelessEnd(d.node, end));
      let strangers = 0;
      let misled = 0;
      let hidden = 0;
      const unlike: string[] = [];
      for (const peer of peers) {
        // the entries of whom a route is wrongly sent to are judged with his own subnet; pod-route-missing-or-wrong names the route
        const base = peer[1].replace(/\/.*/, '');
        if (base !== peer[2] && ownerOf.get(base)?.some((o) => o.node !== d.node && isTied(groups, o.node, d.node))) {
          misled += 1;
          continue;
        }
        const owner = ownerOfPeer(d.node, peer, ownerOf, groups);
        const same = (leases.get(peer[2]) ?? []).filter((l) => groups.get(l.from) === groups.get(d.node));
        const announced = same.flatMap((l) => l.lease.underlay?.value ?? []);
        if (
          owner !== undefined &&
          !isTied(groups, d.node, owner.node) &&
          isStranger(digests.get(owner.node)?.digest, d.digest.vteps)
        ) {
          unlike.push(owner.node);
          continue;
        }
        const fronted = owner !== undefined && peer[5].some(([to]) => isFronted(owner.vtep, to, announced));
        const wrong =
          judge(
            d,
            peer,
            owner,
            fronted,
            owner === undefined
              ? PROVEN
              : weightOf(timeOf(d.collectedAt), timeOf(owner.collectedAt), isTied(groups, d.node, owner.node)),
          ) ?? (owner === undefined ? otherThanLeased(d, peer, same) : null);
        if (wrong !== null) findings.push(wrong);
        else if (owner === undefined) strangers += 1;
        else if (fronted) hidden += 1;
      }
      if (findings.length > before) continue;
      // pod-route-missing-or-wrong judges whether there should be one
      const hops = new Set([...peers.map((p) => p[2]), ...d.digest.direct]);
      const passed = clusters
        .get(kin.get(d.node))
        ?.find((o) => o.node !== d.node && isUnrouted(d.digest.vteps, o.vtep, hops));
      const told = announcedIn.get(groups.get(d.node))?.find((l) => isUnroutedLease(d.digest.vteps, l.lease, hops));
      const say = (because: string, evidence: string[]) => unknown.push({ nodes: [d.node], because, evidence });
      if (onDemand !== null) say(onDemand, ['bridge.fdb', 'ip.neigh']);
      else if (!wholeFdb || !wholeNeighbours)
        say('the neighbour or forwarding table was not collected whole', ['bridge.fdb', 'ip.neigh']);
      else if (strangers > 0)
        say(
          `${strangers} of ${peers.length} overlay peers have no bundle here that shows their vxlan device and the tables beside it: their MAC and address are not known`,
          ['ip.link', 'ip.route4', 'bridge.fdb', 'ip.neigh'],
        );
      else if (unlike.length > 0)
        say(
          `${unlike[0]} has the addresses that entries here name, and neither knows the other’s MAC: two clusters that are numbered alike, or entries that are wrong on both`,
          ['ip.neigh', 'bridge.fdb', 'k8s.nodes'],
        );
      else if (hidden > 0)
        say(
          `${hidden} of ${peers.length} overlay peers are sent to at an address that is not theirs: what a router in front of them does (public-ip-overwrite, --flannel-external-ip) was not collected`,
          ['k8s.nodes'],
        );
      else if (misled > 0)
        say(`${misled} of ${peers.length} routes lead to another node than the one whose subnet they name`, [
          'ip.route4',
        ]);
      else if (passed !== undefined)
        say(
          isTied(groups, d.node, passed.node)
            ? `no route names the VTEP of ${passed.node}: what is written for it was not looked at`
            : `no route names the VTEP of ${passed.node}, whose MAC no entry here has: that its address is sent to hints at one cluster, and does not prove it`,
          ['ip.route4', 'k8s.nodes'],
        );
      else if (told !== undefined)
        say(`no route names the VTEP that flannel announces of ${told.lease.name}`, ['ip.route4']);
      else passes.push({ node: d.node, cites: [lineCite(files.route, first[3])] as const });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

const announcedAt = ({ fact, span }: Announced): LineCite => placeOf(fact, span);

/** flannel took its device's MAC before systemd-udev changed it: every other node sends to the one that it announced. */
function announcedWrong(node: string, vtep: Entries['vteps'][number], leases: readonly Lease[]): Finding | null {
  const lease = leases.find((l) => vtep.addresses.includes(l.vtep));
  if (lease?.mac == null || vtep.mac === null || lease.mac.value === vtep.mac) return null;
  return {
    key: `announced-mac ${vtep.dev}`,
    severity: 'critical',
    confidence: 'likely',
    nodes: [node],
    message: `${node} announces the VTEP MAC ${lease.mac.value}, but its ${vtep.dev} has ${vtep.mac}: what other nodes send it is dropped`,
    cites: [announcedAt(lease.mac), vtep.cite],
    disprove: 'a later collection in which the annotation has the MAC of the device',
  };
}

/** Measured [V84]: nothing is sent with an address that the node lost, and what others send there, or to its new one, is not answered. */
function homelessEnd(node: string, { dev, local, cites }: Entries['homeless'][number]): Finding {
  return {
    key: `local-address ${dev}`,
    severity: 'critical',
    confidence: 'proven',
    nodes: [node],
    message: `${dev} on ${node} was made with the address ${local}, which ${node} does not have: it sends nothing, and what other nodes send there is lost`,
    cites,
    disprove: `a later collection in which ${node} has ${local}, or ${dev} another address`,
    remediation: [
      {
        step: 'Restart flannel on the node: it makes the device again with the address that the node has now, and announces that. Where the address is the one that the node should have, give it back instead.',
        run: restartFlannel(node),
        verify: `ip -d link show ${shellWord(dev)} | grep -o "local [^ ]*"; ip -br addr`,
        undo: 'none needed: the device is derived from the node’s address',
      },
    ],
  };
}

/** Entries for a peer without a bundle, beside what flannel announces of it. That they agree does not say what its device has. */
function otherThanLeased(d: NodeDigest<Entries>, peer: PeerRow, leased: readonly Leased[]): Finding | null {
  const [dev, subnet, gateway, routeLine, , remotes] = peer;
  const unlike = unlikeLease(peer, leased);
  if (unlike === null) return null;
  const { lease, entry } = unlike;
  const { files } = d.digest;
  const make = (key: string, detail: string, said: Announced, cites: readonly Cite[]): Finding => ({
    key: `${key} ${gateway}`,
    severity: 'critical',
    confidence: 'likely',
    nodes: [d.node],
    message: `${d.node} ${detail} (subnet ${subnet} via ${dev})`,
    cites: [lineCite(files.route, routeLine), lineCite(files.neighbour, entry), ...cites, announcedAt(said)],
    disprove: 'a later collection in which flannel has written the entry, or the peer’s own bundle',
  });
  if (unlike.what === 'mac') {
    const detail = `has a wrong neighbour entry for ${lease.name}: MAC ${unlike.has}, but ${lease.name} announces ${unlike.said.value}`;
    return make(
      'neighbour-mac',
      detail,
      unlike.said,
      remotes.map(([, line]) => lineCite(files.fdb, line)),
    );
  }
  const detail = `sends packets for ${lease.name} to ${unlike.has}, but ${lease.name} announces ${unlike.said.value}`;
  return make('fdb-remote', detail, unlike.said, [lineCite(files.fdb, unlike.line)]);
}

function judge(
  d: NodeDigest<Entries>,
  peer: PeerRow,
  owner: Owner<Cited> | undefined,
  fronted: boolean,
  weight: Weight,
): Finding | null {
  const [dev, subnet, gateway, routeLine, neighbour, remotes] = peer;
  const { files, onDemand, wholeFdb, wholeNeighbours, vteps: own } = d.digest;
  const who = owner === undefined ? `the peer behind ${gateway}` : owner.node;
  const make = (key: string, detail: string, cites: readonly Cite[]): Finding => ({
    key: `${key} ${gateway}`,
    severity: 'critical',
    confidence: 'proven',
    nodes: owner === undefined ? [d.node] : [d.node, owner.node],
    message: `${d.node} ${detail} (subnet ${subnet} via ${dev})`,
    cites: [lineCite(files.route, routeLine), ...cites],
    disprove: 'a later collection in which flannel has written the entry',
  });
  if (neighbour === null || neighbour[0] === null) {
    if (onDemand !== null || !wholeNeighbours) return null;
    const none: Cite = { kind: 'absent', ...files.neighbour, absent: `an entry with a MAC for ${gateway} dev ${dev}` };
    return make('no-neighbour', `has no neighbour entry for ${gateway}, the VTEP of ${who}`, [
      neighbour === null ? none : lineCite(files.neighbour, neighbour[1]),
    ]);
  }
  const mac = neighbour[0];
  const entry = lineCite(files.neighbour, neighbour[1]);
  const entries = [entry, ...remotes.map(([, line]) => lineCite(files.fdb, line))];
  if (own.some((v) => v.dev === dev && v.mac === mac))
    return make('own-mac', `has its own MAC ${mac} as neighbour of ${who}`, entries);
  if (owner !== undefined && owner.vtep.mac !== null && owner.vtep.mac !== mac) {
    const detail = `has a wrong neighbour entry for ${who}: MAC ${mac}, but ${owner.vtep.dev} there has ${owner.vtep.mac}`;
    return weighed(make('neighbour-mac', detail, [...entries, owner.vtep.cite]), weight);
  }
  if (remotes.length === 0) {
    if (onDemand !== null || !wholeFdb) return null;
    const none: Cite = { kind: 'absent', ...files.fdb, absent: `an entry ${mac} dev ${dev} dst <underlay address>` };
    return make('no-fdb', `has no forwarding entry for ${mac}, the VTEP of ${who}`, [entry, none]);
  }
  const targets = [...new Set(remotes.map(([dst]) => dst))];
  if (targets.length > 1)
    return make(
      'fdb-duplicate',
      `has ${targets.length} remotes for the VTEP MAC ${mac} of ${who}: ${targets.join(', ')}`,
      entries,
    );
  const local = owner?.vtep.local ?? null;
  if (local !== null && targets[0] !== local && !fronted && !owner?.vtep.hears.some((a) => a === targets[0])) {
    const cites = owner === undefined ? entries : [...entries, owner.vtep.cite];
    const detail = `sends packets for ${who} to ${targets[0]}, but ${who} is at ${local}`;
    return weighed(make('fdb-remote', detail, cites), weight);
  }
  if (neighbour[2] === undefined || onDemand !== null) return null;
  // measured: it delivers, and the kernel asks the peer again and again; once it is flushed, nobody hears the question for everybody
  const detail = `has a ${neighbour[2]} neighbour entry for ${who}, not a permanent one: once the kernel forgets it, the tunnel has nobody to ask`;
  return { ...make('not-permanent', detail, entries), severity: 'medium', confidence: 'likely', latent: true };
}
