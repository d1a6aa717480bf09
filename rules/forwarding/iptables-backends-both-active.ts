import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import {
  type Contested,
  contested,
  type Deciding,
  decidingHooks,
  emptied,
  nftHasIptables,
  type Side,
} from '../../src/derive/backends.ts';
import { doorOf } from '../../src/derive/docker-published.ts';
import { defaultDevice, OUTSIDE, outward, POD_KINDS, podFlows, podNetworks } from '../../src/derive/pods.ts';
import {
  askDestination,
  askForward,
  type Decider,
  decidedBy,
  HOOK_KINDS,
  hookNode,
  routesThrough,
  withoutBackend,
} from '../../src/net/index.ts';
import type { Cite, Finding, NodeView, Remediation } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, findings, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

const LOOK: Remediation = {
  step: 'See which of the two is in use: its counters grow. Programs in images (kube-proxy, flannel, CNI plugins) bring an iptables of their own and choose a backend by the rules that they find.',
  run: 'iptables -V; iptables-legacy-save -c; iptables-nft-save -c',
};
const UNIFY: Remediation = {
  step: 'Let all programs use one backend, then restart those that write rules (docker, kubelet, kube-proxy, flannel), so that their rules are there.',
  verify: 'iptables -V',
};

export const rule = defineNodeRule({
  id: 'iptables-backends-both-active',
  title: {
    bad: 'Rules of iptables-legacy and of iptables-nft are in force at once',
    good: 'Nowhere do both backends of iptables decide',
  },
  severity: 'high',
  explanation:
    'The kernel asks both: a drop in either is final, and an accept in one does not save a packet from the other. Of two rules that give a connection different destinations, that of the backend whose nat chain was registered last wins, so that it depends on what was started first. ' +
    'iptables shows one backend at a time, and so does every program that writes rules: they hide from one another.',
  remediation: [
    LOOK,
    {
      ...UNIFY,
      run: 'update-alternatives --set iptables /usr/sbin/iptables-nft && update-alternatives --set ip6tables /usr/sbin/ip6tables-nft',
      undo: 'update-alternatives --auto iptables && update-alternatives --auto ip6tables',
    },
    { step: 'Empty the other one when nothing writes there any more, or reboot.' },
  ],
  references: [REF.iptablesBackends, REF.nftHooks],
  needs: [],
  needsAny: ['iptables', 'iptablesNft', 'iptablesLegacy'],
  wants: WANTS,
  explains: [
    'forward-drops-pod-traffic',
    'forward-drops-replies',
    'bridge-netfilter-drops-same-bridge',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate(view) {
    const { node, wants, source } = view;
    const { rulesets, gaps } = hookNode(source).host.rules(4);
    const active = rulesets.flatMap((side) => {
      const hooks = decidingHooks(side.ruleset);
      return hooks.size === 0 ? [] : [{ side, hooks }];
    });
    const [one, other] = active;
    if (one !== undefined && other !== undefined) {
      const shared = [...one.hooks.keys()].filter((hook) => other.hooks.has(hook));
      if (isNonEmpty(shared)) return findings(judge(view, [one, other], shared));
      return { kind: 'pass', cites: shown([one, other]) };
    }
    // of one that decides nothing the other may be anything
    const idle = rulesets.filter((r) => r !== one?.side);
    const which = one?.side.backend === 'legacy' ? 'nft' : 'legacy';
    const unread = idle.find((r) => !isClosed(r.fact));
    const open = gaps.find((g) => g.evidence.some((e) => e.includes(`iptables-${which}-save`)));
    const blank = idle.find((r) => r.ruleset.tables.size === 0);
    const kernel = wants.legacyTables.missing ? null : wants.legacyTables;
    const none = which === 'legacy' && kernel !== null && isClosed(kernel) && kernel.value.tables.length === 0;
    const what = `whether iptables-${which} has rules too`;
    if (one !== undefined) {
      if (unread !== undefined)
        return unknown(node.id, `${what}: ${unread.fact.path} was not collected whole`, [unread.fact.evidence]);
      if (open !== undefined) return unknown(node.id, `${what}: ${open.because}`, open.evidence);
      if (blank !== undefined && node.format === 'loose-files' && !none)
        return unknown(node.id, `${what}: ${blank.fact.path} is empty, which a command that failed leaves too`, [
          blank.fact.evidence,
        ]);
      if (which === 'nft' && idle.length === 0 && nftHasIptables(wants.nftJson))
        return unknown(node.id, `${what}: they were collected only as nft prints them`, ['fw.iptables-nft-save']);
      const proofs = idle.flatMap((r) => (isClosed(r.fact) ? [absent(r.fact, 'a rule that decides anything')] : []));
      const without =
        proofs.length > 0 || !none || kernel === null ? [] : [absent(kernel, 'a table of iptables-legacy')];
      return { kind: 'pass', cites: [...shown([one]), ...proofs, ...without] };
    }
    const first = gaps.find((g) => g.evidence.some((e) => e.includes('iptables')));
    if (first !== undefined) return unknown(node.id, `whether both have rules: ${first.because}`, first.evidence);
    return notApplicable('no rule of iptables decides anything on this node');
  },
});

interface Active {
  readonly side: Side;
  readonly hooks: ReadonlyMap<string, Deciding>;
}

function shown([first, ...more]: NonEmpty<Active>): NonEmpty<Cite> {
  const at = ({ side, hooks }: Active) => [...hooks.values()].slice(0, 1).map((d) => cite(side.fact, d));
  const [head, ...rest] = at(first);
  if (head === undefined) throw new Error('a ruleset that decides has a line that does');
  return [head, ...rest, ...more.flatMap(at)];
}

const programOf = ({ backend }: Side) => `iptables-${backend}`;

/** What the pair does to packets, else that it is there. */
function judge(view: View, pair: readonly [Active, Active], shared: NonEmpty<string>): NonEmpty<Finding> {
  const { node, wants } = view;
  const version = wants.iptablesVersion.missing ? 'unknown' : wants.iptablesVersion.value.backend;
  // what `iptables` itself does not write to
  const stale =
    pair.find((a) => version !== 'unknown' && a.side.backend !== version) ??
    pair.find((a) => a.side.backend === 'legacy') ??
    pair[0];
  const remediation: Remediation[] = [
    LOOK,
    UNIFY,
    {
      step: `Empty ${programOf(stale.side)}, when nothing writes there any more.`,
      ...emptied(stale.side),
      risk: 'What these rules drop gets through from then on, what they let in or translate is no longer: those that are meant (a firewall) belong into the other backend first.',
    },
  ];
  const common = { confidence: 'proven', nodes: [node.id], remediation } as const;
  const found = [dropped(view, pair), ...astray(view, pair)].flatMap((f): Finding[] =>
    f === null ? [] : [{ ...common, ...f, severity: 'high' }],
  );
  if (isNonEmpty(found)) return found;
  const lines = pair.map(({ side, hooks }) => ({ side, at: hooks.get(shared[0]) }));
  const says = lines.map(({ side, at }) => `"${at?.text}" of ${programOf(side)}`).join(' and ');
  return [
    {
      ...common,
      key: 'both',
      severity: 'medium',
      latent: true,
      message: `On ${node.id} both backends of iptables decide in ${shared.join(', ')}: ${says}`,
      cites: shownAt(pair, shared[0]),
      disprove: 'counters of one of them that stand still under traffic',
    },
  ];
}

function shownAt([one, other]: readonly [Active, Active], hook: string): NonEmpty<Cite> {
  const at = ({ side, hooks }: Active) => cite(side.fact, { line: hooks.get(hook)?.line ?? 1 });
  return [at(one), at(other)];
}

type Effect = Pick<Finding, 'key' | 'message' | 'cites' | 'disprove'> & Partial<Pick<Finding, 'about'>>;

/** A flow of containers that one side lets through by a rule, and the other drops. */
function dropped({ node, source }: View, pair: readonly [Active, Active]): Effect | null {
  const host = hookNode(source);
  for (const flow of podFlows(source, (pods) => routesThrough(host, outward(pods)).map((r) => r.dev))) {
    if (flow.elsewhere !== null) continue;
    const packet = { ...flow, proto: 'tcp', dport: 443 } as const;
    const both = askForward(host, packet);
    const [drop] = both.deciders;
    const dropper = both.verdict === 'drop' ? pair.find((a) => a.side.fact === drop?.fact) : undefined;
    if (drop === undefined || dropper === undefined) continue;
    const letter = pair.find((a) => a !== dropper) ?? pair[0];
    const alone = askForward(withoutBackend(host, dropper.side.backend), packet);
    const lets = alone.verdict === 'accept' ? alone.deciders.find((d) => d.fact === letter.side.fact) : undefined;
    if (lets === undefined || lets.text.startsWith(':')) continue;
    return {
      key: 'drops',
      message: `On ${node.id} both backends of iptables decide: ${decidedBy(lets)} of ${programOf(letter.side)} lets ${flow.name} (${flow.src} -> ${flow.dst}) through, ${decidedBy(drop)} of ${programOf(dropper.side)} drops them`,
      cites: [cite(drop.fact, { line: drop.line }), cite(lets.fact, { line: lets.line })],
      disprove: 'a rule in front of it that accepts them in the same ruleset',
    };
  }
  return null;
}

/** Destinations that the two sides, each alone, choose differently. */
function astray({ node, source }: View, pair: readonly [Active, Active]): Effect[] {
  const host = hookNode(source);
  const [one, other] = pair;
  return contested([one.side, other.side]).flatMap((asked): Effect[] => {
    const sample = sampleOf(source, asked);
    if (sample === null) return [];
    const kept = `${sample.dst}:${sample.dport}`;
    const [first, second] = [other, one].map((hidden) =>
      askDestination(withoutBackend(host, hidden.side.backend), sample).outcomes.filter(
        (o) => o.to !== null && o.to !== kept,
      ),
    );
    const theirs = new Set(second?.map((o) => o.to));
    const mine = first?.find((o) => !theirs.has(o.to));
    const yours = second?.find((o) => !first?.some((f) => f.to === o.to));
    const lines = [mine?.decider, yours?.decider].filter((d): d is Decider => d != null);
    if (mine === undefined || yours === undefined || !isNonEmpty(lines)) return [];
    const [head, ...rest] = lines;
    return [
      {
        key: `nat ${asked.name}`,
        about: [asked.address ?? asked.name],
        message: `On ${node.id} both backends of iptables translate ${asked.name}: ${programOf(one.side)} to ${mine.to}, ${programOf(other.side)} to ${yours.to}; the one registered last wins, which the rulesets do not tell`,
        cites: [cite(head.fact, { line: head.line }), ...rest.map((d) => cite(d.fact, { line: d.line }))],
        disprove: 'packets’ counters of one of the two that stand still',
      },
    ];
  });
}

/** Who asks for it: a client outside for a port of the node, a pod for a service. */
function sampleOf(source: View['source'], { address, proto, port, name }: Contested) {
  const way = { proto, dport: port } as const;
  if (!name.includes('/')) {
    const [net] = podNetworks(source);
    return net === undefined ? null : { ...way, src: net.sample, dst: address ?? '', iif: net.bridge.name };
  }
  const door = doorOf(source, address, defaultDevice(source));
  return door === null ? null : { ...way, src: OUTSIDE, dst: door.address, iif: door.device };
}
