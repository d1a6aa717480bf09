import type { Fact, FactKind, IptTable, Ruleset } from '../facts/index.ts';
import { iptablesOf } from './accept-range.ts';
import { reachedInIptables } from './reachable.ts';
import { firstKey } from './service-keys.ts';

/** A ruleset of iptables that is live. */
export interface Saved {
  readonly fact: Fact<FactKind>;
  readonly ruleset: Ruleset;
}

/** A jump that kube-proxy makes once, with what breaks where it is gone. */
export interface Hook {
  readonly base: 'PREROUTING' | 'OUTPUT' | 'POSTROUTING' | 'KUBE-SERVICES';
  readonly target: 'KUBE-SERVICES' | 'KUBE-POSTROUTING' | 'KUBE-NODEPORTS';
  /** As kube-proxy writes it, behind the target. */
  readonly rule: string;
  readonly severity: 'critical' | 'high';
  readonly says: string;
}

const PORTALS = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES';

export const HOOKS: readonly Hook[] = [
  {
    base: 'PREROUTING',
    target: 'KUBE-SERVICES',
    rule: PORTALS,
    severity: 'critical',
    says: 'what pods and other machines send to ClusterIPs and NodePorts is not translated, and goes nowhere',
  },
  {
    base: 'OUTPUT',
    target: 'KUBE-SERVICES',
    rule: PORTALS,
    severity: 'high',
    says: 'what the node itself and its host-network pods send to ClusterIPs is not translated, and goes nowhere',
  },
  {
    base: 'POSTROUTING',
    target: 'KUBE-POSTROUTING',
    rule: '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    severity: 'high',
    says: 'a pod that its service sends to itself gets no answer, nor do outside clients whose backend is on another node, unless another rule translates them',
  },
  {
    base: 'KUBE-SERVICES',
    target: 'KUBE-NODEPORTS',
    rule: '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    severity: 'high',
    says: 'NodePorts are not translated: the node refuses them',
  },
];

export const natOf = ({ ruleset }: Saved): IptTable | undefined => ruleset.tables.get('nat');

/** Jumps that packets do not come to in any ruleset that has services, each with such a ruleset. */
export function unhooked(programmed: readonly Saved[]): readonly { readonly hook: Hook; readonly saved: Saved }[] {
  return HOOKS.flatMap((hook) => {
    const having = programmed.filter((saved) => (natOf(saved)?.chains.get(hook.target)?.ruleCount ?? 0) > 0);
    const [saved] = having;
    if (saved === undefined || having.some((s) => isHooked(s, hook))) return [];
    return [{ hook, saved }];
  });
}

/** A rule that only some packets are for. */
const SOME = / (?:-[sdiop]|-m (?!comment ))/;

/** The usual places are looked at first: behind rules that are not for every packet; NodePorts at the end of thousands of services. */
function isHooked({ fact, ruleset }: Saved, { base, target }: Hook): boolean {
  const nat = ruleset.tables.get('nat');
  const texts = nat?.chains.get(base)?.texts() ?? [];
  if (nat === undefined) return false;
  if (base === 'KUBE-SERVICES' && texts.at(-1)?.endsWith(` -j ${target}`) === true) return true;
  for (const text of texts) {
    if (text.endsWith(` -j ${target}`)) return true;
    if (!SOME.test(text.replace(/"[^"]*"/g, ''))) break;
  }
  return reachedInIptables(fact, nat, base, new RegExp(`^${target}$`)).length > 0;
}

/** The line of the first service that has a rule. */
export function firstService({ ruleset }: Saved): { readonly line: number } | null {
  const first = firstKey(ruleset);
  return first === null ? null : { line: first.chain.rule(first.index).line };
}

/** Puts the jump back where kube-proxy has it: in front of all, NodePorts at the end. */
export function hookRemedy({ base, rule }: Hook, { fact }: Saved) {
  const iptables = `${iptablesOf(fact.evidence)} -t nat`;
  const put = base === 'KUBE-SERVICES' ? '-A' : '-I';
  return {
    step: `Restart kube-proxy on the node: it writes the jump again when it starts. Find out who changed nat ${base}. Until then, by hand:`,
    run: `${iptables} ${put} ${base} ${rule}`,
    verify: `${iptables} -C ${base} ${rule} && echo there`,
    undo: `${iptables} -D ${base} ${rule}`,
    risk: 'none known: kube-proxy has this rule on every node',
  };
}
