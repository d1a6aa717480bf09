import { percent } from '../../src/core/percent.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { byNode, clusterMembers, daysApart, isSampled, MOST_NODES } from '../../src/derive/path-sample.ts';
import { type PathServices, pathServices } from '../../src/derive/path-services.ts';
import { type Wish, wishesOf } from '../../src/derive/path-wishes.ts';
import { OUTSIDE } from '../../src/derive/pods.ts';
import { fleetOf, type Lost, lostEnd, lostKey, type NetCluster, type Probed, probe } from '../../src/net/index.ts';
import { citeTraced, definePathRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { Tally } from '../../src/rule/tally.ts';

export const rule = definePathRule({
  id: 'trace-pod-to-service-and-external',
  title: {
    bad: 'Containers cannot reach a service, a published port or the outside, or their node cannot reach them',
    good: 'Pods reach the cluster’s DNS and API, containers published ports and the outside, as far as the collected tables go',
  },
  severity: 'high',
  explanation:
    'Packets to the cluster’s DNS, to its API, to published ports, to an address outside and from a node to a pod of its own were followed through the collected tables, with every ' +
    'backend that the rules may choose. The hop and the line that end them are the finding; where rules choose by chance, the share of new connections that fails. ' +
    'What happens outside the collected nodes is not judged. Of more than 20 nodes a sample is followed: a service of many backends from every nth node ' +
    '(the others do not pass), a published port from the next node, the first port of each node from the node and one of its containers, too.',
  remediation: [
    {
      step: 'Mend what the last hop names; then follow the packet again, first on paper:',
      run: 'netcase trace --case incident.netcase --from <pod> --to <address:port> --if "<the change> @<node>"',
      verify: 'nc -vz <address> <port> in the pod',
    },
  ],
  references: [REF.kubeVips, REF.dockerFirewall, REF.flannelTroubleshooting],
  needs: ['addresses', 'routes4'],
  wants: [
    'links',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'dockerContainers',
    'flannelEnv',
    'fdb',
    'netnsAddresses',
    'iptables',
    'iptablesNft',
    'iptablesLegacy',
    'kubeletConfig',
    'kubeletArgs',
    'neighbours',
  ],
  extract: ({ node, source }): PathServices => pathServices(source, node.collectedAt),
  evaluate(digests, nodes) {
    const tally = new Tally();
    const known = [...digests].map(({ node, bootId, digest }) => ({ node, bootId, ...digest })).sort(byNode);
    const why = new Map(known.map((d) => [d.node, d.because]));
    const times = new Map([...digests].map((d) => [d.node, d.collectedAt]));
    const able = known.filter((d) => d.clients.length > 0 || d.published.length > 0);
    if (able.length > MOST_NODES)
      return tally.verdict(digests.ids, () => `more than ${MOST_NODES} nodes: netcase trace follows a packet`);
    for (const d of known)
      if (d.clients.length === 0 && d.evidence.length > 0) tally.unknown([d.node], d.because, d.evidence);
    for (const { members, elsewhere } of clusterMembers(able)) {
      const fleet = fleetOf(nodes, elsewhere);
      for (const [i, { node }] of members.entries()) {
        const { wishes, left } = wishesOf(members, i);
        // what a node’s pods do not reach either is told once
        const dead = new Set<string>();
        for (const wish of wishes)
          if (wish.kind !== 'probe' || !dead.has(wish.request.to))
            if (follow(tally, fleet, wish, why, times) === 'lost') dead.add(wish.request.to);
        if (left.length > 0)
          tally.partly(node, `a sample of ${members.length} nodes asks for ${left.map(nameOf).join(', ')}`);
        // opened once; a node that serves others is opened again when the next one asks, and stays
        if (isSampled(members) && i > 0) fleet.forget(node);
      }
    }
    return tally.verdict(digests.ids, (n) => why.get(n) || 'no container that could ask for anything was collected');
  },
});

const nameOf = ({ name, backends }: PathServices['vips'][number]): string => `${name} (${backends} backends)`;

function follow(
  tally: Tally,
  fleet: NetCluster,
  wish: Wish,
  why: Map<string, string>,
  times: ReadonlyMap<string, string | null>,
): Probed['kind'] {
  const probed = probe(fleet, wish.request, wish.ends);
  // that a node reaches its pod says nothing of what pods reach
  if (wish.kind === 'probe' && probed.kind !== 'lost') return probed.kind;
  const stranger = wish.kind === 'port' && wish.request.from === OUTSIDE;
  // a rule may well keep strangers out; that no rule lets anybody in is what docker never leaves behind
  if (stranger && !(probed.kind === 'lost' && probed.hop.text.startsWith(':FORWARD '))) return probed.kind;
  if (probed.kind === 'reached') tally.reached(wish.nodes, probed.cites.map(citeTraced));
  else if (probed.kind === 'unknown') {
    // what others do with a packet that left as it should is their evidence; a service that leaves untranslated should not
    if (probed.outside && (probed.translated || wish.kind !== 'service'))
      for (const n of wish.nodes) why.set(n, `${wish.what}: ${probed.because}`);
    else tally.unknown(wish.nodes, `whether ${wish.what} is reached: ${probed.because}`, probed.evidence);
  } else if (probed.kind === 'lost') {
    const cites = probed.cites.map(citeTraced);
    if (!isNonEmpty(cites)) return probed.kind;
    const { request } = wish;
    // a collected router may well refuse an address that only stands for the outside
    if (wish.kind === 'outside' && probed.hop.node !== wish.ends.from) {
      for (const n of wish.nodes)
        why.set(n, `what ${probed.hop.node} does with packets to the outside is its own affair`);
      return probed.kind;
    }
    // who may use a port is for that chain to say
    if (wish.kind === 'port' && probed.hop.place.includes('DOCKER-USER')) return probed.kind;
    const apart = daysApart([...probed.trace.hops.map((h) => h.node), probed.hop.node], times);
    // a container of the node itself meets INPUT on the way to docker-proxy: others are served all the same
    const served = wish.kind === 'port' && probed.hop.place.startsWith('filter/INPUT');
    tally.fault({
      key: lostKey(probed),
      severity: served || apart !== null ? 'medium' : 'high',
      confidence: apart === null ? 'proven' : 'possible',
      nodes: [probed.hop.node, ...wish.nodes],
      blame: probed.blame,
      message: `${wish.who} cannot reach ${wish.what}${shareOf(probed)}: ${lostEnd(probed)}${apart === null ? '' : `, but ${apart}`}`,
      cites,
      trace: probed.trace,
      disprove: `netcase trace --from ${request.from} --to ${request.to}:${request.port} over a new collection that delivers it`,
    });
  }
  return probed.kind;
}

const shareOf = ({ share }: Lost): string => (share === null ? '' : ` with ${percent(share)} of new connections`);
