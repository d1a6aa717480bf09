import { isNonEmpty } from '../../src/core/span.ts';
import { clusterTies, ownTies } from '../../src/derive/cluster.ts';
import { POD_KINDS } from '../../src/derive/pods.ts';
import { type Astray, astrayServices, withoutCulprit } from '../../src/derive/service-astray.ts';
import { compareServices, isTied, type Lack, type ServiceSet, serviceSet } from '../../src/derive/service-compare.ts';
import { firstService, hookRemedy, natOf, type Saved, unhooked } from '../../src/derive/service-hooks.ts';
import { hasServices } from '../../src/derive/service-keys.ts';
import {
  ipvsMode,
  kubeletOf,
  type Mode,
  nftMode,
  otherProxy,
  PROXY_KINDS,
  proxyChain,
  proxyTrace,
  standsAlone,
} from '../../src/derive/service-proxy.ts';
import { EMPTIED, restartProxy } from '../../src/derive/service-remedy.ts';
import { askDestination, HOOK_KINDS, hookNode, RULESET_KINDS } from '../../src/net/index.ts';
import type { CaseNodes, Cite, Finding, NodeInfo, NodeView } from '../../src/rule/index.ts';
import { absent, cite, definePathRule, isClosed } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';
import { Tally } from '../../src/rule/tally.ts';

