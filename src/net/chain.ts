import { mergeStates } from './chain-merge.ts';
import type { Cite, Doubt, Reason, Truth } from './doubt.ts';
import { formatPort, type Packet } from './packet.ts';
import type { Space } from './space.ts';
import type { Hook, HookWay, Step } from './step.ts';
import type { Watch } from './watch.ts';

/** What a test may look at beside the packet; `why` is set by the test that answers null. */
export interface Look {
  readonly space: Space;
  readonly hook: Hook;
  /** Connection tracking has seen the packet (false in the raw tables). */
  tracked: boolean;
  why: Reason | null;
  /** Told of every test, where somebody asks for which other addresses the answer holds. */
  readonly watch?: Watch | undefined;
}

export type Test = (packet: Packet, look: Look) => Truth;

/** One way of a packet through a hook, up to where it is now. */
export interface State {
  readonly packet: Packet;
  readonly steps: readonly Step[];
  readonly probability: number;
  readonly doubts: readonly Doubt[];
  readonly reroute: boolean;
  /** A raw table said that the packet is not to be tracked. */
  readonly untracked: boolean;
  /** A NAT rule of this hook chose a mapping. */
  readonly mapped: boolean;
}

export type Verdict = HookWay['verdict'];

/** A state for which the base chain has ended. */
export interface End {
  readonly state: State;
  readonly verdict: Verdict;
  readonly because: string;
  readonly rejectWith?: string;
}

/** What a matching rule does with a state. */
export type Outcome =
  | { readonly to: 'next' | 'skip' | 'return'; readonly state: State }
  | { readonly to: 'jump' | 'goto'; readonly state: State; readonly chain: PreparedChain }
  | ({ readonly to: 'end' } & End);

export type Act = (state: State, site: Site, rule: PreparedRule) => Outcome | readonly Outcome[];

/** Tests, and what is done when all of them hold. */
export interface Segment {
  readonly tests: readonly Test[];
  readonly act: Act | null;
}

/** The commonest selectors as numbers, for a miss without any call; only for IPv4 and without negation. */
export interface Quick {
  readonly src: number;
  readonly srcMask: number;
  readonly dst: number;
  readonly dstMask: number;
  /** -1: any. */
  readonly proto: number;
  readonly low: number;
  readonly high: number;
}

export interface PreparedRule {
  readonly chain: string;
  readonly line: number;
  readonly endLine?: number;
  readonly text: string;
  /** nft: where the text form has the rule. */
  readonly handle?: number;
  /** One in iptables; nft rules may test again after they have changed something. */
  readonly segments: readonly Segment[];
}

export interface PreparedChain {
  readonly name: string;
  /** Of each of its rules; null: it has no such selectors. */
  readonly quicks: readonly (Quick | null)[];
  /** Prepared on first use; null: it decides nothing. */
  rule(index: number): PreparedRule | null;
}

/** One evaluation of one hook: its limits, and what it is asked about. */
export interface Run extends Look {
  readonly maxWays: number;
  /** Accepting rules of NAT chains leave a step too. */
  readonly tellsNat: boolean;
  work: number;
  /** Set: the evaluation was given up, and why. */
  overflow: string | null;
}

/** The base chain that is being evaluated. */
export interface Site {
  readonly run: Run;
  /** `filter/FORWARD`, `nft inet fw input`. */
  readonly name: string;
  readonly chain: string;
  /** `iptables nat`: rewriting is allowed here. */
  readonly nat: boolean;
  /** Accepting rules are worth a step. */
  readonly tells: boolean;
  cite(rule: PreparedRule): Cite;
  readonly ended: End[];
}

const MAX_DEPTH = 64;
const MAX_WORK = 3_000_000;

/** The place of a rule: the base chain, and the chain that it called. */
export const placeOf = (site: Site, chain: string): string =>
  chain === site.chain ? site.name : `${site.name} > ${chain}`;

export function stepOf(site: Site, rule: PreparedRule, action: string): Step {
  return { space: site.run.space, place: placeOf(site, rule.chain), action, text: rule.text, cites: [site.cite(rule)] };
}

