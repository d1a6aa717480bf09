import { isNonEmpty } from '../../src/core/span.ts';
import { clusterGroups } from '../../src/derive/cluster.ts';
import { type PathServices, pathServices } from '../../src/derive/path-services.ts';
import { OUTSIDE } from '../../src/derive/pods.ts';
import { type Ends, fleetOf, type Lost, type NetCluster, probe, type TraceRequest } from '../../src/net/index.ts';
import { citeTraced, definePathRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { Tally } from '../../src/rule/tally.ts';

/** Every node's evidence is opened again: above this many, single packets are followed on demand. */
const MOST_NODES = 20;

type Known = PathServices & { readonly node: string };

/** One connection that somebody wants to make. */
interface Wish {
  readonly request: TraceRequest;
  readonly ends: Ends;
  /** `10.244.1.10 on node-a`, `cluster DNS 10.96.0.10:53/udp`. */
  readonly who: string;
  readonly what: string;
  readonly kind: 'service' | 'outside' | 'port';
  readonly nodes: readonly string[];
}

export const rule = definePathRule({
  id: 'trace-pod-to-service-and-external',
  title: {
    bad: 'Containers cannot reach a service, a published port or the outside',
    good: 'Pods reach the cluster’s DNS and API, containers published ports and the outside, as far as the collected tables go',
  },
  severity: 'high',
  explanation:
    'Packets to the cluster’s DNS, to its API, to published ports and to an address outside were followed through the collected tables, with every ' +
    'backend that the rules may choose. The hop and the line that end them are the finding; where rules choose by chance, the share of new connections that fails. ' +
    'What happens outside the collected nodes is not judged.',
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
  ],
  extract: ({ source }): PathServices => pathServices(source),
  evaluate(digests, nodes) {
    const tally = new Tally();
    const known = [...digests]
      .map(({ node, digest }): Known => ({ node, ...digest }))
      .sort((a, b) => (a.node < b.node ? -1 : 1));
    const why = new Map(known.map((d) => [d.node, d.because]));
    const able = known.filter((d) => d.clients.length > 0 || d.published.length > 0);
    if (able.length > MOST_NODES)
      return tally.verdict(digests.ids, () => `more than ${MOST_NODES} nodes: netcase trace follows a packet`);
    for (const d of known)
      if (d.clients.length === 0 && d.evidence.length > 0) tally.unknown([d.node], d.because, d.evidence);
    const fleet = fleetOf(nodes);
    const groups = clusterGroups(able);
    for (const d of able) {
      const group = groups.get(d.node) ?? null;
      const peers = group === null ? [d] : able.filter((p) => groups.get(p.node) === group);
      for (const wish of wishesOf(d, peers)) follow(tally, fleet, wish, why);
    }
    return tally.verdict(digests.ids, (n) => why.get(n) || 'no container that could ask for anything was collected');
  },
});

function wishesOf(d: Known, peers: readonly Known[]): readonly Wish[] {
  const from = (c: { inode: string; address: string }) => ({
    place: `${d.node}/${c.inode}`,
    who: `${c.address} on ${d.node}`,
  });
  const vips = new Map(peers.flatMap((p) => p.vips).map((v) => [`${v.address} ${v.port} ${v.proto}`, v]));
  // two pods: a backend of the service reaches itself by another way than its neighbours reach it
  const services = d.pods.flatMap((pod) =>
    [...vips.values()].map((v): Wish => {
      const { place, who } = from(pod);
      const { proto, port, address } = v;
      return {
        request: { from: place, to: address, proto, port },
        ends: { from: d.node, to: null },
        who,
        kind: 'service',
        what: `${v.name} (${address}:${port}/${proto})`,
        nodes: [d.node],
      };
    }),
  );
  const outside = (d.leads ? d.clients : []).map((c): Wish => {
    const { place, who } = from(c);
    return {
      request: { from: place, to: OUTSIDE, proto: 'tcp', port: 443 },
      ends: { from: d.node, to: null },
      who,
      kind: 'outside',
      what: `${OUTSIDE}, which stands for the outside`,
      nodes: [d.node],
    };
  });
  const other = peers.find((p) => p.node !== d.node);
  const published = d.published.flatMap((p): Wish[] => {
    const { address, port, proto } = p;
    const wish = (place: string, who: string, fromNode: string): Wish => ({
      request: { from: place, to: address, proto, port },
      ends: { from: fromNode, to: d.node },
      who,
      kind: 'port',
      what: `the published port ${address}:${port}/${proto} of ${p.container}`,
      nodes: [...new Set([d.node, fromNode])],
    });
    const client = d.clients.find((c) => !p.own.includes(c.address));
    return [
      wish(d.node, d.node, d.node),
      ...(p.local || client === undefined ? [] : [wish(from(client).place, from(client).who, d.node)]),
      ...(p.local || other === undefined ? [] : [wish(other.node, other.node, other.node)]),
    ];
  });
  return [...services, ...outside, ...published];
}

function follow(tally: Tally, fleet: NetCluster, wish: Wish, why: Map<string, string>): void {
  const probed = probe(fleet, wish.request, wish.ends);
  if (probed.kind === 'reached') tally.reached(wish.nodes, probed.cites.map(citeTraced));
  else if (probed.kind === 'unknown') {
    // what others do with a packet that left as it should is their evidence; a service that leaves untranslated should not
    if (probed.outside && (probed.translated || wish.kind !== 'service'))
      for (const n of wish.nodes) why.set(n, `${wish.what}: ${probed.because}`);
    else tally.unknown(wish.nodes, `whether ${wish.what} is reached: ${probed.because}`, probed.evidence);
  } else if (probed.kind === 'lost') {
    const cites = probed.cites.map(citeTraced);
    if (!isNonEmpty(cites)) return;
    const { request } = wish;
    // a collected router may well refuse an address that only stands for the outside
    if (wish.kind === 'outside' && probed.hop.node !== wish.ends.from) {
      for (const n of wish.nodes)
        why.set(n, `what ${probed.hop.node} does with packets to the outside is its own affair`);
      return;
    }
    // who may use a port is for that chain to say
    if (wish.kind === 'port' && probed.hop.place.includes('DOCKER-USER')) return;
    tally.fault({
      key: `${probed.hop.place}: ${probed.hop.text.replace(/\d+(\.\d+){3}(:\d+)?/g, 'IP')}`,
      // a container of the node itself meets INPUT on the way to docker-proxy: others are served all the same
      severity: wish.kind === 'port' && probed.hop.place.startsWith('filter/INPUT') ? 'medium' : 'high',
      confidence: 'proven',
      nodes: [probed.hop.node, ...wish.nodes],
      blame: probed.blame,
      message: `${wish.who} cannot reach ${wish.what}${shareOf(probed)}: ${endOf(probed)}`,
      cites,
      trace: probed.trace,
      disprove: `netcase trace --from ${request.from} --to ${request.to}:${request.port} over a new collection that delivers it`,
    });
  }
}

const shareOf = ({ share }: Lost): string =>
  share === null ? '' : ` with ${Math.round(share * 1000) / 10} % of new connections`;

function endOf({ half, hop, because }: Lost): string {
  return `${half === 'request' ? '' : 'its answer is '}dropped on ${hop.node} at ${hop.place}: ${because.replace(`${hop.place}: `, '')}`;
}
