import { type End, fork, lost, type Run, type State } from './chain.ts';
import { mergeEnds, mergeStates } from './chain-merge.ts';
import type { Doubt, Reason } from './doubt.ts';
import { runInTurn, runUntilMapped } from './hook-base.ts';
import { attempt, distinct, orders, type Runner, within } from './hook-order.ts';
import { type Packet, untracked } from './packet.ts';
import type { BaseChain, RuleSources } from './rulesets.ts';
import type { Space } from './space.ts';
import type { Hook, HookContext, HookWay } from './step.ts';

/** Every way in which the packet can leave the hook: what the kernel would do with it, over the collected rules. */
export function runHook(
  space: Space,
  hook: Hook,
  packet: Packet,
  doubts: readonly Doubt[],
  context: HookContext,
): readonly HookWay[] {
  const sources = space.rules(typeof packet.dst === 'number' ? 4 : 6);
  const tracks = hook === 'prerouting' || hook === 'output';
  const run: Run = {
    space,
    hook,
    // the first part of a hook has connection tracking in it
    tracked: !tracks || context.part?.from !== undefined,
    why: null,
    tellsNat: context.tellsNat === true,
    maxWays: context.maxWays,
    watch: context.watch,
    work: 0,
    overflow: null,
  };
  const start: State = { packet, steps: [], probability: 1, doubts, reroute: false, untracked: false, mapped: false };
  const passage = new Passage(run, sources, context);
  passage.go([start]);
  const ends = mergeEnds(passage.finish());
  if (run.overflow === null && ends.length > context.maxWays) run.overflow = `more than ${context.maxWays} ways`;
  if (run.overflow !== null) {
    const reason = {
      because: `the rules at ${hook} of ${space.label} were not followed to the end: ${run.overflow}`,
      evidence: [],
    };
    return [wayOf(lost(start, `${space.id} ${hook} overflow`, reason))];
  }
  return ends.map(wayOf);
}

function wayOf({ state, verdict, because, rejectWith }: End): HookWay {
  const { packet, steps, probability, doubts, reroute } = state;
  const way = { verdict, packet, steps, probability, doubts, because, reroute };
  return rejectWith === undefined ? way : { ...way, rejectWith };
}

const natPriority = (hook: Hook): number => (hook === 'prerouting' || hook === 'output' ? -100 : 100);
const TRACKING = -200;

/** The chains of one hook in order, and the ways through them. */
class Passage {
  readonly #run: Run;
  readonly #sources: RuleSources;
  readonly #context: HookContext;
  #states: readonly State[] = [];
  #ends: End[] = [];

  constructor(run: Run, sources: RuleSources, context: HookContext) {
    this.#run = run;
    this.#sources = sources;
    this.#context = context;
  }

  go(states: readonly State[]): void {
    const { hook } = this.#run;
    this.#states = states;
    const chains = this.#sources.chains(hook);
    const { from = -Infinity, below = Infinity } = this.#context.part ?? {};
    const here = (priority: number) => priority >= from && priority < below;
    const others = chains.filter((c) => c.type !== 'nat' && here(c.priority));
    const nats = chains.filter((c) => c.type === 'nat');
    // all NAT chains run at one place, whatever their own priorities
    const at = natPriority(hook);
    let tracked = this.#run.tracked;
    let translated = hook === 'forward' || !here(at);
    for (let i = 0; i < others.length; ) {
      const { priority } = others[i]!;
      if (!tracked && priority > TRACKING) {
        this.#track();
        tracked = true;
      }
      if (!translated && priority > at) {
        this.#translate(nats);
        translated = true;
      }
      let j = i;
      while (j < others.length && others[j]!.priority === priority) j += 1;
      this.#unordered(others.slice(i, j), (order, s, e) => runInTurn(this.#run, order, s, e));
      i = j;
    }
    if (!tracked) this.#track();
    if (!translated) this.#translate(nats);
  }

