import type { Fact, FactKind, MissingFact } from '../facts/index.ts';

export type AnyFact = Fact<FactKind>;

/** A place in the evidence that decided something. */
export interface Cite {
  readonly fact: AnyFact;
  readonly line: number;
  readonly endLine?: number;
  readonly text?: string;
}

/** The evidence was collected and does not hold it. */
export interface Absence {
  readonly node: string;
  readonly evidence: string;
  readonly path: string;
  readonly absent: string;
}

/**
 * 1 true, 0 false, null unknown; between them: true by chance (`statistic`). Unknown never becomes known by negation or by a second match,
 * only by one that is false.
 */
export type Truth = number | null;

export const both = (a: Truth, b: Truth): Truth => (a === 0 || b === 0 ? 0 : a === null || b === null ? null : a * b);
export const negate = (t: Truth, negated: boolean): Truth => (t === null || !negated ? t : 1 - t);
export const truth = (b: boolean): Truth => (b ? 1 : 0);

/** Why something is not known, and which evidence would tell. */
export interface Reason {
  readonly because: string;
  readonly evidence: readonly string[];
  /** On which node the question arose. */
  readonly node?: string;
}

/** One way of a fork that the evidence does not decide. */
export interface Doubt extends Reason {
  /** The same question has the same key. */
  readonly key: string;
  readonly holds: boolean;
}

export function missingReason(what: string, fact: MissingFact): Reason {
  return { because: `${what}: ${fact.evidence[0]} ${fact.because}`, evidence: [fact.evidence[0]] };
}

export function cite(fact: AnyFact, at: { line: number; endLine?: number | undefined }, text?: string): Cite {
  const { line, endLine } = at;
  const cited = endLine === undefined || endLine === line ? { fact, line } : { fact, line, endLine };
  return text === undefined ? cited : { ...cited, text };
}

/** Doubts of a fork whose both ways came to the same end: what differs only in one answer no longer depends on it. Null: they stay apart. */
export function mergeDoubts(a: readonly Doubt[], b: readonly Doubt[]): readonly Doubt[] | null {
  if (a === b) return a;
  if (a.length !== b.length) return null;
  let at = -1;
  for (let i = 0; i < a.length; i += 1) {
    const [x, y] = [a[i]!, b[i]!];
    if (x.key !== y.key) return null;
    if (x.holds === y.holds) continue;
    if (at >= 0) return null;
    at = i;
  }
  return at < 0 ? a : a.filter((_, i) => i !== at);
}
