import { percent } from '../core/percent.ts';
import type { NonEmpty } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import { iptablesOf } from './accept-range.ts';
import { type LiveSource, podNetworks } from './pods.ts';
import type { Saved } from './service-hooks.ts';
import { serviceRules, serviceRulesAt } from './service-rules.ts';

interface Line {
  readonly fact: Fact<FactKind>;
  readonly line: number;
}

/** Services that pods ask for and whose packets do not come to their backends, though the rules are there; all for one reason. */
export interface Astray {
  readonly key: string;
  /** `what pods send to kube-system/kube-dns:dns (10.96.0.10:53/udp) is not translated, and goes nowhere: ...` */
  readonly says: string;
  readonly addresses: readonly string[];
  /** Only some of the connections are lost, by chance. */
  readonly part: boolean;
  /** What keeps or leads them away is known. */
  readonly sure: boolean;
  /** The rule that sends them elsewhere, or keeps them from kube-proxy's. */
  readonly culprit: Decider | null;
  /** Of each service its rule, then what is wrong. */
  readonly lines: NonEmpty<Line>;
}

/** One service. */
interface Lost {
  readonly what: string;
  readonly address: string;
  readonly at: Line;
  /** Where the packets go instead; null: they keep the service's address. */
  readonly to: string | null;
  readonly culprit: Decider | null;
  /** A chain of the service that is empty. */
  readonly empty: (Line & { readonly name: string }) | null;
  /** Of new connections, 0 to 1. */
  readonly share: number;
}

/** A rule that decided. */
interface Decider extends Line {
  readonly text: string;
  /** `nat/PREROUTING`, `nat/PREROUTING > KUBE-SEP-...` */
  readonly place: string;
}

/** What nat makes of the destination of a packet that comes to the host. */
type AskDestination = (sample: {
  readonly src: string;
  readonly dst: string;
  readonly proto: 'tcp' | 'udp';
  readonly dport: number;
  readonly iif: string;
}) => {
  readonly outcomes: readonly {
    readonly to: string | null;
    readonly decider: Decider | null;
    readonly keeper: Decider | null;
    readonly share: number;
  }[];
  readonly because: string;
};

/** So many of a node are asked: each is a walk through nat. */
const MOST = 3;
const DNS_PORT = 53;
const API = 'default/kubernetes:';
/** Shares are sums of fractions. */
const ALL = 0.999;

/** What PREROUTING makes of a pod's first packet to the API and to cluster DNS. Silent about what the evidence does not decide. */
export function astrayServices(
  source: LiveSource,
  programmed: readonly Saved[],
  ask: AskDestination,
): readonly Astray[] {
  const lost = lostServices(source, programmed, ask);
  const reason = ({ culprit, empty, to, share }: Lost) =>
    `${culprit?.text ?? empty?.name ?? ''} ${to === null} ${share < ALL}`;
  return [...Map.groupBy(lost, reason).values()].flatMap((same): Astray[] => {
    const [one] = same;
    if (one === undefined) return [];
    const { at, to, culprit, empty, share } = one;
    const part = share < ALL;
    const whats = same.map((l) => l.what).join(', ');
    const some = part ? `${percent(share)} of the new connections that pods make to` : 'what pods send to';
    const goes =
      to === null ? 'is not translated, and goes nowhere' : `goes to ${to.replace(/:\d+$/, '')}, which is no backend`;
    const why =
      culprit !== null
        ? `: "${culprit.text}" takes it before kube-proxy’s rules do`
        : empty === null
          ? ''
          : `: kube-proxy’s chain ${empty.name} is empty`;
    const wrong = culprit ?? empty;
    return [
      {
        key: culprit?.text ?? whats,
        says: `${some} ${whats} ${goes}${why}`,
        addresses: [...new Set(same.map((l) => l.address))],
        part,
        sure: wrong !== null,
        culprit,
        lines: [at, ...same.slice(1).map((l) => l.at), ...(wrong === null ? [] : [wrong])],
      },
    ];
  });
}

