import { formatPrefix, parsePrefix } from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import type { ClusterTies } from '../../src/derive/cluster.ts';
import { clusterGroups, clusterTies } from '../../src/derive/cluster.ts';
import { type HostDevice, isUp } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { peerRoutes } from '../../src/derive/pods.ts';
import { deviceNamed, inUse, TUNNEL_KINDS, type Tunnel, tunnelsOf } from '../../src/derive/tunnels.ts';
import type { Cite, Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Mtu {
  readonly dev: string;
  readonly mtu: number;
  readonly cite: LineCite;
}

interface Underlay extends Mtu {
  /** Its network: what shares it is taken for one segment. null: an address of its own, or no Ethernet. */
  readonly subnet: string | null;
}

interface Mtus extends ClusterTies {
  readonly underlay: Underlay | null;
  /** The device of the pod network; null with host-gw. */
  readonly overlay: Mtu | null;
  /** The largest outer packet that pods' packets become; null: not known. */
  readonly outer: number | null;
  /** Why there is no underlay; `applies`: and there should be one. */
  readonly why: string;
  readonly applies: boolean;
}

type Member = NodeDigest<Mtus>;

/** Whose packets are pods': flannel's and Calico's VXLAN, not anybody's tunnel. */
const OVERLAYS = /^(flannel|vxlan(-v6)?\.calico$)/;

/** More lines than this of nodes on one side show nothing new. */
const SHOWN = 6;

export const rule = defineClusterRule({
  id: 'mtu-differs-across-nodes',
  title: {
    bad: 'Nodes of one cluster have different MTUs',
    good: 'Underlay and overlay have the MTU that most nodes of the cluster have',
  },
  severity: 'medium',
  explanation:
    'The node with the larger MTU sends what the port of the other one does not take, and a switch or bridge drops that without a word. ' +
    'It shows between certain nodes only, with large packets only; TCP between two pods agrees on the smaller size, UDP and ICMP do not.',
  remediation: [
    {
      step: 'Give all nodes of a segment the same MTU, and flannel the smallest one that its nodes have:',
      run: 'ip link set <device> mtu <MTU of the other nodes>   # for good: in the node’s network configuration',
      verify: 'ping -M do -s <that MTU - 28> <underlay address of the other node>',
      undo: 'ip link set <device> mtu <old MTU>',
      risk: 'An MTU that the switch does not carry cuts the node off for large packets.',
    },
    {
      step: 'Set "MTU" in the Backend of net-conf.json where nodes cannot have the same; then remove flannel.1, restart flannel and recreate pods on each node.',
    },
  ],
  references: [REF.flannelBackends, REF.flannelVxlan],
  needs: [],
  needsAny: ['links', 'addresses'],
  wants: [...TUNNEL_KINDS, 'flannelEnv', 'neighbours'],
  extract({ source }): Mtus {
    const place = { ...clusterTies(source), underlay: null, overlay: null, outer: null, applies: true };
    const found = podWay(source);
    if (typeof found === 'string') return { ...place, why: found };
    if (found === null)
      return {
        ...place,
        applies: false,
        why: 'neither flannel’s overlay nor Calico’s VXLAN is here, and no lease of flannel tells which routes lead to other nodes’ pods',
      };
    const { tunnel, lower } = found;
    const overlay =
      tunnel?.device.mtu === undefined
        ? null
        : { dev: tunnel.device.name, mtu: tunnel.device.mtu, cite: cite(tunnel.fact, tunnel.device) };
    const { mtu, name: dev } = lower.device;
    if (mtu === undefined || !isUp(lower.device))
      return { ...place, overlay, why: `${dev} is down, or its MTU is not told` };
    const subnet = subnetOf(source, dev, tunnel?.device.vxlan?.local);
    return {
      ...place,
      overlay,
      underlay: { dev, mtu, subnet, cite: cite(lower.fact, lower.device) },
      outer:
        tunnel === null || overlay === null
          ? (flannelLease(source)?.mtu?.value ?? null)
          : overlay.mtu + tunnel.overhead,
      why: '',
    };
  },
  evaluate(digests) {
    const all = [...digests];
    const groups = clusterGroups(all.map((d) => ({ ...d, ties: d.digest })));
    const findings: Finding[] = [];
    const unknown: Undecided[] = [];
    const passes: { node: string; cites: readonly [Cite, ...Cite[]] }[] = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    const clusters = groupBy(
      all.filter((d) => d.digest.underlay !== null && (groups.get(d.node) ?? null) !== null),
      (d) => groups.get(d.node) ?? '',
    );
    const compared = new Set<string>();
    for (const members of clusters.values()) {
      if (members.length > 1) for (const m of members) compared.add(m.node);
      findings.push(...differences(members));
    }
    const named = new Set(findings.flatMap((f) => f.nodes));
    for (const { node, digest } of all) {
      if (named.has(node)) continue;
      const { underlay, overlay, applies, why } = digest;
      const ask = (because: string, evidence: readonly string[]) => unknown.push({ nodes: [node], because, evidence });
      if (underlay === null && !applies) notApplicable.push({ nodes: [node], because: why });
      else if (underlay === null) ask(`the device under the pod network is not known: ${why}`, ['ip.link', 'ip.addr']);
      else if (!compared.has(node))
        ask('no bundle of another node is in the case that its tables tie to this cluster', [
          'bridge.fdb',
          'ip.route4',
        ]);
      else passes.push({ node, cites: [underlay.cite, ...(overlay === null ? [] : [overlay.cite])] });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

/**
 * What pods' packets to other nodes leave by: an overlay, or (host-gw) a device of the node. A text: why it is not known; null: this node has
 * no pods that other nodes route to.
 */
function podWay(
  source: Parameters<typeof tunnelsOf>[0] & Parameters<typeof peerRoutes>[0],
): { readonly tunnel: Tunnel | null; readonly lower: HostDevice } | string | null {
  const { tunnels } = tunnelsOf(source);
  const usage = inUse(tunnels);
  const ours = tunnels.filter((t) => usage.get(t) !== false && OVERLAYS.test(t.device.name));
  const four = ours.filter((t) => !/-v6/.test(t.device.name));
  const [tunnel, second] = four.length > 0 ? four : ours;
  if (second !== undefined) return 'which of several overlay devices the cluster uses is not known';
  if (tunnel !== undefined) return tunnel.lower === null ? tunnel.why : { tunnel, lower: tunnel.lower };
  const direct = peerRoutes(source).find((r) => !tunnels.some((t) => t.device.name === r.dev));
  const lower = direct === undefined ? undefined : deviceNamed(source, direct.dev);
  if (lower !== undefined) return { tunnel: null, lower };
  return flannelLease(source) === null ? null : 'no route to another node’s pods names a device that is listed';
}

/** The network of a device's address, where others can be in it. */
function subnetOf(source: Parameters<typeof deviceNamed>[0], name: string, local: string | undefined): string | null {
  const found = source.get('addresses');
  const device = found.missing ? undefined : found.value.devices.find((d) => d.name === name);
  const kind = deviceNamed(source, name)?.device.kind;
  if (device === undefined || /^(wireguard|tun|ipip|gre|sit)$/.test(kind ?? '') || device.flags.includes('POINTOPOINT'))
    return null;
  const own = device.addresses.filter((a) => a.scope === 'global' && a.peer === undefined);
  const address = own.find((a) => a.address === local) ?? own[0];
  const prefix = address === undefined ? null : parsePrefix(`${address.address}/${address.prefixLength}`);
  return prefix === null || prefix.length >= (address?.family === 6 ? 127 : 31) ? null : formatPrefix(prefix);
}

/** One finding a value that fewer nodes have: within each segment, between segments, and of overlays over equal underlays. */
function differences(members: readonly Member[]): Finding[] {
  const found: Finding[] = [];
  const usual: { readonly segment: string; readonly members: readonly Member[] }[] = [];
  for (const [segment, inside] of groupBy(members, (m) => m.digest.underlay?.subnet ?? `only ${m.node}`)) {
    const [most, ...fewer] = byValue(inside, (m) => m.digest.underlay?.mtu);
    if (most === undefined) continue;
    usual.push({ segment, members: most });
    for (const odd of fewer) found.push(inSegment(segment, odd, most));
  }
  const [most, ...others] = byValue(
    usual.flatMap((u) => u.members),
    (m) => m.digest.underlay?.mtu,
  );
  if (most !== undefined) for (const odd of others) found.push(acrossSegments(odd, most));
  const overlaid = members.filter((m) => m.digest.overlay !== null);
  const family = (m: Member) => `${m.digest.overlay?.dev.replace(/\d+$/, '#')} over ${m.digest.underlay?.mtu}`;
  for (const [what, same] of groupBy(overlaid, family)) {
    const [usualMtu, ...fewer] = byValue(same, (m) => m.digest.overlay?.mtu);
    if (usualMtu !== undefined) for (const odd of fewer) found.push(ofOverlay(what, odd, usualMtu));
  }
  return found;
}

const first = (list: Group) => list[0];
type Group = readonly [Member, ...Member[]];

function inSegment(segment: string, odd: Group, most: Group): Finding {
  const [a, b] = [first(odd).digest.underlay as Underlay, first(most).digest.underlay as Underlay];
  const [small, large] = a.mtu < b.mtu ? [odd, most] : [most, odd];
  const limit = Math.min(a.mtu, b.mtu);
  const outer = outerOf(large);
  const harmless = outer !== null && outer <= limit;
  const effect = harmless
    ? `pods’ packets (at most ${outer} bytes outside) fit both, larger ones of the nodes themselves do not`
    : `what ${names(large)} ${verb(large, 'sends', 'send')} above ${limit} bytes can be dropped without a word on the way to ${names(small)}`;
  return {
    key: `underlay ${segment} ${a.mtu} vs ${b.mtu}`,
    severity: harmless ? 'low' : 'medium',
    confidence: 'likely',
    nodes: nodesOf(odd, most),
    message: `The underlay’s MTU differs in ${segment}: ${a.mtu} on ${names(odd)} (${a.dev}), ${b.mtu} on ${names(most)} (${b.dev}); ${effect}`,
    cites: cites(a, odd, most, (d) => d.underlay),
    disprove: `a router between them, or a ping -M do of ${Math.max(a.mtu, b.mtu)} bytes that is answered`,
  };
}

function acrossSegments(odd: Group, most: Group): Finding {
  const [a, b] = [first(odd).digest.underlay as Underlay, first(most).digest.underlay as Underlay];
  return {
    key: `underlay segments ${a.mtu} vs ${b.mtu}`,
    severity: 'low',
    confidence: 'possible',
    nodes: nodesOf(odd, most),
    message: `The underlay’s MTU differs between segments: ${a.mtu} on ${names(odd)} (${a.dev}), ${b.mtu} on ${names(most)} (${b.dev}); a router between them may cut what is larger, or tell the sender by ICMP, where that is not filtered`,
    cites: cites(a, odd, most, (d) => d.underlay),
    disprove: 'a router between the segments that sends fragments or "fragmentation needed"',
  };
}

function ofOverlay(what: string, odd: Group, most: Group): Finding {
  const [a, b] = [first(odd).digest.overlay as Mtu, first(most).digest.overlay as Mtu];
  const outer = Math.max(outerOf(odd) ?? 0, outerOf(most) ?? 0);
  const under = first(odd).digest.underlay?.mtu ?? 0;
  const fits = outer <= under;
  const effect = fits
    ? 'the underlay carries both; larger packets depend on the node of the smaller one telling their sender by ICMP'
    : `the larger one does not fit the underlay’s ${under}`;
  return {
    key: `${what} ${a.mtu} vs ${b.mtu}`,
    // what does not fit is overlay-mtu-too-large's to tell
    severity: 'low',
    confidence: 'proven',
    nodes: nodesOf(odd, most),
    message: `The overlay’s MTU differs: ${a.mtu} on ${names(odd)} (${a.dev}), ${b.mtu} on ${names(most)} (${b.dev}); ${effect}`,
    cites: cites(a, odd, most, (d) => d.overlay),
    disprove: 'the devices belong to different overlays',
  };
}

/** The largest packet that pods of these nodes send; null: of some it is not known. */
function outerOf(members: Group): number | null {
  const all = members.map((m) => m.digest.outer);
  return all.includes(null) ? null : Math.max(...(all as number[]));
}

function groupBy<K>(members: readonly Member[], key: (m: Member) => K): Map<K, Member[]> {
  const groups = new Map<K, Member[]>();
  for (const m of members) {
    const list = groups.get(key(m));
    if (list === undefined) groups.set(key(m), [m]);
    else list.push(m);
  }
  return groups;
}

/** By their value, the one that most nodes have first. */
function byValue(members: readonly Member[], value: (m: Member) => number | undefined): Group[] {
  const groups = [...groupBy(members, value)].sort(([a, x], [b, y]) => y.length - x.length || (b ?? 0) - (a ?? 0));
  return groups.flatMap(([, list]) => (isNonEmpty(list) ? [list] : []));
}

/** Where as many nodes have one as the other, both sides are meant. */
const nodesOf = (odd: Group, most: Group): readonly [string, ...string[]] => [
  first(odd).node,
  ...odd.slice(1).map((m) => m.node),
  ...(odd.length === most.length ? most.map((m) => m.node) : []),
];

/** `lead`: what the first of `odd` has. */
const cites = (lead: Mtu, odd: Group, most: Group, of: (d: Mtus) => Mtu | null): readonly [Cite, ...Cite[]] => [
  lead.cite,
  ...[...odd.slice(1, SHOWN), ...most.slice(0, odd.length === most.length ? SHOWN : 1)].flatMap(
    (m) => of(m.digest)?.cite ?? [],
  ),
];

const verb = (members: Group, one: string, many: string) => (members.length === 1 ? one : many);

function names(members: Group): string {
  const [one, two, ...more] = members.map((m) => m.node);
  if (two === undefined) return `${one}`;
  const rest = more.length;
  return rest === 0 ? `${one} and ${two}` : `${one}, ${two} and ${rest} further ${rest === 1 ? 'node' : 'nodes'}`;
}