  /** Connection tracking looks at every packet that raw did not exempt. */
  #track(): void {
    this.#run.tracked = true;
    this.#states = this.#states.map((s) => {
      // what was tracked before it came here stays so (xt_CT, nft_notrack)
      if (s.packet.ct !== null) return s;
      if (!s.untracked) return { ...s, packet: this.#context.track(s.packet) };
      return { ...s, packet: untracked(s.packet) };
    });
  }

  /** NAT: the first packet of a connection asks the chains, the others follow what was chosen then. */
  #translate(nats: readonly BaseChain[]): void {
    const { hook } = this.#run;
    const fresh: State[] = [];
    const rest: State[] = [];
    for (const s of this.#states) {
      if (asksNat(s, hook)) fresh.push(s);
      else rest.push(this.#follow(s));
    }
    this.#states = fresh;
    if (fresh.length > 0) {
      for (let i = 0; i < nats.length; ) {
        let j = i;
        while (j < nats.length && nats[j]!.priority === nats[i]!.priority) j += 1;
        this.#unordered(nats.slice(i, j), (order, s, e) => runUntilMapped(this.#run, order, s, e));
        i = j;
      }
    }
    this.#states = mergeStates([...this.#states, ...rest]);
  }

  #follow(state: State): State {
    const { translate } = this.#context;
    const { ct } = state.packet;
    if (translate === undefined || ct === null || ct.state === 'INVALID' || ct.state === 'UNTRACKED') return state;
    const packet = translate(state.packet);
    const reroute = state.reroute || (this.#run.hook === 'output' && packet.dst !== state.packet.dst);
    return packet === state.packet ? state : { ...state, packet, reroute };
  }

  /** Chains of equal priority run in the order of their registration, last first: where that order matters, it is a question. */
  #unordered(group: readonly BaseChain[], runner: Runner): void {
    const entering = this.#states;
    if (entering.length === 0 || this.#run.overflow !== null) return;
    const first = attempt(group, entering, runner);
    const touched =
      group.length > 1 &&
      (first.ends.length > 0 || first.states.some((s) => !entering.some((e) => e.packet === s.packet && !s.mapped)));
    const results = touched ? distinct(orders(group).map((order) => attempt(order, entering, runner))) : [first];
    const [one] = results;
    if (results.length === 1 && one !== undefined) {
      this.#states = one.states;
      this.#ends.push(...one.ends);
      return;
    }
    const left: State[] = [];
    const { space, hook } = this.#run;
    let asking: readonly Doubt[] = [];
    for (const [i, result] of results.entries()) {
      const because = `it matters whether ${result.order[0]!.owner} was registered last at ${hook} (priority ${result.order[0]!.priority})`;
      const key = `${space.id} ${hook} ${result.order[0]!.priority} order ${result.order.map((c) => `${c.owner} ${c.name}`).join(', ')}`;
      const last = i === results.length - 1;
      const reason: Reason = { because, evidence: ['fw.nft'] };
      const put = (s: State): State | null => within(s, asking, last ? null : { ...reason, key, holds: true });
      for (const s of result.states) pushSome(left, put(s));
      for (const e of result.ends) {
        const state = put(e.state);
        if (state !== null) this.#ends.push({ ...e, state });
      }
      asking = [...asking, { ...reason, key, holds: false }];
    }
    this.#states = mergeStates(left);
  }

  /** The ends of all ways; what got through meets the rules that were not read. */
  finish(): End[] {
    const through: End[] = this.#states.map((state) => ({ state, verdict: 'accept', because: '' }));
    return [...this.#ends, ...through.flatMap((end) => this.#past(end))];
  }

  #past(end: End): readonly End[] {
    const { hook } = this.#run;
    const out: End[] = [];
    let state = end.state;
    for (const gap of this.#sources.gaps) {
      if (gap.hooks !== undefined && !gap.hooks.has(hook)) continue;
      const nat = gap.rewrites && hook !== 'forward' && hook !== 'input' && isFirst(state);
      const filters = hook === 'forward' || hook === 'input' || hook === 'output' || !nat;
      const asked: [verdict: 'unknown' | 'drop', key: string][] = [
        ...(nat ? [['unknown', `${gap.key} rewrites`] as ['unknown', string]] : []),
        ...(filters ? [['drop', `${gap.key} drops`] as ['drop', string]] : []),
      ];
      for (const [verdict, key] of asked) {
        const { yes, no } = fork(state, key, gap);
        if (yes !== null) out.push({ state: yes, verdict, because: gap.because });
        if (no === null) return out;
        state = no;
      }
    }
    out.push({ ...end, state });
    return out;
  }
}

function pushSome<T>(list: T[], item: T | null): void {
  if (item !== null) list.push(item);
}

/** The packet is the first one of a connection that NAT may translate. */
function isFirst(s: State): boolean {
  const { ct, proto } = s.packet;
  if (ct === null || ct.reply || s.untracked) return false;
  return ct.state === 'NEW' || (ct.state === 'RELATED' && proto !== 1 && proto !== 58);
}

/** New connections ask the NAT chains, once in each direction; what comes through the loopback device was asked when it was sent. */
function asksNat(s: State, hook: Hook): boolean {
  const { ct, iif } = s.packet;
  if (ct === null || s.mapped || !isFirst(s)) return false;
  if (hook === 'prerouting' || hook === 'output')
    return !ct.dnat && ct.dstDone !== true && !(hook === 'prerouting' && iif === 'lo');
  return !ct.snat && ct.srcDone !== true && !(hook === 'input' && iif === 'lo');
}
