import type { End, State } from './chain.ts';
import { mergeDoubts } from './doubt.ts';
import { packetKey } from './packet.ts';

/** Two ways with the same end as one; null: they stay apart. */
function merged(a: State, b: State): State | null {
  const doubts = mergeDoubts(a.doubts, b.doubts);
  if (doubts === null) return null;
  if (doubts === a.doubts) return { ...a, probability: a.probability + b.probability };
  if (Math.abs(a.probability - b.probability) > 1e-9) return null;
  // the side on which the unknown does not hold is the one that known rules decided
  const held = a.doubts.find((d, i) => d.holds !== b.doubts[i]?.holds)?.holds === true;
  return { ...(held ? b : a), doubts };
}

function stateKey(s: State): string {
  return `${packetKey(s.packet)}${s.reroute ? ' R' : ''}${s.untracked ? ' U' : ''}${s.mapped ? ' M' : ''}`;
}

/** Joins what no longer differs, until nothing can be joined. */
function collapse<T>(
  list: readonly T[],
  keyOf: (t: T) => string,
  stateOf: (t: T) => State,
  put: (t: T, s: State) => T,
): T[] {
  const groups = new Map<string, T[]>();
  for (const item of list) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  if (groups.size === list.length) return [...list];
  const out: T[] = [];
  for (const group of groups.values()) {
    for (let again = group.length > 1; again; ) {
      again = false;
      for (let i = group.length - 1; i > 0 && !again; i -= 1) {
        for (let j = i - 1; j >= 0; j -= 1) {
          const one = merged(stateOf(group[j]!), stateOf(group[i]!));
          if (one === null) continue;
          group[j] = put(one.steps === stateOf(group[i]!).steps ? group[i]! : group[j]!, one);
          group.splice(i, 1);
          again = group.length > 1;
          break;
        }
      }
    }
    out.push(...group);
  }
  return out;
}

export const mergeStates = (states: readonly State[]): State[] =>
  collapse(
    states,
    stateKey,
    (s) => s,
    (_, s) => s,
  );

/** A dropped packet is gone, whatever it was; the answer of a reject goes to where it came from. */
export const endKey = (e: End): string =>
  `${e.verdict} ${e.rejectWith ?? ''} ${e.verdict === 'accept' || e.verdict === 'reject' ? stateKey(e.state) : ''}`;

export function mergeEnds(ends: readonly End[]): End[] {
  if (ends.length < 2) return [...ends];
  return collapse(
    ends,
    endKey,
    (e) => e.state,
    (e, state) => ({ ...e, state }),
  );
}