function lostServices(source: LiveSource, programmed: readonly Saved[], ask: AskDestination): readonly Lost[] {
  const net = podNetworks(source).find((n) => n.clustered);
  const [saved] = programmed;
  const chain = saved?.ruleset.tables.get('nat')?.chains.get('KUBE-SERVICES');
  if (net === undefined || saved === undefined || chain === undefined) return [];
  if (programmed.length > 1) return [];
  const api = serviceRules(chain).find((r) => r.comment?.startsWith(API) === true);
  const dns = serviceRulesAt(chain, DNS_PORT);
  const addresses = source.get('addresses');
  const own = new Set(
    addresses.missing ? [] : addresses.value.devices.flatMap((d) => d.addresses.map((a) => a.address)),
  );
  return [...(api === undefined ? [] : [api]), ...dns].slice(0, MOST).flatMap((rule): Lost[] => {
    const { address, proto, port, comment, index } = rule;
    // node-local DNS takes the service's address for itself
    if (proto === null || port === null || own.has(address)) return [];
    const sample = { src: net.sample, dst: address, proto, dport: port, iif: net.bridge.name } as const;
    const { outcomes, because } = ask(sample);
    if (because !== '') return [];
    const kept = `${address}:${port}`;
    const lost = outcomes.find((o) => o.to !== null && (o.to === kept || !isProxys(o.decider)));
    if (lost === undefined) return [];
    const culprit = lost.to === kept ? lost.keeper : lost.decider;
    const empty = culprit === null ? emptyChain(saved, rule.chain) : null;
    return [
      {
        what: `${(comment ?? '').replace(/ cluster IP$/, '')} (${kept}/${proto})`.trim(),
        address,
        at: { fact: saved.fact, line: chain.rule(index).line },
        to: lost.to === kept ? null : lost.to,
        culprit: culprit ?? (empty === null ? returned(saved) : null),
        empty,
        share: lost.share,
      },
    ];
  });
}

const isProxys = (decider: Decider | null): boolean => / > KUBE-/.test(decider?.place ?? '');

/** The service's own chain, or that of one of its backends. */
function emptyChain({ fact, ruleset }: Saved, service: string): Lost['empty'] {
  const chains = ruleset.tables.get('nat')?.chains;
  const own = chains?.get(service);
  const names = (own?.texts() ?? []).flatMap((text) => / -j (KUBE-SEP-\S+)$/.exec(text)?.[1] ?? []);
  const found = [own, ...names.map((name) => chains?.get(name))].find((c) => c?.ruleCount === 0);
  return found === undefined ? null : { fact, name: found.name, line: found.line };
}

/** A RETURN leaves no step: the one in front of kube-proxy's jump, where it is alone there. */
function returned({ fact, ruleset }: Saved): Decider | null {
  const chain = ruleset.tables.get('nat')?.chains.get('PREROUTING');
  const texts = chain?.texts() ?? [];
  const jump = texts.findIndex((text) => text.endsWith(' -j KUBE-SERVICES'));
  const before = texts.slice(0, Math.max(jump, 0)).flatMap((text, i) => (text.endsWith(' -j RETURN') ? [i] : []));
  const [at] = before;
  if (chain === undefined || at === undefined || before.length > 1) return null;
  const { line, text } = chain.rule(at);
  return { fact, line, text, place: 'nat/PREROUTING' };
}

/** Takes the rule away that stands in front of kube-proxy's; null: it is none of iptables, or cannot be written as it is. */
export function withoutCulprit({ fact, text, place }: Decider) {
  const table = /^(nat|raw|mangle)\//.exec(place)?.[1];
  const spec = text.replace(/^-A /, '');
  if (table === undefined || !/^[\w .:/!,+@-]+$/.test(spec)) return null;
  const iptables = `${iptablesOf(fact.evidence)} -t ${table}`;
  return {
    step: 'Find out who wrote this rule, and take it out there; or let it spare the addresses of services. Until then:',
    run: `${iptables} -D ${spec}`,
    verify: `${iptables} -C ${spec} 2>/dev/null || echo gone`,
    undo: `${iptables} -I ${spec}`,
    risk: 'What the rule was written for does not work without it.',
  };
}
