import type { Judgement } from '../engine/analysis.ts';
import type { Remediation, Severity } from '../rule/index.ts';

/** One bundle of the case, as the report's appendix lists it. */
export interface AnalysedBundle {
  readonly sha256: string;
  readonly source: string;
  readonly format: string;
  readonly node: string;
  /** ISO UTC by the node's clock; null when the bundle does not say. */
  readonly collectedAt: string | null;
  readonly collector: string | null;
  readonly complete: boolean;
  /** The bundle that the node was judged by (the newest of a node). */
  readonly current: boolean;
  readonly items: number;
  readonly itemsOk: number;
  readonly redactions: number;
}

/** Something wrong with an input: a refused archive, a duplicate member, an altered file. */
export interface AnalysedProblem {
  readonly source: string;
  readonly node: string | null;
  readonly code: string;
  readonly severity: string;
  readonly message: string;
}

export interface RuleText {
  readonly id: string;
  readonly title: { readonly bad: string; readonly good: string };
  readonly severity: Severity;
  readonly explanation: string;
  readonly remediation: readonly Remediation[];
  readonly references: readonly string[];
}

/** An evidence item that did not come, on which nodes, and what would collect it. */
export interface CoverageGap {
  readonly evidence: string;
  readonly command: string;
  readonly status: string;
  readonly nodes: readonly string[];
}

/** What an analysis concluded: the payload behind `analysis.completed`, from which every report is rendered. */
export interface Analysis extends Judgement {
  readonly schemaVersion: 1;
  readonly tool: { readonly name: 'netcase'; readonly version: string; readonly ruleset: string };
  readonly verdict: { readonly severity: Severity | 'none'; readonly sentence: string };
  readonly bundles: readonly AnalysedBundle[];
  readonly problems: readonly AnalysedProblem[];
  readonly gaps: readonly CoverageGap[];
  readonly rules: readonly RuleText[];
  /** Findings that somebody accepted, by id, with the reason; still listed, never counted against `--fail-on`. */
  readonly accepted: Readonly<Record<string, { readonly because: string; readonly until: string | null }>>;
}

/** Where in the log an analysis stands: reports print it, `verify` checks it. */
export interface LogPlace {
  readonly position: number;
  readonly head: string;
}