const WANTS = [...HOOK_KINDS, ...PROXY_KINDS, ...POD_KINDS, 'fdb'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

type Answer =
  | { readonly kind: 'silent'; readonly because: string }
  | { readonly kind: 'open'; readonly because: string; readonly evidence: readonly string[] }
  | { readonly kind: 'faults'; readonly faults: readonly Finding[] }
  /** A node of Kubernetes with no rule of any kube-proxy: whether there should be some its peers tell. */
  | { readonly kind: 'bare'; readonly cites: readonly Cite[] }
  | { readonly kind: 'served'; readonly cites: readonly Cite[]; readonly set: ServiceSet | null };

interface Digest {
  readonly answer: Answer;
  /** Marks by which peers know the node. */
  readonly own: readonly string[];
}

/** Services that every pod asks for: as symptoms name them. */
const ABOUT = ['default/kubernetes', 'kube-system/kube-dns', 'kube-system/coredns', 'kube-system/rke2-coredns'];

export const rule = definePathRule({
  id: 'service-proxy-not-programmed',
  title: {
    bad: 'Kubernetes services are not programmed on a node',
    good: 'kube-proxy’s rules for services are there, and packets come to them',
  },
  severity: 'critical',
  explanation:
    'A ClusterIP is no address of any machine: it is rules that kube-proxy writes on every node. Where they are gone, or a jump to them is, packets to services leave by the default route or are refused; ' +
    'pods reach each other’s own addresses as before. Somebody emptied the tables after kube-proxy started, or kube-proxy hangs or does not reach the API.',
  remediation: [restartProxy(null, null), EMPTIED],
  references: [REF.kubeVips, REF.kubeDebugService],
  needs: [],
  needsAny: [...RULESET_KINDS, 'ipvs', 'kubeletArgs', 'k3sArgs'],
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  extract: (view): Digest => {
    const answer = answerOf(view);
    const own = answer.kind === 'served' ? ownTies(view.source) : [];
    return { answer, own };
  },
  evaluate(digests, nodes) {
    const tally = new Tally();
    const silent = new Map<string, string>();
    const asked: string[] = [];
    const known = [...digests];
    const served = known.flatMap(({ node, collectedAt, digest: { answer, own } }) =>
      answer.kind === 'served' ? [{ node, at: Date.parse(collectedAt ?? ''), answer, own }] : [],
    );
    for (const { node, digest } of known) {
      const { answer } = digest;
      if (answer.kind === 'silent') silent.set(node, answer.because);
      else if (answer.kind === 'open') tally.unknown([node], answer.because, answer.evidence);
      else if (answer.kind === 'served') tally.reached([node], answer.cites);
      else if (answer.kind === 'faults') for (const f of answer.faults) tally.fault({ ...f, blame: f.nodes });
      else if (bare(tally, node, answer.cites, served, nodes) === 'open') asked.push(node);
    }
    const because =
      'whether anything serves ClusterIPs here: a kubelet runs, no kube-proxy was seen, and no rules of one are there';
    tally.unknown(asked, because, ['k8s.kube-proxy-configmap']);
    const sets = served.flatMap(({ node, at, answer: { set } }) => (set === null ? [] : [{ node, at, set }]));
    const { lacks, left } = compareServices(sets, (node) => nodes.source(node));
    for (const lack of lacks) for (const f of lackFindings(lack)) tally.fault({ ...f, blame: f.nodes });
    const more = 'it has other services than most nodes of its cluster, and only some such nodes were compared';
    for (const node of left) tally.unknown([node], more, []);
    return tally.verdict(digests.ids, (node) => silent.get(node) ?? '');
  },
});

function answerOf(view: View): Answer {
  const { node, source } = view;
  const { rulesets, gaps } = hookNode(source).host.rules(4);
  const programmed = rulesets.filter((r) => hasServices(r.ruleset));
  const missing = unhooked(programmed);
  const modes = [ipvsMode(source), nftMode(source)];
  const working = modes.find((m) => m.kind === 'serves');
  const [first] = programmed;
  if (first !== undefined && missing.length === 0) {
    const ask = (sample: Parameters<typeof askDestination>[1]) => askDestination(hookNode(source), sample);
    const astray = otherProxy(source) === null && isHost(node) ? astrayServices(source, programmed, ask) : [];
    if (astray.length > 0) return { kind: 'faults', faults: astray.map((a) => astrayFinding(node, a)) };
    return { kind: 'served', cites: signs(first), set: serviceSet(source) };
  }
  if (working?.kind === 'serves')
    return { kind: 'served', cites: working.signs.map((s) => cite(s.fact, s)), set: null };
  const kubelet = kubeletOf(source);
  const trace = proxyTrace(source, rulesets);
  const runs = typeof kubelet === 'object' ? kubelet : null;
  // processes of kube-proxy are seen across namespaces: that of a node in a container (kind) is not the host's
  const chains = trace !== null && (!trace.runs || proxyChain(rulesets) !== null);
  if (kubelet === 'none' && !(trace?.runs === true && chains)) return silent('no kubelet runs on this node');
  const agent = otherProxy(source);
  if (agent !== null) return silent(`services may be the affair of ${agent.name} here, and not of kube-proxy`);
  if (runs === null && !chains) return silent('nothing that was collected tells of Kubernetes');
  if (!isHost(node))
    return open('the collector ran inside another network namespace, whose rules are not the node’s', []);
  const what = first === undefined ? 'whether services have rules here' : 'whether packets come to the services’ rules';
  if (kubelet === 'none')
    return open(`${what}: no kubelet runs, and whether the kube-proxy that does is this node’s is not known`, []);
  const doubt = doubtOf(modes, rulesets, node) ?? gaps.find((g) => g.rewrites);
  if (doubt !== undefined) return open(`${what}: ${doubt.because}`, doubt.evidence);
  if (first !== undefined) return { kind: 'faults', faults: missing.map((m) => hookFinding(view, m, runs !== null)) };
  if (runs === null)
    return open(`${what}: none are there, and whether a kubelet runs was not collected`, ['kubelet.cmdline']);
  if (standsAlone(source)) return silent('the kubelet runs without an API server (no --kubeconfig)');
  const six = sixOnly(view);
  if (six !== null) return six;
  const empty = modes.find((m) => m.kind === 'empty');
  const cites = [cite(runs.fact, runs), ...rulesets.flatMap((r) => lacking(r))];
  if (empty?.kind === 'empty') {
    for (const s of empty.signs) cites.push(cite(s.fact, s));
    if (isClosed(empty.looked)) cites.push(absent(empty.looked, empty.lacks));
  }
  if (trace === null && empty === undefined) return { kind: 'bare', cites };
  if (trace !== null && trace !== runs) cites.push(cite(trace.fact, trace));
  const says =
    trace?.runs === true
      ? 'although kube-proxy runs'
      : empty === undefined
        ? 'kube-proxy was there and what is left of it are chains without services'
        : 'what is left of kube-proxy has no services in it';
  return isNonEmpty(cites) ? { kind: 'faults', faults: [noneFinding(node, source, says, cites)] } : open(what, []);
}

const isHost = ({ context: { netns, pid1netns } }: NodeInfo): boolean =>
  netns === null || pid1netns === null || netns === pid1netns;

const silent = (because: string): Answer => ({ kind: 'silent', because });
const open = (because: string, evidence: readonly string[]): Answer => ({ kind: 'open', because, evidence });

/** A service's rule, and the jump to it. */
function signs(saved: Saved): Cite[] {
  const service = firstService(saved);
  return service === null ? [] : [cite(saved.fact, service)];
}

/** Why services may have rules that nothing shows. */
function doubtOf(modes: readonly Mode[], rulesets: readonly Saved[], { format }: NodeInfo) {
  for (const mode of modes) if (mode.kind === 'unknown') return mode;
  const cut = rulesets.find((r) => !isClosed(r.fact));
  if (cut !== undefined) return { because: `${cut.fact.path} was not collected whole`, evidence: [cut.fact.evidence] };
  const blank = format === 'loose-files' ? rulesets.find((r) => r.ruleset.tables.size === 0) : undefined;
  if (blank === undefined) return undefined;
  return {
    because: `${blank.fact.path} is empty, which a command that failed leaves too`,
    evidence: [blank.fact.evidence],
  };
}

/** In a cluster of IPv6 kube-proxy has no ClusterIP in iptables. */
function sixOnly({ wants }: View): Answer | null {
  for (const fact of [wants.ip6tables, wants.ip6tablesNft, wants.ip6tablesLegacy]) {
    if (fact.missing) continue;
    const texts = fact.value.tables.get('nat')?.chains.get('KUBE-SERVICES')?.texts() ?? [];
    if (texts.some((t) => t.includes(' -j KUBE-SVC-'))) return silent('the cluster’s services are of IPv6 alone');
  }
  const { addresses, ip6tables } = wants;
  const six =
    !addresses.missing &&
    addresses.value.devices.some((d) => d.addresses.some((a) => a.family === 6 && a.scope === 'global'));
  return six && ip6tables.missing && !ip6tables.lookedFor
    ? open('whether the cluster’s services are of IPv6 alone: fw.ip6tables-save was not collected', [
        'fw.ip6tables-save',
      ])
    : null;
}

function lacking({ fact }: Saved): Cite[] {
  return isClosed(fact) ? [absent(fact, 'a ClusterIP in KUBE-SERVICES')] : [];
}

function noneFinding(
  { id, hostname }: Pick<NodeInfo, 'id' | 'hostname'>,
  source: Parameters<typeof restartProxy>[0],
  says: string,
  cites: Finding['cites'],
): Finding {
  return {
    key: 'none',
    severity: 'critical',
    confidence: 'likely',
    nodes: [id],
    about: ABOUT,
    message: `No Kubernetes service has a rule on ${id}, ${says}: ClusterIPs are dead for its pods and for the node itself`,
    cites,
    remediation: [restartProxy(source, hostname), EMPTIED],
    disprove: 'another program in kube-proxy’s place, or a kube-proxy that was just starting',
  };
}

function hookFinding({ node }: View, { hook, saved }: ReturnType<typeof unhooked>[number], sure: boolean): Finding {
  const { base, target, severity, says } = hook;
  const { fact } = saved;
  const chain = natOf(saved)?.chains.get(base);
  const jump = `a jump from nat ${base} to ${target} that packets come to`;
  const service = firstService(saved);
  return {
    key: `${base} ${target}`,
    severity,
    confidence: sure ? 'proven' : 'likely',
    nodes: [node.id],
    about: base === 'KUBE-SERVICES' ? [] : ABOUT,
    message: `On ${node.id} nothing leads from nat ${base} to ${target}: ${says}`,
    cites: [
      isClosed(fact) ? absent(fact, jump) : cite(fact, { line: 1 }),
      ...(chain === undefined ? [] : [cite(fact, { line: chain.line })]),
      ...(service === null || target !== 'KUBE-SERVICES' ? [] : [cite(fact, service)]),
    ],
    remediation: [hookRemedy(hook, saved)],
    disprove: 'a kube-proxy that was just starting, or another program that serves these services',
  };
}

/** Services whose rules are there, and packets of pods pass them by. */
function astrayFinding({ id, hostname }: NodeInfo, astray: Astray): Finding {
  const { key, says, addresses, part, sure, lines } = astray;
  const remedy = astray.culprit === null ? restartProxy(null, hostname) : withoutCulprit(astray.culprit);
  const [first, ...more] = lines;
  return {
    key: `astray ${key}`,
    severity: part ? 'high' : 'critical',
    confidence: sure ? 'proven' : 'likely',
    nodes: [id],
    about: addresses,
    message: `On ${id} ${says}`,
    cites: [cite(first.fact, first), ...more.map((l) => cite(l.fact, l))],
    ...(remedy === null ? {} : { remediation: [remedy] }),
    disprove: 'a program that the rule hands these packets to and that serves them',
  };
}

/** No trace of kube-proxy: a peer of the same cluster that has services shows that it should be there. */
function bare(
  tally: Tally,
  node: string,
  cites: readonly Cite[],
  served: readonly ServedNode[],
  nodes: CaseNodes,
): 'told' | 'open' {
  const source = served.length === 0 ? undefined : nodes.source(node);
  const { ties } = source === undefined ? { ties: null } : clusterTies(source);
  const peer = served.find(({ own }) => isTied(ties, own));
  const all = [...cites, ...(peer?.answer.cites ?? [])];
  if (source === undefined || peer === undefined || !isNonEmpty(all)) return 'open';
  const f = noneFinding({ id: node, hostname: node }, source, `while its peer ${peer.node} has them`, all);
  tally.fault({ ...f, blame: f.nodes });
  return 'told';
}

const SHOWN = 3;

interface ServedNode {
  readonly node: string;
  readonly answer: Extract<Answer, { kind: 'served' }>;
  readonly own: readonly string[];
}

/** A node that lacks what its peers have. */
function lackFindings(lack: Lack): Finding[] {
  const { node, peers, surrounded, fact, services, shown, nodePorts } = lack;
  const when = surrounded ? 'which were collected before and after it' : 'which was collected at about the same time';
  const common = {
    severity: surrounded ? 'high' : 'medium',
    confidence: surrounded ? 'likely' : 'possible',
    nodes: [node],
    latent: !surrounded,
    remediation: [restartProxy(null, node)],
    disprove: 'a service that was made or deleted while the nodes were collected',
  } as const;
  const out: Finding[] = [];
  const names = services.slice(0, SHOWN).map((s) => (s.name === '' ? s.key : `${s.name} (${s.key})`));
  if (shown !== null && isClosed(fact))
    out.push({
      ...common,
      key: 'services',
      about: services.slice(0, SHOWN).map((s) => s.key.split(' ')[0] ?? ''),
      message: `${node} has no rule for ${services.length === 1 ? 'a ClusterIP' : `${services.length} ClusterIPs`} of ${peers.join(' and ')}, ${when}: ${names.join(', ')}${services.length > SHOWN ? ' ...' : ''}`,
      cites: [absent(fact, `a rule for ${services[0]?.key} in KUBE-SERVICES`), cite(shown.fact, shown)],
    });
  if (nodePorts !== null)
    out.push({
      ...common,
      key: 'node ports',
      about: [],
      message: `KUBE-NODEPORTS is empty on ${node}; that of ${peers.join(' and ')}, ${when}, has ${nodePorts.there} rules: NodePorts are refused here`,
      cites: [cite(nodePorts.own.fact, nodePorts.own), cite(nodePorts.peer.fact, nodePorts.peer)],
    });
  return out;
}
