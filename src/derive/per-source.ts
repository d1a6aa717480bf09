/**
 * A derivation that is made once for each source: many rules ask the same of a node. The source must not change, and what is made must not be
 * changed by those who ask.
 */
export function perSource<S extends object, T>(derive: (source: S) => T): (source: S) => T {
  const made = new WeakMap<S, { readonly value: T }>();
  return (source) => {
    const known = made.get(source) ?? { value: derive(source) };
    made.set(source, known);
    return known.value;
  };
}
