import type { NftJson } from '../facts/index.ts';
import { type Look, type Test, unknown } from './chain.ts';
import { negate, type Truth, truth } from './doubt.ts';
import { type Expr, readExpr } from './nft-expr.ts';
import { type Elements, readElements, readPattern } from './nft-set.ts';
import { BREAK, get, isBits, type Kind, numberOf, readValue, type Value } from './nft-value.ts';
import type { Packet } from './packet.ts';

export type NftSet = NftJson['sets'][number];

/** What the rules of one table refer to. */
export interface NftTable {
  readonly set: (name: string) => NftSet | undefined;
}

const KEEP = new WeakMap<readonly unknown[], Map<string, Elements<unknown> | null>>();

/** The elements of `{set: [...]}` or `@name`; items of a map are what its keys map to. */
export function elementsOf(
  json: unknown,
  kinds: readonly Kind[],
  table: NftTable,
  map: boolean,
): Elements<unknown> | null {
  const list = typeof json === 'string' ? table.set(json.slice(1))?.elements : get(json, 'set');
  const items = Array.isArray(list) ? list : list === undefined ? null : [list];
  if (items === null || (typeof json === 'string' && !json.startsWith('@'))) return null;
  const kept = KEEP.get(items) ?? new Map<string, Elements<unknown> | null>();
  KEEP.set(items, kept);
  const key = `${map} ${kinds.join(' ')}`;
  let elements = kept.get(key);
  if (elements === undefined) {
    const pairs = map
      ? items.filter(Array.isArray).map((e) => [e[0], e[1]] as const)
      : items.map((e) => [e, e] as const);
    elements = pairs.length === items.length ? readElements(pairs, kinds) : null;
    kept.set(key, elements);
  }
  return elements;
}

type Against = (value: Value, look: Look) => Truth;

function readRight(right: unknown, left: Expr, table: NftTable): Against | null {
  const named = typeof right === 'string' && right.startsWith('@');
  if (named || get(right, 'set') !== undefined) {
    if (named && table.set((right as string).slice(1)) === undefined) return null;
    const elements = elementsOf(right, left.kinds, table, false);
    if (elements === null) return null;
    return (value) => {
      const { sure, maybe } = elements.find(value);
      return sure !== undefined ? 1 : maybe.length > 0 ? null : 0;
    };
  }
  return readPattern(right, left.kinds);
}

/** Flags: any of them set (`in`), or none (`!`). */
function readFlags(op: string, right: unknown, left: Expr): Against | null {
  const wanted = readValue(right, left.kinds[0]!);
  if (wanted === null || !isBits(wanted)) return null;
  return (v) => {
    if (!isBits(v)) return null;
    const t: Truth = (v.bits & v.known & wanted.bits) !== 0 ? 1 : (~v.known & wanted.bits) !== 0 ? null : 0;
    return negate(t, op === '!');
  };
}

function readOrder(op: string, right: unknown, left: Expr): Against | null {
  const value = readValue(right, left.kinds[0]!);
  const limit = value === null ? null : numberOf(value);
  if (limit === null || left.kinds.length > 1) return null;
  const holds = (n: number | bigint) =>
    op === '<' ? n < limit : op === '>' ? n > limit : op === '<=' ? n <= limit : n >= limit;
  return (v) => {
    if (Array.isArray(v)) return holds(v[0]) === holds(v[1]) ? truth(holds(v[0])) : null;
    const n = numberOf(v as Value);
    return n === null ? null : truth(holds(n));
  };
}

function readComparison(op: string, right: unknown, left: Expr, table: NftTable): Against | null {
  const bits = left.kinds.length === 1 && ['ctstate', 'ctstatus', 'tcpflags'].includes(left.kinds[0]!);
  if (bits && (op === 'in' || op === '!') && get(right, 'set') === undefined) return readFlags(op, right, left);
  if (op === '==' || op === 'in') return readRight(right, left, table);
  if (op === '!=') {
    const equal = readRight(right, left, table);
    return equal === null ? null : (v, look) => negate(equal(v, look), true);
  }
  return ['<', '>', '<=', '>='].includes(op) ? readOrder(op, right, left) : null;
}

/** The share of the numbers that chance may give for which the comparison holds. */
function byChance({ mod, offset }: NonNullable<Expr['chance']>, against: Against): Test {
  return (_, look) => {
    let hits = 0;
    for (let n = offset; n < offset + mod; n += 1) {
      const t = against(n, look);
      if (t === null) return null;
      hits += t;
    }
    return hits / mod;
  };
}

const MAX_CHANCE = 65_536;

/** `match`: an expression compared with something. What is not understood is unknown. */
export function readMatchStatement(body: unknown, table: NftTable): Test {
  const left = readExpr(get(body, 'left'));
  const against = readComparison(String(get(body, 'op') ?? '=='), get(body, 'right'), left, table);
  const chance = left.chance;
  if (against === null || (chance !== undefined && chance.mod > MAX_CHANCE))
    return (p, look) => {
      // an expression without value ends the rule whatever it would be compared with
      if (left.read(p, look) === BREAK && chance === undefined) return 0;
      return unknown(look, 'an nft comparison is not understood');
    };
  if (chance !== undefined) return byChance(chance, against);
  return (p: Packet, look: Look) => {
    const value = left.read(p, look);
    if (value === BREAK) return 0;
    if (value === null) return null;
    const t = against(value, look);
    if (t === null && look.why === null) look.why = { because: 'what nft compares is not known exactly', evidence: [] };
    return t;
  };
}
