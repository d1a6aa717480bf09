import { NOTHING_TO_UNDO, restartFlannel, withArgument } from '../../src/derive/flannel-remedy.ts';
import { type Nic, otherDevice, otherMac } from '../../src/derive/flannel-twins.ts';
import { announcedLeases } from '../../src/derive/k8s-leases.ts';
import { isOneMachine } from '../../src/derive/one-machine.ts';
import { overlayPeers, type Peer, type Vtep, vteps } from '../../src/derive/overlay.ts';
import { placeOf, timeOf } from '../../src/derive/pod-peers.ts';
import type { InterfaceAddress } from '../../src/facts/index.ts';
import type { Cite, ClusterVerdict, Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { PROVEN, type Weight, weighed, weightOf } from '../../src/rule/weight.ts';

/** An entry for another node that names this one. */
interface Row {
  readonly kind: 'mac' | 'address';
  readonly value: string;
  readonly dev: string;
  readonly gateway: string;
  readonly subnet: string;
  readonly mac: string;
  readonly to: string | null;
  readonly cites: readonly LineCite[];
  /** What flannel announces of that node. */
  readonly said: { readonly name: string; readonly at: LineCite } | null;
}

interface Identity {
  readonly ends: readonly (Pick<Vtep, 'dev' | 'mac' | 'local' | 'addresses'> & { readonly cite: Cite })[];
  /** Other nodes that it has entries for. */
  readonly peers: number;
  readonly rows: readonly Row[];
  /** Devices with an address: the one that flannel should have taken may be among them. */
  readonly nics: readonly Nic[];
  readonly proof: readonly LineCite[];
}

type Node = NodeDigest<Identity>;

interface Pair {
  readonly row: Row;
  readonly a: Node;
  /** null: known by the entry alone. */
  readonly b: Node | null;
}

const KEPT = 8;
/** Devices that no other node is reached by. */
const INNER = /^(lo|flannel|cni|docker|br-|veth|kube-|cali|virbr|podman)/;
const nicOf = (dev: string, { address, prefixLength }: InterfaceAddress): Nic => ({
  dev,
  address,
  network: `${address}/${prefixLength}`,
});

export const rule = defineClusterRule({
  id: 'flannel-identity-duplicate',
  title: {
    bad: 'Two nodes are the same one to flannel',
    good: 'No other node has the MAC or the address of the node’s tunnel',
  },
  severity: 'critical',
  explanation:
    'Nodes find each other by two things that flannel announces of each: the address that packets are sent to, and the MAC of its vxlan device. Where two nodes announce the same address, each of them sends to itself what is for the other one, and it goes round there until its TTL ends. ' +
    'Where they announce the same MAC, one takes what is for both. Virtual machines that all have 10.0.2.15 on their first card, and clones of one disk, are the usual cases.',
  remediation: [
    {
      step: 'Same address: tell flannel which device the nodes reach each other by (k3s: --flannel-iface).',
      ...withArgument('--iface=<device>'),
      risk: 'Overlay traffic stops for the seconds that the devices are made anew.',
    },
    {
      step: 'Same MAC: let flannel make its device anew on one of the two.',
      run: `ip link del flannel.1; ${restartFlannel('<node>')}`,
      verify: 'ip link show flannel.1   # another MAC on each node',
      undo: NOTHING_TO_UNDO,
      risk: 'The node is without its overlay until flannel has started again.',
    },
  ],
  references: [REF.flannelConfiguration, REF.flannelVxlan, REF.flannelTroubleshooting],
  needs: ['links', 'routes4', 'fdb', 'neighbours'],
  wants: ['addresses', 'k8sNodes'],
  explains: ['vxlan-forwarding-entry-wrong', 'trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ facts, source }): Identity {
    const { links, routes4, neighbours, fdb } = facts;
    const own = vteps(source);
    const peers = overlayPeers(source);
    const leases = new Map(announcedLeases(source).map((l) => [l.vtep, l]));
    const rows = peers.flatMap((p): Row[] => {
      const end = own.find((v) => v.dev === p.dev);
      const mac = p.neighbour?.mac;
      if (end === undefined || mac == null || p.neighbour === null) return [];
      const self = p.remotes.find((r) => end.hears.includes(r.dst));
      const kind = mac === end.mac ? 'mac' : self === undefined ? null : 'address';
      // an entry of its own for itself is left of an earlier lease of the node
      if (kind === null || (kind === 'mac' && self !== undefined)) return [];
      const lease = leases.get(p.gateway);
      const told = kind === 'mac' ? lease?.mac : lease?.underlay;
      const value = kind === 'mac' ? mac : (self?.dst ?? '');
      const lines = [
        cite(routes4, { line: p.routeLine }),
        cite(neighbours, p.neighbour),
        ...p.remotes.map((r) => cite(fdb, r)),
      ];
      return [
        {
          kind,
          value,
          dev: p.dev,
          gateway: p.gateway,
          subnet: p.subnet,
          mac,
          to: p.remotes[0]?.dst ?? null,
          cites: lines,
          said:
            lease !== undefined && told?.value === value
              ? { name: lease.name, at: placeOf(told.fact, told.span) }
              : null,
        },
      ];
    });
    const addresses = source.get('addresses');
    const nics = (addresses.missing ? [] : addresses.value.devices)
      .filter((d) => d.master === undefined && !INNER.test(d.name))
      .flatMap((d) => d.addresses.filter((a) => a.family === 4).map((a) => nicOf(d.name, a)))
      .slice(0, KEPT);
    const told = peers.filter((p) => p.neighbour?.mac != null && p.remotes.length > 0);
    return {
      ends: own.map(({ dev, mac, local, addresses: at, ...span }) => ({
        dev,
        mac,
        local,
        addresses: at,
        cite: cite(links, span),
      })),
      peers: peers.length,
      rows: rows.slice(0, KEPT),
      nics,
      proof: told.length < peers.length ? [] : told.slice(0, 1).flatMap((p) => entryCites(p, neighbours, fdb)),
    };

    function entryCites({ neighbour, remotes }: Peer, ...of: readonly [typeof neighbours, typeof fdb]): LineCite[] {
      return [...(neighbour === null ? [] : [cite(of[0], neighbour)]), ...remotes.map((r) => cite(of[1], r))];
    }
  },
  evaluate(digests): ClusterVerdict {
    const ownerOf = new Map<string, Node[]>();
    const all: Node[] = [...digests];
    for (const d of all)
      for (const { mac, addresses } of d.digest.ends)
        for (const a of addresses) {
          const key = `${a} ${mac}`;
          ownerOf.set(key, [...(ownerOf.get(key) ?? []), d]);
        }
    const sets = new Map<string, Pair[][]>();
    const unknown: Undecided[] = [];
    const named = new Set<string>();
    for (const a of all) {
      for (const row of a.digest.rows) {
        const b =
          ownerOf.get(`${row.gateway} ${row.mac}`)?.find((o) => o.node !== a.node && !isOneMachine(o, a)) ?? null;
        named.add(a.node);
        const alone = b === null && row.said === null;
        if (alone && row.kind === 'address') {
          unknown.push({
            nodes: [a.node],
            because: `${a.node} has an entry for ${row.gateway} (subnet ${row.subnet}) that sends to its own address ${row.value}: another node announces that, or it is left of an earlier lease of this one`,
            evidence: ['k8s.nodes'],
          });
          continue;
        }
        if (b !== null) named.add(b.node);
        const key = `${row.kind} ${row.value}`;
        const pair = { row, a, b };
        const list = sets.get(key) ?? [];
        const met = list.filter((s) => s.some((p) => [p.a, p.b].some((n) => n !== null && (n === a || n === b))));
        sets.set(key, [...list.filter((s) => !met.includes(s)), [...met.flat(), pair]]);
      }
    }
    const findings = [...sets].flatMap(([key, list]) => list.flatMap((pairs) => same(key, pairs)));
    const passes: ClusterVerdict['passes'][number][] = [];
    const notApplicable: ClusterVerdict['notApplicable'][number][] = [];
    for (const { node, digest } of all) {
      if (named.has(node)) continue;
      const [first, ...more] = digest.proof;
      if (digest.ends.length === 0)
        notApplicable.push({ nodes: [node], because: 'no flannel vxlan device on this node' });
      else if (digest.peers === 0)
        notApplicable.push({ nodes: [node], because: 'no route over a flannel vxlan device: it knows no other node' });
      else if (first !== undefined) passes.push({ node, cites: [first, ...more] });
      else
        unknown.push({
          nodes: [node],
          because:
            'not every overlay peer has a neighbour and a forwarding entry: which MAC and address it has is not known',
          evidence: ['ip.neigh', 'bridge.fdb'],
        });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

function same(key: string, pairs: readonly Pair[]): Finding[] {
  const [first] = pairs;
  if (first === undefined) return [];
  const { row, a } = first;
  const nodes = new Map(pairs.flatMap(({ a: x, b: y }) => [x, ...(y === null ? [] : [y])]).map((n) => [n.node, n]));
  const [one, ...others] = [...nodes.keys()].sort();
  const strangers = pairs.flatMap((p) =>
    p.b === null ? [p.row.said?.name ?? `the node at ${p.row.to ?? p.row.gateway}`] : [],
  );
  const named = [one, ...others, ...new Set(strangers)];
  const who = `${named.slice(0, -1).join(', ')} and ${named.at(-1)}`;
  const said = pairs.flatMap((p) => (p.row.said === null ? [] : [p.row.said.at]));
  const ends: Cite[] = [...nodes.values()].flatMap((n) =>
    n.digest.ends.filter((e) => e.dev === row.dev).map((e) => e.cite),
  );
  const cites: Cite[] = [...ends, ...row.cites, ...said.slice(0, 1)];
  const twins = [...nodes.values()].map((n) => ({ ...n, nics: n.digest.nics }));
  const [head, ...tail] = cites;
  if (head === undefined || one === undefined) return [];
  const text =
    row.kind === 'mac'
      ? `${who} have the same VTEP MAC ${row.value}: what is sent to either arrives at one of them`
      : `${who} have the same address ${row.value} under flannel: ${a.node} sends to itself what is for the others’ pods`;
  return [
    weighed(
      {
        key,
        severity: 'critical',
        confidence: 'proven',
        nodes: [one, ...others],
        message: text,
        cites: [head, ...tail],
        disprove: 'the bundles show one machine at two times',
        remediation: row.kind === 'mac' ? otherMac(row.dev, twins) : otherDevice(row.value, twins),
      },
      strongest(pairs),
    ),
  ];
}

/** One pair that is sure is enough. */
function strongest(pairs: readonly Pair[]): Weight {
  const all = pairs.map(({ a, b, row }): Weight => {
    if (b === null) return { ...PROVEN, confidence: row.said === null ? 'possible' : 'likely' };
    const weight = weightOf(timeOf(a.collectedAt), timeOf(b.collectedAt), true);
    // a machine that was renamed, or a clone that kept its id
    const clone = a.machineIdSha256 !== null && a.machineIdSha256 === b.machineIdSha256;
    return clone && weight === PROVEN ? { ...weight, confidence: 'likely' } : weight;
  });
  const sure = all.find((w) => w === PROVEN) ?? all.find((w) => w.confidence === 'likely');
  return sure ?? all[0] ?? PROVEN;
}
