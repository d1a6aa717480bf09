import { networkOf, parseAddr } from './addr.ts';
import { both, type Truth, truth } from './doubt.ts';
import { get, isBits, isConcat, type Kind, numberOf, readValue, type Value } from './nft-value.ts';
import { portIn } from './packet.ts';

/** Does a value fit? Null: what is known of the value does not say. */
export type Pattern = (value: Value) => Truth;

/** Nothing is known of the value. */
const isOpen = (v: Value): boolean => isBits(v) && v.known === 0;

function equals(literal: Value): Pattern {
  if (isBits(literal))
    return (v) => {
      if (!isBits(v)) return null;
      if (((v.bits ^ literal.bits) & v.known) !== 0) return 0;
      return v.known >>> 0 === 0xffffffff ? 1 : null;
    };
  return (v) => {
    if (v === literal) return 1;
    if (Array.isArray(v))
      return typeof literal === 'number' ? portIn(v as readonly [number, number], literal, literal) : 0;
    return isOpen(v) ? null : 0;
  };
}

function inRange(low: number | bigint, high: number | bigint): Pattern {
  return (v) => {
    if (Array.isArray(v)) return portIn(v as readonly [number, number], Number(low), Number(high));
    if (isOpen(v)) return null;
    const n = numberOf(v);
    return truth(n !== null && typeof n === typeof low && n >= low && n <= high);
  };
}

function one(json: unknown, kind: Kind): Pattern | null {
  const prefix = get(json, 'prefix');
  if (prefix !== undefined) {
    const [addr, length] = [get(prefix, 'addr'), get(prefix, 'len')];
    const base = typeof addr === 'string' ? parseAddr(addr) : null;
    if (base === null || typeof length !== 'number' || length < 0 || length > (typeof base === 'number' ? 32 : 128))
      return null;
    const net = networkOf(base, length);
    return (v) =>
      isOpen(v) ? null : truth(typeof v === typeof base && networkOf(v as number | bigint, length) === net);
  }
  const range = get(json, 'range');
  if (range !== undefined) {
    if (!Array.isArray(range)) return null;
    const [low, high] = [readValue(range[0], kind), readValue(range[1], kind)];
    const [a, b] = [low === null ? null : numberOf(low), high === null ? null : numberOf(high)];
    return a === null || b === null ? null : inRange(a, b);
  }
  if (kind === 'name' && typeof json === 'string' && json.endsWith('*')) {
    const start = json.slice(0, -1);
    return (v) => (isOpen(v) ? null : truth(typeof v === 'string' && v.startsWith(start)));
  }
  const literal = readValue(json, kind);
  return literal === null ? null : equals(literal);
}

const unwrap = (json: unknown): unknown => get(get(json, 'elem'), 'val') ?? json;

/** A value, prefix, range or concatenation of these; null: not understood. */
export function readPattern(json: unknown, kinds: readonly Kind[]): Pattern | null {
  const inner = unwrap(json);
  if (kinds.length === 1) return one(inner, kinds[0]!);
  const parts = get(inner, 'concat');
  if (!Array.isArray(parts) || parts.length !== kinds.length) return null;
  const patterns: Pattern[] = [];
  for (const [i, part] of parts.entries()) {
    const pattern = one(part, kinds[i]!);
    if (pattern === null) return null;
    patterns.push(pattern);
  }
  return (v) => {
    if (!isConcat(v)) return null;
    let all: Truth = 1;
    for (const [i, pattern] of patterns.entries()) {
      all = both(all, pattern(v.concat[i]!));
      if (all === 0) return 0;
    }
    return all;
  };
}

/** Values that an index finds by equality. */
function plainKey(v: Value): string | null {
  if (typeof v === 'number' || typeof v === 'bigint' || typeof v === 'string') return String(v);
  if (!isConcat(v)) return null;
  const keys = v.concat.map(plainKey);
  return keys.includes(null) ? null : keys.join(' . ');
}

function literalKey(json: unknown, kinds: readonly Kind[]): string | null {
  const inner = unwrap(json);
  const parts = kinds.length === 1 ? [inner] : get(inner, 'concat');
  if (!Array.isArray(parts) || parts.length !== kinds.length) return null;
  const values = parts.map((part, i) =>
    typeof part === 'string' && kinds[i] === 'name' && part.endsWith('*') ? null : readValue(part, kinds[i]!),
  );
  if (values.includes(null)) return null;
  return plainKey(values.length === 1 ? values[0]! : { concat: values as Value[] });
}

/** Elements of a set or map: the one that holds a value, or those that may. */
export interface Elements<T> {
  find(value: Value): { readonly sure: T | undefined; readonly maybe: readonly T[] };
  readonly all: readonly T[];
}

/** Reads elements, each with what it stands for; null: one of them is not understood. */
export function readElements<T>(
  list: readonly (readonly [key: unknown, item: T])[],
  kinds: readonly Kind[],
): Elements<T> | null {
  const exact = new Map<string, T>();
  const others: (readonly [Pattern, T])[] = [];
  const keyed: (readonly [unknown, T])[] = [];
  let rest: T | undefined;
  for (const [json, item] of list) {
    if (unwrap(json) === '*' && kinds[0] !== 'name') {
      rest = item;
      continue;
    }
    const key = literalKey(json, kinds);
    if (key !== null) {
      if (!exact.has(key)) exact.set(key, item);
      keyed.push([json, item]);
      continue;
    }
    const pattern = readPattern(json, kinds);
    if (pattern === null) return null;
    others.push([pattern, item]);
  }
  let scanned: (readonly [Pattern, T])[] | undefined;
  const everything = () => {
    scanned ??= [...keyed.map(([json, item]) => [readPattern(json, kinds)!, item] as const), ...others];
    return scanned;
  };
  return {
    all: list.map(([, item]) => item),
    find(value) {
      const key = plainKey(value);
      const hit = key === null ? undefined : exact.get(key);
      if (hit !== undefined) return { sure: hit, maybe: [] };
      const maybe: T[] = [];
      for (const [pattern, item] of key === null ? everything() : others) {
        const t = pattern(value);
        if (t === 1) return { sure: item, maybe: [] };
        if (t === null) maybe.push(item);
      }
      return maybe.length > 0
        ? { sure: undefined, maybe: rest === undefined ? maybe : [...maybe, rest] }
        : { sure: rest, maybe };
    },
  };
}
