import type { DiffBy, JudgementDiff } from '../engine/index.ts';
import type { Severity } from '../rule/index.ts';
import type { Analysis } from './analysis.ts';
import type { JsonCite } from './json.ts';

/** One side of a comparison. */
export interface DiffSide {
  /** The last event that counts; `at`: when it was recorded, ISO. `file`: without its folder. */
  readonly case: {
    readonly file: string;
    readonly position: number;
    readonly head: string;
    readonly at: string;
  };
  /** Newest bundles, one a node. */
  readonly nodes: number;
  /** What today's rules say of them. */
  readonly verdict: Analysis['verdict'];
  /** The analysis that was recorded for the same bundles; null when there is none. */
  readonly recorded: { readonly tool: Analysis['tool']; readonly verdict: Analysis['verdict'] } | null;
}

export interface DiffFinding {
  readonly id: string;
  readonly rule: string;
  readonly severity: Severity;
  readonly confidence: string;
  readonly nodes: readonly string[];
  readonly message: string;
  readonly cites: readonly JsonCite[];
  readonly accepted: { readonly because: string; readonly until: string | null } | null;
}

/** Output of `netcase diff --format json` (schema/diff.v1.json). */
export interface DiffJson {
  readonly schemaVersion: 1;
  readonly tool: Analysis['tool'];
  readonly from: DiffSide;
  readonly to: DiffSide;
  /** `recollected`: judged by another bundle than before. */
  readonly nodes: {
    readonly appeared: readonly string[];
    readonly gone: readonly string[];
    readonly recollected: readonly string[];
  };
  readonly appeared: readonly { readonly finding: DiffFinding; readonly by: DiffBy; readonly because: string }[];
  /** `proof`: what the rule cites for its answer of now, as far as it is of one node. */
  readonly gone: readonly {
    readonly finding: DiffFinding;
    readonly by: DiffBy;
    readonly because: string;
    readonly proof: readonly JsonCite[];
  }[];
  readonly changed: readonly {
    readonly finding: DiffFinding;
    readonly by: DiffBy;
    readonly changes: JudgementDiff['changed'][number]['changes'];
  }[];
  readonly unproven: readonly {
    readonly finding: DiffFinding;
    readonly by: DiffBy;
    readonly because: string;
    readonly evidence: readonly string[];
  }[];
  readonly undecided: JudgementDiff['undecided'];
  readonly same: number;
  /** What could not be compared. */
  readonly notes: readonly string[];
}
