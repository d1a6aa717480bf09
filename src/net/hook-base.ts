import { type End, fork, noted, type Run, type Site, type State, walk } from './chain.ts';
import { mergeEnds, mergeStates } from './chain-merge.ts';
import type { Packet } from './packet.ts';
import type { BaseChain } from './rulesets.ts';

/** Every chain sees what the one before it let pass. */
export function runInTurn(run: Run, order: readonly BaseChain[], entering: readonly State[], ends: End[]): State[] {
  let states = [...entering];
  for (const base of order) states = runBase(run, base, states, ends);
  return states;
}

/** The first chain that chooses a mapping ends the list; accepting without one does not. */
export function runUntilMapped(
  run: Run,
  order: readonly BaseChain[],
  entering: readonly State[],
  ends: End[],
): State[] {
  const done = entering.filter((s) => s.mapped);
  let open = entering.filter((s) => !s.mapped);
  for (const base of order) {
    const through = runBase(run, base, open, ends);
    done.push(...through.filter((s) => s.mapped));
    open = through.filter((s) => !s.mapped);
  }
  return mergeStates([...done, ...open]);
}

/** One base chain: states that it accepts go on, the others end. */
function runBase(run: Run, base: BaseChain, entering: readonly State[], ends: End[]): State[] {
  const out: State[] = [];
  // a route chain routes again what it changed: each state is compared with what it was
  const groups = base.type === 'route' ? entering.map((s) => [s]) : [entering];
  for (const group of groups) {
    const site: Site = {
      run,
      name: base.name,
      chain: base.chain.name,
      nat: base.type === 'nat',
      tells: base.tells || (run.tellsNat && base.type === 'nat'),
      cite: base.cite,
      ended: [],
    };
    const returned = walk(base.chain, group, site, 0);
    const all = mergeEnds([...site.ended, ...returned.flatMap((s) => byPolicy(run, base, s))]);
    const before = group[0]?.packet;
    for (const end of all) {
      if (end.verdict !== 'accept') ends.push(end);
      else out.push(base.type === 'route' && before !== undefined ? routedAgain(before, end.state) : end.state);
    }
  }
  return out;
}

function routedAgain(before: Packet, state: State): State {
  const now = state.packet;
  const same = now.mark === before.mark && now.tos === before.tos && now.src === before.src && now.dst === before.dst;
  return same ? state : { ...state, reroute: true };
}

function byPolicy(run: Run, base: BaseChain, state: State): readonly End[] {
  const step = (action: string) => ({
    space: run.space,
    place: base.name,
    action,
    text: base.policyText,
    cites: [base.policyCite()],
  });
  const accepted = (s: State): End => ({
    state: base.tells ? noted(s, step('accept')) : s,
    verdict: 'accept',
    because: '',
  });
  const dropped = (s: State): End => ({
    state: noted(s, step('drop')),
    verdict: 'drop',
    because: `policy DROP of ${base.name}`,
  });
  if (base.policy === 'accept') return [accepted(state)];
  if (base.policy === 'drop') return [dropped(state)];
  const reason = { because: `the policy of ${base.name} is not known`, evidence: [] };
  const { yes, no } = fork(state, `${run.space.id} ${base.owner} ${base.name} policy drops`, reason);
  return [...(yes === null ? [] : [dropped(yes)]), ...(no === null ? [] : [accepted(no)])];
}
