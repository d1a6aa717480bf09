import { formatPrefix } from '../../src/core/address.ts';
import { percent } from '../../src/core/percent.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { type Dead, judgeEndpoints, type Member, type Rules } from '../../src/derive/dead-endpoints.ts';
import type { DeviceKinds } from '../../src/derive/devices.ts';
import { SERVICE_KINDS } from '../../src/derive/local-services.ts';
import { type PodRoll, podRoll } from '../../src/derive/pod-roll.ts';
import { type ServiceSet, serviceSet } from '../../src/derive/service-compare.ts';
import { type Endpoint, lineOf } from '../../src/derive/service-endpoints.ts';
import { restartProxy } from '../../src/derive/service-remedy.ts';
import { type Silent, silentEndpoints } from '../../src/derive/silent-endpoints.ts';
import { type Stray, strayEndpoints } from '../../src/derive/stray-endpoints.ts';
import type { CaseNodes, Cite, Finding, NodeView } from '../../src/rule/index.ts';
import { absent, cite, definePathRule, isClosed, lineCite } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { Tally } from '../../src/rule/tally.ts';

const DEVICES = ['addresses', 'links', 'bridges', 'sysfs', 'dockerNetworks'] as const satisfies readonly DeviceKinds[];
const WANTS = [...SERVICE_KINDS, ...DEVICES, 'flannelEnv', 'netnsIndex', 'netnsAddresses'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

interface Digest {
  readonly set: ServiceSet | null;
  readonly roll: PodRoll | null;
  /** Path of flannel's subnet.env. */
  readonly path: string;
}

/** So many are named. */
const SHOWN = 3;
/** So many pods of a case are asked whether they listen: each is a file more to read. */
const MOST_PODS = 16;

const SLICES = {
  step: 'Compare the service’s EndpointSlices with the pods that there are. Where a slice has the address, look for a node that is NotReady, or at the controller manager; where none has it, kube-proxy’s rules are old.',
  run: 'kubectl get endpointslices -A -o wide; kubectl get pods -A -o wide',
  verify: 'the address is in no EndpointSlice and in no rule of kube-proxy any more',
  undo: 'none needed: these commands only read',
} as const;
const PORT = {
  step: 'Compare the service’s targetPort with the port that the program in the pod listens on; correct the one that is wrong, and give the pod a readinessProbe.',
  run: 'kubectl get services -A -o wide',
  verify: 'nc -vz <pod address> <port> from another pod',
  undo: 'none needed: this command only reads',
} as const;

export const rule = definePathRule({
  id: 'service-endpoint-dead',
  title: {
    bad: 'A service sends connections where no pod answers',
    good: 'Endpoints of services among the node’s pod addresses are pods of it',
  },
  severity: 'high',
  explanation:
    'kube-proxy chooses an endpoint for each new connection by chance. One that is gone, or on whose port nothing listens, shows as a share of connections that fail while the others work. ' +
    'The rules of up to three nodes of a cluster are read for endpoints, and each is looked for at the node that has its address in its pod range, whose own rules must have it, too; ' +
    'one in flannel’s network that is in nobody’s range must at least have a route. ' +
    'A sample of pods is asked whether something listens.',
  remediation: [SLICES, restartProxy(null, null)],
  references: [REF.kubeDebugService, REF.kubeVips],
  needs: [],
  needsAny: [...SERVICE_KINDS, 'flannelEnv'],
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  extract: ({ node, source }: View): Digest => {
    const env = source.get('flannelEnv');
    const { netns, pid1netns } = node.context;
    const set = serviceSet(source);
    const roll = set === null ? null : podRoll(source, [netns, pid1netns], node.evidence);
    return { set, roll, path: env.missing ? '' : env.path };
  },
  evaluate(digests, nodes) {
    const tally = new Tally();
    const why = new Map<string, string>();
    const members = [...digests].flatMap(
      ({ node, collectedAt, digest: { set, roll, path } }): (Member & { path: string })[] => {
        if (set === null)
          why.set(node, 'no services of kube-proxy (iptables mode) and their API servers were read here');
        else if (roll === null) why.set(node, 'flannel has no lease here that tells which pods are this node’s');
        return set === null ? [] : [{ node, at: Date.parse(collectedAt ?? ''), set, roll, path }];
      },
    );
    members.sort((a, b) => (a.node < b.node ? -1 : 1));
    const paths = new Map(members.map((m) => [m.node, m.path]));
    const opened = new Map<string, ReturnType<CaseNodes['source']>>();
    const open = (node: string) => {
      if (!opened.has(node)) opened.set(node, nodes.source(node));
      return opened.get(node);
    };
    let pods = MOST_PODS;
    for (const cluster of Map.groupBy(members, (m) => m.set.api).values()) {
      const { dead, alive, open: questions, read, elsewhere } = judgeEndpoints(cluster, open);
      for (const list of Map.groupBy(dead, (d) => `${d.owner.node} ${d.rules.node}`).values()) {
        const f = deadFinding(list, open(list[0]?.owner.node ?? ''), paths);
        if (f !== null) tally.fault({ ...f, blame: f.nodes });
      }
      for (const { node, fact, ruleset, endpoints } of read) {
        const source = open(node);
        const stray = source === undefined ? null : strayEndpoints(source, elsewhere.get(node) ?? []);
        const lost = stray === null ? null : strayFinding(node, stray, endpoints, { fact, ruleset });
        if (lost !== null) tally.fault({ ...lost, blame: lost.nodes });
        if (source === undefined || pods <= 0) continue;
        const { silent, asked } = silentEndpoints(source, endpoints, pods);
        pods -= asked;
        for (const s of silent) {
          const f = silentFinding(node, s, fact, lineOf(ruleset, s.endpoint));
          if (f !== null) tally.fault({ ...f, blame: f.nodes });
        }
      }
      for (const { node, roll, path } of cluster) {
        const question = questions.get(node);
        if (question !== undefined) tally.unknown([node], question.because, question.evidence);
        else if (roll !== null && alive.has(node)) tally.reached([node], [leaseCite(node, roll, path)]);
      }
    }
    return tally.verdict(
      digests.ids,
      (node) => why.get(node) ?? 'no service has an endpoint among the pods of this node',
    );
  },
});

const leaseCite = (node: string, { line }: PodRoll, path: string): Cite =>
  lineCite({ node, evidence: 'flannel.subnet-env', path }, line);

const shareOf = ({ share }: Endpoint): string =>
  share === null ? 'connections' : `${percent(share)} of new connections`;
const placeOf = ({ address, port }: Endpoint): string => `${address}:${port}`;

/** Endpoints of one node's range that the rules of one node have. */
function deadFinding(
  list: readonly Dead[],
  owner: ReturnType<CaseNodes['source']>,
  paths: ReadonlyMap<string, string>,
): Finding | null {
  const [first] = list;
  const index = owner?.get('netnsIndex');
  if (first === undefined || index === undefined || index.missing || !isClosed(index) || first.owner.roll === null)
    return null;
  const { rules, others } = first;
  const at = first.owner.node;
  const says = list
    .slice(0, SHOWN)
    .map(({ endpoint }) => `${endpoint.service} sends ${shareOf(endpoint)} to ${placeOf(endpoint)}`);
  const more = list.length > SHOWN ? `, and ${list.length - SHOWN} more like these` : '';
  const old = isNonEmpty(others);
  const cites: Cite[] = [
    ...list.slice(0, SHOWN).map((d) => cite(d.rules.fact, d)),
    leaseCite(at, first.owner.roll, paths.get(at) ?? ''),
    absent(index, `a network namespace that has ${first.endpoint.address}`),
  ];
  if (!isNonEmpty(cites)) return null;
  return {
    key: old ? `rules of ${rules.node} for pods of ${at}` : 'gone',
    severity: list.some((d) => d.lasting) ? 'high' : 'medium',
    confidence: list.some((d) => d.lasting) ? 'likely' : 'possible',
    nodes: rules.node === at ? [at] : [rules.node, at],
    about: list.map(({ endpoint }) => endpoint.address),
    message: `${old ? `On ${rules.node} ` : ''}${says.join('; ')}${more}: no pod of ${at} has ${list.length === 1 ? 'that address' : 'these addresses'}${old ? `, and the rules of ${others.join(' and ')}, which were collected before and after it, do not have ${list.length === 1 ? 'it' : 'them'} any more` : ''}`,
    cites,
    remediation: old ? [restartProxy(null, rules.node), SLICES] : [SLICES],
    disprove: 'a pod that ended or began while its node was collected',
  };
}

/** Endpoints of a node that is gone: in flannel's network, and no route leads there. */
function strayFinding(
  node: string,
  { endpoints: list, network, env, routes, route }: Stray,
  all: readonly Endpoint[],
  { fact, ruleset }: Pick<Rules, 'fact' | 'ruleset'>,
): Finding | null {
  const lines = list.slice(0, SHOWN).flatMap((e) => lineOf(ruleset, e) ?? []);
  const says = list.slice(0, SHOWN).map((e) => `${e.service} sends ${shareOf(e)} to ${placeOf(e)}`);
  const more = list.length > SHOWN ? `, and ${list.length - SHOWN} more like these` : '';
  const lost = new Set(list.map((e) => `${e.key} ${placeOf(e)}`));
  const whole = list.some(({ key }) => all.every((e) => e.key !== key || lost.has(`${key} ${placeOf(e)}`)));
  const way = route === undefined ? 'no route at all' : 'only its default route';
  if (!isClosed(routes)) return null;
  const cites: [Cite, ...Cite[]] = [
    absent(routes, `a route to ${list[0]?.address} that is not the default`),
    ...lines.map((line) => cite(fact, { line })),
    cite(env, { line: network.line }),
    ...(route === undefined ? [] : [cite(routes, route)]),
  ];
  if (lines.length === 0) return null;
  return {
    key: 'no node has the range',
    severity: whole ? 'high' : 'medium',
    confidence: 'likely',
    nodes: [node],
    about: list.map((e) => e.address),
    message: `${says.join('; ')}${more}: in flannel’s network ${formatPrefix(network.prefix)}, but in no collected node’s range, and ${node} has ${way} to ${list.length === 1 ? 'it' : 'them'}`,
    cites,
    remediation: [SLICES, restartProxy(null, node)],
    disprove: 'another router of the network that knows the way to these pods',
  };
}

function silentFinding(
  node: string,
  { endpoint, sockets, listens }: Silent,
  fact: Parameters<typeof cite>[0],
  line: number | null,
): Finding | null {
  if (line === null || !isClosed(sockets)) return null;
  const proto = endpoint.key.split(' ')[1];
  const does = listens.length === 0 ? 'on no port' : `on ${listens.slice(0, 5).join(', ')}`;
  return {
    key: `nothing listens for ${endpoint.service}`,
    severity: 'medium',
    confidence: 'likely',
    nodes: [node],
    about: [endpoint.address],
    message: `${endpoint.service} sends ${shareOf(endpoint)} to ${placeOf(endpoint)} on ${node}, where nothing listens on ${endpoint.port}/${proto}: the pod listens ${does}`,
    cites: [cite(fact, { line }), absent(sockets, `a ${proto} listener on port ${endpoint.port}`)],
    remediation: [PORT],
    disprove: 'a program that was just starting, or one that listens without a socket of the kernel',
  };
}
