import { formatPrefix, parsePrefix, prefixCovers, prefixesOverlap } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import type { ClusterTies } from '../../src/derive/cluster.ts';
import { clusterGroups, clusterTies, ownMarks } from '../../src/derive/cluster.ts';
import { containerBridges, isFlannel, overlayDevices } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import type { Finding, LineCite, NodeDigest, Undecided } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** One pod subnet that a node claims: by its lease, or by a bridge's address inside the cluster's range. */
interface Claim {
  readonly prefix: string;
  readonly from: string;
  /** The CNI file that gives the bridge this range. */
  readonly conf?: string | null;
  readonly cite: LineCite;
}

interface Claims extends ClusterTies {
  readonly claims: readonly Claim[];
  /** By which it is known for the same machine. */
  readonly own: readonly string[];
  /** Why the node's claims are not known although it is of a flannel network; else null. */
  readonly unread: string | null;
}

/** Two nodes' claims to overlapping ranges. */
interface Clash {
  readonly a: NodeDigest<Claims>;
  readonly b: NodeDigest<Claims>;
  readonly mine: Claim;
  readonly theirs: Claim;
}

const DAY_MS = 86_400_000;

const isDockers = (bridge: string): boolean => /^(docker0|br-[0-9a-f]{12})$/.test(bridge);

