import type { NonEmpty } from '../core/span.ts';
import type { TraceJson } from '../core/trace.ts';

export type Severity = 'critical' | 'high' | 'medium' | 'low' | 'info';
export const SEVERITIES = ['critical', 'high', 'medium', 'low', 'info'] as const satisfies readonly Severity[];

/** proven: a packet walk or two independent lines; likely: one line and the rule; possible: a pattern only. */
export type Confidence = 'proven' | 'likely' | 'possible';

/** A line range of an evidence file. */
export interface LineCite {
  readonly kind: 'lines';
  readonly node: string;
  readonly evidence: string;
  readonly path: string;
  readonly line: number;
  readonly endLine: number;
  /** 1-based column and length inside `line`, for one-line JSON. */
  readonly col?: number | undefined;
  readonly length?: number | undefined;
}

/** The file was collected whole and does not hold X. */
export interface AbsenceCite {
  readonly kind: 'absent';
  readonly node: string;
  readonly evidence: string;
  readonly path: string;
  readonly absent: string;
}

export type Cite = LineCite | AbsenceCite;

export interface Remediation {
  readonly step: string;
  /** Command to run on the node, ready to paste. */
  readonly run?: string;
  readonly verify?: string;
  readonly undo?: string;
  readonly risk?: string;
}

export interface Finding {
  /** Which one of this rule's faults; no line numbers, so that it keeps its identity in the next collection. */
  readonly key: string;
  readonly severity: Severity;
  readonly confidence: Confidence;
  readonly nodes: NonEmpty<string>;
  /** Of a symptom: the nodes where its cause can be, when those are fewer than `nodes`. */
  readonly blame?: readonly string[];
  /** One sentence. */
  readonly message: string;
  readonly cites: NonEmpty<Cite>;
  readonly remediation?: readonly Remediation[];
  /** What is broken on its nodes has another cause, or may have one: it breaks nothing yet, or not all that a symptom speaks of. */
  readonly latent?: boolean;
  /** Explains only symptoms that speak of one of these (an address, a place): it breaks the paths of one container, or those by one router. */
  readonly about?: readonly string[];
  /** What collected fact would disprove it. */
  readonly disprove?: string;
  /** A traced packet, when the finding comes from one. */
  readonly trace?: TraceJson;
}

/** A question that could not be settled, for some nodes. */
export interface Undecided {
  readonly nodes: NonEmpty<string>;
  readonly because: string;
  readonly evidence: readonly string[];
}

export type NodeVerdict =
  | { readonly kind: 'findings'; readonly findings: NonEmpty<Finding>; readonly unknown: readonly Undecided[] }
  | { readonly kind: 'pass'; readonly cites: NonEmpty<Cite> }
  | { readonly kind: 'not-applicable'; readonly because: string; readonly cites: readonly Cite[] }
  | { readonly kind: 'unknown'; readonly unknown: NonEmpty<Undecided> };

/** A cluster rule answers for each node it was given: nodes named nowhere are reported as an error of the rule. */
export interface ClusterVerdict {
  readonly findings: readonly Finding[];
  readonly passes: readonly { readonly node: string; readonly cites: NonEmpty<Cite> }[];
  readonly unknown: readonly Undecided[];
  readonly notApplicable: readonly { readonly nodes: NonEmpty<string>; readonly because: string }[];
}

export function findings(list: NonEmpty<Finding>, unknown: readonly Undecided[] = []): NodeVerdict {
  return { kind: 'findings', findings: list, unknown };
}

/** `pass` is proved too. */
export function pass(first: Cite, ...more: Cite[]): NodeVerdict {
  return { kind: 'pass', cites: [first, ...more] };
}

export function notApplicable(because: string, cites: readonly Cite[] = []): NodeVerdict {
  return { kind: 'not-applicable', because, cites };
}

export function unknown(node: string, because: string, evidence: readonly string[]): NodeVerdict {
  return { kind: 'unknown', unknown: [{ nodes: [node], because, evidence }] };
}

const severityRank = { critical: 0, high: 1, medium: 2, low: 3, info: 4 } satisfies Record<Severity, number>;

/** The gravest severity of a list; `none` when it is empty. */
export function worst(list: readonly { readonly severity: Severity }[]): Severity | 'none' {
  for (const severity of SEVERITIES) if (list.some((f) => f.severity === severity)) return severity;
  return 'none';
}

export function atLeast(severity: Severity | 'none', threshold: Severity): boolean {
  return severity !== 'none' && severityRank[severity] <= severityRank[threshold];
}

export function compareSeverity(a: Severity, b: Severity): number {
  return severityRank[a] - severityRank[b];
}
