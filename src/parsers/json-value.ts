/** Careful access to values of foreign JSON: own properties only, null for everything that is not of the type. */

export function get(value: unknown, ...keys: readonly string[]): unknown {
  let at = value;
  for (const key of keys) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[key];
  }
  return at;
}

/** A text that says something; '' is how docker prints "none". */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

export function boolean(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function entries(value: unknown): [string, unknown][] {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}

/** Text values by key, without a prototype: the keys come from a file. */
export function textRecord(value: unknown): Readonly<Record<string, string>> {
  const record: Record<string, string> = Object.create(null);
  for (const [key, v] of entries(value)) if (typeof v === 'string') record[key] = v;
  return record;
}

/** Leaves out what is undefined, so that optional fields are absent. */
export function present<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const from = value as Record<string, unknown>;
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(from)) {
    const v = from[key];
    if (v !== undefined) out[key] = v;
  }
  return out as { [K in keyof T]: Exclude<T[K], undefined> };
}
