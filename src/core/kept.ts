/** Asks once for each key, and again once the answer was dropped; `drop` says whether there was one. */
export function kept<K, V>(make: (key: K) => V): ((key: K) => V) & { drop(key: K): boolean } {
  const known = new Map<K, V>();
  const get = (key: K): V => {
    let value = known.get(key);
    if (value === undefined && !known.has(key)) {
      value = make(key);
      known.set(key, value);
    }
    return value as V;
  };
  return Object.assign(get, { drop: (key: K) => known.delete(key) });
}
