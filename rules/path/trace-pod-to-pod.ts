import { isNonEmpty } from '../../src/core/span.ts';
import { type PathPod, type PathPods, pathPods } from '../../src/derive/path-pods.ts';
import { byNode, clusterMembers, daysApart, isSampled, MOST_NODES } from '../../src/derive/path-sample.ts';
import { fleetOf, type Lost, lostEnd, lostKey, type NetCluster, probe } from '../../src/net/index.ts';
import { citeTraced, definePathRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { Tally } from '../../src/rule/tally.ts';

const PROBES = [{ proto: 'icmp' }, { proto: 'tcp', port: 80 }, { proto: 'udp', port: 53 }] as const;

export const rule = definePathRule({
  id: 'trace-pod-to-pod',
  title: {
    bad: 'Pods cannot reach pods',
    good: 'Pods reach pods with small packets, as far as the collected tables go',
  },
  severity: 'critical',
  explanation:
    'A packet from one pod to another and its answer were followed through the collected tables of every node on the way, as the kernel would: ' +
    'routes, bridges, tunnels, every ruleset. The packets are small: what an MTU does to full ones is not asked here (netcase trace --size). The hop and the line that end it are the finding. A rule that knows the fault by name explains it better; then this one is its symptom.',
  remediation: [
    {
      step: 'Mend what the last hop names; then follow the packet again, first on paper:',
      run: 'netcase trace --case incident.netcase --from <pod> --to <pod> --if "<the change> @<node>"',
      verify: 'ping -c1 <pod IP> from the other pod',
    },
  ],
  references: [REF.flannelTroubleshooting, REF.kubeVips],
  explains: ['trace-pod-to-service-and-external'],
  needs: ['addresses', 'routes4'],
  wants: ['links', 'bridges', 'sysfs', 'dockerNetworks', 'flannelEnv', 'fdb', 'netnsAddresses', 'neighbours'],
  extract: ({ source }): PathPods => pathPods(source),
  evaluate(digests, nodes) {
    const tally = new Tally();
    const known = [...digests].map(({ node, bootId, digest }) => ({ node, bootId, ...digest })).sort(byNode);
    const why = new Map(known.map((d) => [d.node, d.because]));
    const times = new Map([...digests].map((d) => [d.node, d.collectedAt]));
    for (const d of known) if (d.evidence.length > 0) tally.unknown([d.node], d.because, d.evidence);
    const able = known.filter((d) => d.pods.length > 0);
    if (able.length > MOST_NODES)
      return tally.verdict(digests.ids, () => `more than ${MOST_NODES} nodes: netcase reach follows every pair`);
    const follow = (fleet: NetCluster, from: PathPod, to: PathPod, ends: { from: string; to: string }) => {
      const lost = new Map<string, { key: string; first: Lost; protos: string[] }>();
      for (const p of PROBES) {
        const probed = probe(fleet, { from: `${ends.from}/${from.inode}`, to: to.address, ...p }, ends);
        const both = [...new Set([ends.from, ends.to])];
        if (probed.kind === 'reached') tally.reached(both, probed.cites.map(citeTraced));
        else if (probed.kind === 'unknown')
          tally.unknown(both, `whether pods reach pods: ${probed.because}`, probed.evidence);
        else if (probed.kind === 'lost') {
          const key = lostKey(probed);
          const at = lost.get(`${probed.hop.node} ${key}`) ?? { key, first: probed, protos: [] };
          at.protos.push(p.proto);
          lost.set(`${probed.hop.node} ${key}`, at);
        }
      }
      for (const { key, first, protos } of lost.values()) {
        const cites = first.cites.map(citeTraced);
        if (!isNonEmpty(cites)) continue;
        const apart = daysApart([...first.trace.hops.map((h) => h.node), first.hop.node, ends.from, ends.to], times);
        const what = protos.length === PROBES.length ? '' : ` by ${protos.join(' and ')}`;
        tally.fault({
          key,
          severity: apart === null ? 'critical' : 'medium',
          confidence: apart === null ? 'proven' : 'possible',
          nodes: [first.hop.node, ends.from, ends.to],
          blame: first.blame,
          message: `${from.address} on ${ends.from} cannot reach ${to.address} on ${ends.to}${what}: ${lostEnd(first)}${apart === null ? '' : `, but ${apart}`}`,
          cites,
          trace: first.trace,
          disprove: `netcase trace --from ${ends.from}/${from.address} --to ${to.address} over a new collection that delivers it`,
        });
      }
    };
    for (const { members, elsewhere } of clusterMembers(able)) {
      const fleet = fleetOf(nodes, elsewhere);
      for (const [i, member] of members.entries()) {
        const { node, pods } = member;
        const [a, b] = pods;
        if (a !== undefined && b !== undefined) {
          follow(fleet, a, b, { from: node, to: node });
          follow(fleet, b, a, { from: node, to: node });
        }
        for (const [from, to] of pairsAt(members, i))
          follow(fleet, from.pods[0] as PathPod, to.pods[0] as PathPod, { from: from.node, to: to.node });
        if (isSampled(members) && i > 0) fleet.forget(node);
      }
    }
    return tally.verdict(digests.ids, (n) => why.get(n) || 'no other pod of its cluster was collected');
  },
});

type Able = PathPods & { readonly node: string };

/** Of a member: to every other one; in a large cluster to and from the first, and to the next. */
function pairsAt(members: readonly Able[], i: number): readonly (readonly [Able, Able])[] {
  const own = members[i] as Able;
  if (!isSampled(members)) return members.filter((m) => m !== own).map((m) => [own, m]);
  const hub = members[0] as Able;
  const next = members[i + 1];
  const star =
    own === hub
      ? []
      : ([
          [hub, own],
          [own, hub],
        ] as const);
  return next === undefined ? star : [...star, [own, next]];
}