export const rule = defineClusterRule({
  id: 'pod-cidr-duplicate',
  title: { bad: 'Two nodes own the same pod subnet', good: 'Every node has a pod subnet of its own' },
  severity: 'critical',
  explanation:
    'Other nodes route the subnet to one of the two, so pods of the other are unreachable and replies come back to strangers. ' +
    'Cloned disks that kept /run/flannel, or a hand-patched podCIDR, are the usual cause.',
  remediation: [
    {
      step: 'Drain the node that other nodes do not route to, remove its lease, bridge and IPAM state, and let it join again (podCIDR is immutable).',
      run: 'rm -f /run/flannel/subnet.env; ip link del cni0; rm -rf /var/lib/cni/networks/cbr0; systemctl restart kubelet   # k3s: systemctl restart k3s (or k3s-agent)',
      verify: 'ip route show | grep <subnet>   # one next hop per subnet on every peer',
      undo: 'none needed: the subnet stays with the other node',
      risk: 'All pods of the drained node are made anew with new addresses.',
    },
  ],
  references: [REF.flannelReservations, REF.flannelKubernetes],
  needs: ['addresses'],
  wants: ['flannelEnv', 'links', 'bridges', 'sysfs', 'dockerNetworks', 'fdb', 'routes4', 'cniConf', 'neighbours'],
  explains: ['trace-pod-to-pod', 'vxlan-forwarding-entry-wrong', 'duplicate-pod-address'],
  extract({ wants, source }): Claims {
    const ties = clusterTies(source);
    const lease = flannelLease(source);
    if (lease?.network == null) {
      const env = wants.flannelEnv;
      const overlay = overlayDevices(source).find((o) => isFlannel(o.device.name));
      const absent = env.missing && env.lookedFor && overlay === undefined;
      const why = env.missing ? env.because : 'it holds no readable FLANNEL_NETWORK';
      return {
        ...ties,
        claims: [],
        own: [],
        unread: absent ? null : `the node’s flannel lease is not known: subnet.env ${why}`,
      };
    }
    const { network } = lease;
    const claims: Claim[] = [];
    if (lease.subnet !== null) {
      claims.push({
        prefix: formatPrefix(lease.subnet.prefix),
        from: 'flannel lease',
        cite: cite(lease.fact, lease.subnet),
      });
    }
    for (const bridge of containerBridges(source)) {
      for (const p of bridge.prefixes) {
        const conf = fixedSubnet(bridge.name);
        const own = lease.subnet?.prefix;
        // a wrong mask around the lease: flannel’s CNI plugin hands out the lease’s addresses all the same, docker those of the bridge
        const mask =
          conf === null &&
          own !== undefined &&
          !isDockers(bridge.name) &&
          p.prefix.length < own.length &&
          prefixCovers(p.prefix, own);
        if (prefixCovers(network.prefix, p.prefix) && !mask)
          claims.push({ prefix: formatPrefix(p.prefix), from: bridge.name, conf, cite: cite(bridge.fact, p) });
      }
    }
    return { ...ties, claims, own: ownMarks(source, network.prefix), unread: null };

    /** Left behind by another program, such a file is the same on every node. */
    function fixedSubnet(bridge: string): string | null {
      const conf = wants.cniConf.find((c) =>
        c.value.plugins.some((p) => p.type === 'bridge' && p.bridge === bridge && p.subnets.length > 0),
      );
      return conf === undefined ? null : conf.path.replace(/^files/, '');
    }
  },
  evaluate(digests) {
    const all = [...digests];
    const judged = all.filter((d) => d.digest.network !== null && d.digest.claims.length > 0);
    const rest = all.filter((d) => !judged.includes(d));
    const notApplicable: { nodes: [string]; because: string }[] = rest
      .filter((d) => d.digest.unread === null)
      .map((d) => ({ nodes: [d.node], because: 'no flannel lease on this node' }));
    const groups = clusterGroups(all.map((d) => ({ ...d, ties: d.digest })));
    const findings: Finding[] = [];
    const unknown: Undecided[] = rest.flatMap((d) =>
      d.digest.unread === null ? [] : [{ nodes: [d.node], because: d.digest.unread, evidence: ['flannel.subnet-env'] }],
    );
    const passes = [];
    const named = new Set<string>();
    const clusterOf = (d: NodeDigest<Claims>) => groups.get(d.node) ?? d.digest.network ?? '';
    const size = new Map<string, number>();
    for (const d of judged) size.set(clusterOf(d), (size.get(clusterOf(d)) ?? 0) + 1);
    // of a fleet of clusters with the usual range all first nodes claim the same
    const untied = new Map<string, Set<string>>();
    for (const clash of clashes(judged)) {
      const { a, b } = clash;
      // the same machine collected twice is one owner
      if (a.machineIdSha256 !== null && a.machineIdSha256 === b.machineIdSha256 && a.bootId === b.bootId) continue;
      const [ga, gb] = [groups.get(a.node) ?? null, groups.get(b.node) ?? null];
      const apart = ga !== null && gb !== null && ga !== gb;
      // each is tied to nodes of its own: two clusters of one range
      if (apart && size.get(ga) !== 1 && size.get(gb) !== 1) continue;
      named.add(a.node).add(b.node);
      const shared = a.digest.own.find((address) => b.digest.own.includes(address));
      if (shared !== undefined) {
        unknown.push({
          nodes: [a.node, b.node],
          because: `${a.node} and ${b.node} both claim ${clash.mine.prefix} and both have the address ${shared}: one machine collected twice, or nodes of two networks`,
          evidence: ['sys.machine-id'],
        });
        continue;
      }
      if (apart) {
        const claimants = untied.get(clash.mine.prefix) ?? new Set();
        untied.set(clash.mine.prefix, claimants.add(a.node).add(b.node));
      } else findings.push(finding(clash, ga !== null && ga === gb));
    }
    for (const [prefix, nodes] of untied) {
      const list = [...nodes] as [string, ...string[]];
      unknown.push({
        nodes: list,
        because: `${few(list)} ${nodes.size === 2 ? 'both' : 'all'} claim ${prefix}, but nothing in their overlay tables ties them to one cluster`,
        evidence: ['bridge.fdb', 'ip.route4'],
      });
    }
    for (const d of judged) {
      const [first] = d.digest.claims;
      if (named.has(d.node) || first === undefined) continue;
      if ((size.get(clusterOf(d)) ?? 0) < 2) {
        unknown.push({
          nodes: [d.node],
          because: 'no bundle of another node is in the case that its tables tie to this cluster',
          evidence: ['flannel.subnet-env'],
        });
      } else passes.push({ node: d.node, cites: [first.cite] as const });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

const few = (nodes: readonly string[]) =>
  nodes.length <= 4
    ? `${nodes.slice(0, -1).join(', ')} and ${nodes.at(-1)}`
    : `${nodes.slice(0, 3).join(', ')} and ${nodes.length - 3} further nodes`;

function finding({ a, b, mine, theirs }: Clash, tied: boolean): Finding {
  const apart =
    a.collectedAt !== null &&
    b.collectedAt !== null &&
    Math.abs(Date.parse(a.collectedAt) - Date.parse(b.collectedAt)) > DAY_MS;
  const text = `Nodes ${a.node} and ${b.node} both own pod subnet ${mine.prefix} (${mine.from} and ${theirs.from})`;
  const doubt = apart
    ? ', but their bundles are more than a day apart: the lease may have moved'
    : tied
      ? ''
      : '; that they are of one cluster is assumed, their overlay tables were not collected';
  return {
    key: mine.prefix,
    severity: apart ? 'medium' : tied ? 'critical' : 'high',
    confidence: apart || !tied ? 'possible' : 'proven',
    nodes: [a.node, b.node],
    message: `${text}${doubt}`,
    cites: [mine.cite, theirs.cite],
    disprove: 'the bundles belong to different clusters, or are of different times',
    ...remedy(typeof mine.conf === 'string' ? mine : theirs),
  };
}

/** A range out of a file comes back with the file: the lease and its state are not at fault. */
function remedy({ conf, from: bridge }: Claim): Pick<Finding, 'remediation'> {
  if (conf === undefined || conf === null) return {};
  return {
    remediation: [
      {
        step: `Drain each of the nodes and take ${conf} out of the way: it gives ${bridge} the same range on every node, whatever flannel leased. The CNI plugin makes the bridge anew from the lease.`,
        run: `mv ${shellWord(conf)} ${shellWord(`${conf}.off`)}; ip link del ${shellWord(bridge)}; rm -rf /var/lib/cni/networks/*; systemctl restart kubelet   # k3s: systemctl restart k3s (or k3s-agent)`,
        verify: '. /run/flannel/subnet.env; ip -4 addr | grep -w "$FLANNEL_SUBNET"',
        undo: `mv ${shellWord(`${conf}.off`)} ${shellWord(conf)}`,
        risk: 'All pods of the node are made anew with new addresses.',
      },
    ],
  };
}

/** Sorted by base, each claim is compared with the widest one still open; one clash a pair of nodes. */
function clashes(nodes: readonly NodeDigest<Claims>[]): Clash[] {
  const all = nodes.flatMap((d) =>
    d.digest.claims.flatMap((claim) => {
      const prefix = parsePrefix(claim.prefix);
      return prefix === null ? [] : [{ d, claim, prefix }];
    }),
  );
  all.sort((x, y) =>
    x.prefix.base < y.prefix.base ? -1 : x.prefix.base > y.prefix.base ? 1 : x.prefix.length - y.prefix.length,
  );
  const found = new Map<string, Clash>();
  let open: typeof all = [];
  for (const item of all) {
    open = open.filter((o) => prefixesOverlap(o.prefix, item.prefix));
    for (const o of open) {
      if (o.d.node === item.d.node || o.d.digest.network !== item.d.digest.network) continue;
      const pair = [o.d.node, item.d.node].sort().join(' ');
      if (!found.has(pair)) found.set(pair, { a: o.d, b: item.d, mine: o.claim, theirs: item.claim });
    }
    open.push(item);
  }
  return [...found.values()];
}
