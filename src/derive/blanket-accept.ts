import type { IptChain, IptRule, IptTable } from '../facts/index.ts';

/** Chains that keep containers apart, or somebody off them, by whoever wrote them. */
const GUARDS =
  /^(DOCKER-USER|DOCKER-FORWARD|DOCKER-ISOLATION(-STAGE-1)?|DOCKER-INTERNAL|KUBE-ROUTER-FORWARD|cali-FORWARD|CILIUM_FORWARD|WEAVE-NPC(-EGRESS)?|NETAVARK_ISOLATION_\d|ufw-before-forward|FORWARD_IN_ZONES)$/;

/** Verdicts that no packet comes back from. */
const ENDS = /^(ACCEPT|DROP|REJECT|QUEUE|NFQUEUE)$/;

export interface ForwardGuards {
  /** Jumps to such chains that packets come to. */
  readonly asked: readonly IptRule[];
  /** The rule that lets all packets through, and jumps behind it that none comes to. */
  readonly blanket: { readonly rule: IptRule; readonly times: number; readonly behind: readonly IptRule[] } | null;
}

/** A rule by its text alone: a chain may have thousands. */
interface Turn {
  readonly target: string;
  readonly goto: boolean;
  /** Nothing but a comment is asked, or whether the connection is a new one: what begins a connection matches. */
  readonly always: boolean;
}

/** Established connections were new ones once. */
const ALL = /^(?: -m comment --comment \S+| -m (?:conntrack --ctstate|state --state) (?:[A-Z]+,)*NEW(?:,[A-Z]+)*)*$/;

function turnOf(text: string): Turn | null {
  const plain = text.includes('"') ? text.replace(/"(?:[^"\\]|\\.)*"/g, '""') : text;
  const m = /^-A \S+(.*?) -([jg]) (\S+)/.exec(plain);
  if (m === null) return null;
  const [, tests = '', way, target = ''] = m;
  return { target, goto: way === 'g', always: ALL.test(tests) };
}

/** In FORWARD, and in chains that it leads all packets to: an accept of everything, and what stands behind it. */
export function forwardGuards(table: IptTable): ForwardGuards {
  const asked: IptRule[] = [];
  const chain = table.chains.get('FORWARD');
  if (chain === undefined) return { asked, blanket: null };
  const texts = chain.texts();
  for (const [index, text] of texts.entries()) {
    const turn = turnOf(text);
    if (turn === null) continue;
    if (GUARDS.test(turn.target)) asked.push(chain.rule(index));
    const end = turn.always ? endOf(table, chain, index, turn, new Set()) : null;
    if (end === null) continue;
    const behind = texts.flatMap((t, i) => (i > index && GUARDS.test(turnOf(t)?.target ?? '') ? [chain.rule(i)] : []));
    const times = texts.filter((t) => t === end.text).length;
    return { asked, blanket: end.target?.name === 'ACCEPT' && behind.length > 0 ? { rule: end, times, behind } : null };
  }
  return { asked, blanket: null };
}

/** The rule at which every packet ends that comes to this one; null: some go on. */
function endOf(table: IptTable, chain: IptChain, index: number, turn: Turn, seen: Set<string>): IptRule | null {
  if (ENDS.test(turn.target)) return chain.rule(index);
  const inner = seen.has(turn.target) ? undefined : table.chains.get(turn.target);
  if (inner === undefined) return null;
  seen.add(turn.target);
  for (const [i, text] of inner.texts().entries()) {
    const next = turnOf(text);
    if (next === null) continue;
    // what some packets take back out of the chain goes on behind it
    if (next.target === 'RETURN' || next.goto) return null;
    const end = next.always ? endOf(table, inner, i, next, seen) : null;
    if (end !== null) return end;
  }
  return null;
}