/** The state after one more step. */
export function noted(state: State, step: Step, changes: Partial<State> = {}): State {
  return { ...state, ...changes, steps: [...state.steps, step] };
}

/** Answers null and says why. */
export function unknown(look: Look, because: string, ...evidence: string[]): null {
  look.why = { because, evidence };
  return null;
}

/** The states in which a question is answered yes and no; a question asked before is answered as it was. */
export function fork(state: State, key: string, reason: Reason): { yes: State | null; no: State | null } {
  for (const doubt of state.doubts)
    if (doubt.key === key) return doubt.holds ? { yes: state, no: null } : { yes: null, no: state };
  const side = (holds: boolean): State => ({
    ...state,
    doubts: [...state.doubts, { key, because: reason.because, evidence: reason.evidence, holds }],
  });
  return { yes: side(true), no: side(false) };
}

/** The packet as part of a question: another packet may be answered otherwise. */
export const flowKey = (p: Packet): string =>
  `${p.src}:${formatPort(p.sport)}>${p.dst}:${formatPort(p.dport)}/${p.proto}${p.ct?.reply ? 'r' : ''}`;

/** The key of a question about a rule. */
export function ruleKey(site: Site, rule: PreparedRule, packet: Packet, what: string): string {
  const { fact, line } = site.cite(rule);
  return `${site.run.space.id} ${fact.path}:${line}${rule.handle === undefined ? '' : `#${rule.handle}`} ${what} ${site.run.hook} ${flowKey(packet)}`;
}

/** What is not known about a rule, with the line that asks it. */
export function ruleReason(site: Site, rule: PreparedRule, why: Reason | null): Reason {
  const { fact, line } = site.cite(rule);
  const what = why?.because ?? 'its matches are not understood';
  return { because: `${what} (${placeOf(site, rule.chain)}, ${fact.path}:${line})`, evidence: why?.evidence ?? [] };
}

/** Splits a state by chance. */
function chance(state: State, p: number): { yes: State | null; no: State | null } {
  if (p >= 1) return { yes: state, no: null };
  if (p <= 0) return { yes: null, no: state };
  const part = (share: number): State => ({ ...state, probability: state.probability * share });
  return { yes: part(p), no: part(1 - p) };
}

const NEVER: { yes: null; no: null } = { yes: null, no: null };

/** Runs the tests of a segment: states that match, and states that do not. `no` null and `yes` null: certainly no match. */
function decide(segment: Segment, state: State, site: Site, rule: PreparedRule) {
  const { run } = site;
  let p = 1;
  let why: Reason | null = null;
  let open = false;
  for (const test of segment.tests) {
    const t = test(state.packet, run);
    run.watch?.tested(test, state.packet);
    if (t === 0) return NEVER;
    if (t === null) {
      open = true;
      why ??= run.why;
      run.why = null;
    } else p *= t;
  }
  if (!open) return p === 1 ? { yes: state, no: null, more: null } : { ...chance(state, p), more: null };
  const sides = fork(state, ruleKey(site, rule, state.packet, 'matches'), ruleReason(site, rule, why));
  if (sides.yes === null) return { yes: null, no: sides.no, more: null };
  const lucky = chance(sides.yes, p);
  return { yes: lucky.yes, no: sides.no, more: lucky.no };
}

function misses(q: Quick, p: Packet): boolean {
  const { src, dst, dport } = p;
  if (typeof dst !== 'number' || typeof src !== 'number') return false;
  if ((dst & q.dstMask) >>> 0 !== q.dst || (src & q.srcMask) >>> 0 !== q.src) return true;
  if (q.proto >= 0 && q.proto !== p.proto) return true;
  return q.high >= 0 && typeof dport === 'number' && (dport < q.low || dport > q.high);
}

