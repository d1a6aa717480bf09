/** Where something stands in an evidence file. Lines count from 1; `endLine` is inclusive and defaults to `line`. */
export interface Span {
  readonly line: number;
  readonly endLine?: number | undefined;
  /** First character (from 1) and length inside `line`; only for evidence whose lines are long (one-line JSON). */
  readonly col?: number | undefined;
  readonly length?: number | undefined;
}

export type NonEmpty<T> = readonly [T, ...T[]];

export function isNonEmpty<T>(list: readonly T[]): list is NonEmpty<T> {
  return list.length > 0;
}
