import { fork, type PreparedRule, ruleKey, ruleReason, type Site, type State } from './chain.ts';
import { type Expr, readExpr } from './nft-expr.ts';
import { elementsOf, type NftTable } from './nft-match.ts';
import type { Elements } from './nft-set.ts';
import { BREAK, get, type Value } from './nft-value.ts';

/** One result of a map: what the key maps to in this state; undefined: nothing. */
export interface Mapped {
  readonly state: State;
  readonly item: unknown;
}

/** Looks a key up in a map, in as many ways as chance and doubt have; null: the map or its key is not understood. */
export type Lookup = (state: State, site: Site, rule: PreparedRule) => readonly Mapped[] | null;

const MAX_MAYBE = 32;

/** `{key, data}` of `map` and `vmap`. */
export function readLookup(body: unknown, table: NftTable): Lookup {
  const key = readExpr(get(body, 'key'));
  const elements = elementsOf(get(body, 'data'), key.kinds, table, true);
  if (elements === null) return () => null;
  if (key.chance !== undefined) return byChance(key.chance, elements);
  return (state, site, rule) => {
    const { run } = site;
    const value = key.read(state.packet, run);
    if (value === BREAK) return [{ state, item: undefined }];
    const { sure, maybe } = value === null ? { sure: undefined, maybe: elements.all } : elements.find(value);
    const why = run.why ?? { because: 'which element of an nft map holds the packet is not known', evidence: [] };
    run.why = null;
    if (maybe.length === 0) return [{ state, item: sure }];
    if (maybe.length > MAX_MAYBE) return null;
    const out: Mapped[] = [];
    let open: State | null = state;
    for (const item of maybe) {
      if (open === null) break;
      const what = `is ${JSON.stringify(item) ?? 'nothing'}`;
      const sides: ReturnType<typeof fork> = fork(
        open,
        ruleKey(site, rule, state.packet, what),
        ruleReason(site, rule, why),
      );
      if (sides.yes !== null) out.push({ state: sides.yes, item });
      open = sides.no;
    }
    if (open !== null) out.push({ state: open, item: undefined });
    return out;
  };
}

/** Numbers that map to the same item are one way. */
function byChance({ mod, offset }: NonNullable<Expr['chance']>, elements: Elements<unknown>): Lookup {
  const shares = new Map<unknown, number>();
  if (mod > 65_536) return () => null;
  for (let n = offset; n < offset + mod; n += 1) {
    const { sure } = elements.find(n as Value);
    shares.set(sure, (shares.get(sure) ?? 0) + 1 / mod);
  }
  return (state) =>
    [...shares].map(([item, share]) => ({ state: { ...state, probability: state.probability * share }, item }));
}