/** Why the rule missed: one reason is enough, and best one that every packet of the kind shares. */
function watchMiss(watch: Watch, q: Quick, { src, dst, proto, dport }: Packet): void {
  if (q.proto >= 0 && q.proto !== proto) return;
  if (q.high >= 0 && typeof dport === 'number' && (dport < q.low || dport > q.high)) return;
  if (typeof dst === 'number' && (dst & q.dstMask) >>> 0 !== q.dst)
    watch.compare(dst, q.dst, (q.dst | ~q.dstMask) >>> 0);
  else if (typeof src === 'number') watch.compare(src, q.src, (q.src | ~q.srcMask) >>> 0);
}

/** Sends states through a chain; the ones that come back from it. Those that a rule ends are added to the site. */
export function walk(chain: PreparedChain, entering: readonly State[], site: Site, depth: number): State[] {
  const { run } = site;
  const returned: State[] = [];
  if (depth > MAX_DEPTH) {
    run.overflow ??= `${chain.name} calls itself`;
    return returned;
  }
  let states: readonly State[] = entering;
  const { quicks } = chain;
  for (let index = 0; index < quicks.length; index += 1) {
    if (states.length === 0 || run.overflow !== null) break;
    run.work += 1;
    const quick = quicks[index]!;
    if (quick !== null && states.length === 1 && misses(quick, states[0]!.packet)) {
      if (run.watch !== undefined) watchMiss(run.watch, quick, states[0]!.packet);
      continue;
    }
    const rule = chain.rule(index);
    if (rule === null) continue;
    let next: State[] | null = null;
    for (let i = 0; i < states.length; i += 1) {
      const state = states[i]!;
      const through: State[] | null = pass(rule, 0, state, site, depth, returned);
      if (through === null) next?.push(state);
      else {
        next ??= states.slice(0, i);
        next.push(...through);
      }
    }
    if (next !== null) states = next.length > 1 ? mergeStates(next) : next;
    if (states.length + site.ended.length > run.maxWays * 8) run.overflow ??= `more than ${run.maxWays} ways`;
    if (run.work > MAX_WORK) run.overflow ??= 'the rules call each other too often';
  }
  returned.push(...states);
  return returned.length > 1 ? mergeStates(returned) : returned;
}

/** One state at one rule: the states that go on to the next rule; null: the rule does not match. */
function pass(
  rule: PreparedRule,
  from: number,
  state: State,
  site: Site,
  depth: number,
  returned: State[],
): State[] | null {
  const next: State[] = [];
  let current = state;
  for (let k = from; k < rule.segments.length; k += 1) {
    const segment = rule.segments[k]!;
    const sides = decide(segment, current, site, rule);
    if (sides === NEVER) return next.length === 0 && current === state ? null : [...next, current];
    const { yes, no, more } = sides as { yes: State | null; no: State | null; more: State | null };
    if (no !== null) next.push(no);
    if (more !== null) next.push(more);
    if (yes === null) return next;
    current = yes;
    if (segment.act === null) continue;
    const outcome = segment.act(current, site, rule);
    const outcomes = Array.isArray(outcome) ? (outcome as readonly Outcome[]) : [outcome as Outcome];
    if (outcomes.length === 1 && outcomes[0]!.to === 'next') {
      current = outcomes[0]!.state;
      continue;
    }
    for (const o of outcomes) {
      if (o.to === 'next') next.push(...(pass(rule, k + 1, o.state, site, depth, returned) ?? [o.state]));
      else if (o.to === 'skip') next.push(o.state);
      else if (o.to === 'return') returned.push(o.state);
      else if (o.to === 'end') site.ended.push(o);
      else if (o.to === 'jump') next.push(...walk(o.chain, [o.state], site, depth + 1));
      else if (o.to === 'goto') returned.push(...walk(o.chain, [o.state], site, depth + 1));
    }
    return next;
  }
  next.push(current);
  return next;
}

/** Nobody can follow the packet from here: the reason is the last doubt. */
export function lost(state: State, key: string, reason: Reason): { readonly to: 'end' } & End {
  const asked = fork(state, key, reason).yes ?? state;
  return { to: 'end', state: asked, verdict: 'unknown', because: reason.because };
}
