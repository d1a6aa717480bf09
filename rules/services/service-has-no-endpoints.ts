import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { SERVICE_KINDS } from '../../src/derive/local-services.ts';
import { isVital, noEndpoints, type Unbacked } from '../../src/derive/no-endpoints.ts';
import type { Cite, Finding, Remediation } from '../../src/rule/index.ts';
import { cite, defineClusterRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { Tally } from '../../src/rule/tally.ts';

const WANTS = [...SERVICE_KINDS, 'addresses', 'ipvs', 'nftJson', 'nftText', 'kubeletConfig', 'kubeletArgs'] as const;

/** A few services that stand for a list, and its length. */
interface List {
  readonly count: number;
  /** Equal where the services are. */
  readonly sum: string;
  readonly names: readonly string[];
  readonly cites: readonly Cite[];
}

type Digest =
  | { readonly kind: 'silent' }
  | {
      readonly kind: 'read';
      /** That nothing else is in the list; null: it is not whole. */
      readonly proof: Cite | null;
      readonly path: string;
      readonly evidence: string;
      readonly vital: readonly (List & {
        readonly what: 'API' | 'DNS';
        readonly address: string;
        readonly local: boolean;
      })[];
      readonly others: List | null;
    };

/** So many are named. */
const SHOWN = 4;
/** A finding of more nodes names one of them: in a fleet they all say the same. */
const MOST_NODES = 40;

export const rule = defineClusterRule({
  id: 'service-has-no-endpoints',
  title: {
    bad: 'A service has no endpoints',
    good: 'kube-proxy knows backends of every service',
  },
  severity: 'high',
  explanation:
    'kube-proxy knows no ready pod for a service and refuses connections to it: no pod has the labels of its selector, none is ready, or it is scaled to zero. ' +
    'The network is well: refused at once (ICMP port unreachable) means that the service exists. With a traffic policy of Local, nodes without such a pod drop instead. ' +
    'Services that are scaled to zero on purpose are common; without the cluster’s DNS or API nothing works.',
  remediation: [remedyOf('<namespace>/<service>')],
  references: [REF.kubeDebugService, REF.kubeVips],
  needs: [],
  needsAny: [...SERVICE_KINDS, 'ipvs', 'nftJson'],
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  extract: (view): Digest => {
    const { source } = view;
    const found = noEndpoints(source);
    if (found === null) return { kind: 'silent' };
    const { list, whole, services } = found;
    const vital = services.flatMap((s) => {
      const what = isVital(s, source);
      return what === null ? [] : [{ ...listOf([s]), what, address: s.address, local: !s.everywhere }];
    });
    const known = new Set(vital.map((v) => v.address));
    const others = services.filter((s) => (s.everywhere || s.name === '') && !known.has(s.address));
    return {
      kind: 'read',
      proof: whole ? cite(list.fact, list) : null,
      path: list.fact.path,
      evidence: list.fact.evidence,
      vital,
      others: others.length === 0 ? null : listOf(others),
    };
  },
  evaluate(digests) {
    const tally = new Tally();
    const lists = new Map<string, { readonly list: List; readonly nodes: string[] }>();
    const vitals = new Map<string, { readonly list: Vital; readonly nodes: string[] }>();
    const note = <L>(
      map: Map<string, { readonly list: L; readonly nodes: string[] }>,
      key: string,
      list: L,
      node: string,
    ) => {
      const known = map.get(key);
      if (known === undefined) map.set(key, { list, nodes: [node] });
      else known.nodes.push(node);
    };
    for (const { node, digest } of digests) {
      if (digest.kind === 'silent') continue;
      for (const v of digest.vital) note(vitals, `${v.sum} ${v.local}`, v, node);
      if (digest.others !== null) note(lists, digest.others.sum, digest.others, node);
      if (digest.proof !== null) tally.reached([node], [digest.proof]);
      else
        tally.unknown([node], `whether every service has endpoints: ${digest.path} was not collected whole`, [
          digest.evidence,
        ]);
    }
    const same = new Map<string, string>();
    const tell = (nodes: readonly string[], finding: (nodes: Finding['nodes']) => Finding | null) => {
      const [first, ...more] = nodes;
      if (first === undefined) return;
      const named: Finding['nodes'] = nodes.length > MOST_NODES ? [first] : [first, ...more];
      if (named.length === 1) for (const n of more) same.set(n, first);
      const f = finding(named);
      if (f !== null) tally.fault({ ...f, blame: f.nodes });
    };
    for (const { list, nodes } of vitals.values()) tell(nodes, (named) => vitalFinding(list, named, nodes.length));
    for (const { list, nodes } of lists.values()) tell(nodes, (named) => otherFinding(list, named, nodes.length));
    const verdict = tally.verdict(digests.ids, () => 'no rules of kube-proxy on this node');
    return same.size === 0 ? verdict : withoutPasses(verdict, same);
  },
});

type Vital = Extract<Digest, { kind: 'read' }>['vital'][number];

function listOf(services: readonly Unbacked[]): List {
  const names = services.map(
    ({ name, address, proto, port }) => `${name === '' ? '' : `${name} `}${address}:${port}/${proto}`,
  );
  let sum = 0;
  for (const name of names) {
    let hash = 0x811c9dc5;
    for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    sum = (sum + (hash >>> 0)) % Number.MAX_SAFE_INTEGER;
  }
  const lines = new Map(services.slice(0, SHOWN - 2).map((s) => [`${s.fact.path} ${s.line}`, cite(s.fact, s)]));
  return {
    count: names.length,
    sum: `${names.length} ${sum.toString(16)}`,
    names: names.slice(0, SHOWN),
    cites: [...lines.values()],
  };
}

const onNodes = ([first, second]: readonly string[], count: number): string =>
  count === 1
    ? `${first}`
    : count === 2 && second !== undefined
      ? `${first} and ${second}`
      : `${first} and ${count - 1} other nodes`;

function vitalFinding(v: Vital, nodes: Finding['nodes'], count: number): Finding | null {
  if (!isNonEmpty(v.cites)) return null;
  const [name = ''] = v.names;
  const service = name.includes(' ') ? (name.split(/[: ]/)[0] ?? '') : '';
  const who = v.what === 'DNS' ? 'The cluster’s DNS' : 'The Kubernetes API';
  return {
    key: service === '' ? v.address : (name.split(' ')[0] ?? service),
    severity: 'high',
    confidence: 'likely',
    nodes,
    about: [v.address],
    message: `${who} (${name}) has no ${v.local ? 'backend here' : 'endpoints'}: kube-proxy of ${onNodes(nodes, count)} ${v.local ? 'drops or refuses' : 'refuses'} every connection to it`,
    cites: v.cites,
    remediation: [remedyOf(service)],
    disprove: 'an EndpointSlice of the service with a ready endpoint: then kube-proxy’s rules are old',
  };
}

function otherFinding(list: List, nodes: Finding['nodes'], count: number): Finding | null {
  if (!isNonEmpty(list.cites)) return null;
  const what = list.count === 1 ? 'a service has' : `${list.count} services have`;
  const [name = ''] = list.names;
  return {
    key: 'services',
    severity: 'low',
    confidence: 'likely',
    nodes,
    about: [],
    message: `On ${onNodes(nodes, count)} ${what} no endpoints: ${list.names.join(', ')}${list.count > SHOWN ? ' ...' : ''}`,
    cites: list.cites,
    remediation: [remedyOf(list.count === 1 && name.includes(' ') ? (name.split(/[: ]/)[0] ?? '') : '')],
    disprove: 'an EndpointSlice of the service with a ready endpoint: then kube-proxy’s rules are old',
  };
}

/** `service` is `namespace/name`, else '': of all. */
function remedyOf(service: string): Remediation {
  const [namespace = '', name = ''] = service.split('/');
  const step =
    'Where the service is meant to run: compare its selector with the labels of the pods, and see whether they are ready; then look at its EndpointSlices.';
  if (name === '' || namespace.startsWith('<'))
    return {
      step,
      run: 'kubectl get endpointslices -A | grep unset',
      verify: 'the service is not in the list any more',
      undo: 'none needed',
    };
  const at = `kubectl -n ${shellWord(namespace)}`;
  return {
    step,
    run: `${at} get service ${shellWord(name)} -o wide; ${at} get pods --show-labels; ${at} get endpointslices -l kubernetes.io/service-name=${shellWord(name)}`,
    verify: `${at} get endpointslices -l kubernetes.io/service-name=${shellWord(name)}   # has an address under ENDPOINTS`,
    undo: 'none needed: these commands only read',
  };
}

/** Of a fleet one node stands for those that have the same list. */
function withoutPasses(
  verdict: ReturnType<Tally['verdict']>,
  same: ReadonlyMap<string, string>,
): ReturnType<Tally['verdict']> {
  const passes = verdict.passes.filter((p) => !same.has(p.node));
  const left = verdict.passes.flatMap((p): (typeof verdict.notApplicable)[number][] => {
    const first = same.get(p.node);
    return first === undefined
      ? []
      : [{ nodes: [p.node], because: `the same services have no endpoints as on ${first}` }];
  });
  return { ...verdict, passes, notApplicable: [...verdict.notApplicable, ...left] };
}
