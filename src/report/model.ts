import type { Confidence, Remediation, Severity } from '../rule/index.ts';
import type { Analysis, LogPlace } from './analysis.ts';
import type { PathModel } from './path.ts';
import type { TopologyPicture } from './topology.ts';

export interface FigureModel {
  readonly label: string;
  readonly node: string;
  readonly path: string;
  readonly evidence: string;
  /** `43` or `43-45`; empty for an absence. */
  readonly lines: string;
  readonly absent: string;
  readonly context: readonly { readonly line: number; readonly text: string; readonly cited: boolean }[];
}

export interface CauseModel {
  readonly anchor: string;
  readonly rank: number;
  readonly rule: string;
  readonly severity: Severity;
  readonly title: string;
  readonly message: string;
  readonly nodes: string;
  readonly nodeCount: number;
  readonly confidence: Confidence;
  readonly why: string;
  readonly explanation: string;
  readonly disprove: string;
  readonly figures: readonly FigureModel[];
  readonly hiddenFigures: number;
  readonly symptoms: readonly { readonly anchor: string; readonly message: string }[];
  readonly others: readonly string[];
  readonly hiddenOthers: number;
  readonly remediation: readonly Remediation[];
  readonly references: readonly string[];
  readonly accepted: string;
  readonly id: string;
  /** Where its packet's path is drawn; '' when it has none. */
  readonly path: string;
  /** The finding at which its rule is explained; '': here. */
  readonly explainedAt: string;
}

export interface NodeGroup {
  readonly names: string;
  readonly count: number;
  readonly mark: Severity | 'pass' | 'unchecked';
  readonly word: string;
  readonly findings: readonly { readonly anchor: string; readonly title: string; readonly severity: Severity }[];
  readonly undecided: readonly string[];
}

/** Versioned; the only thing that templates read. Every string is already safe to look at (no control or bidi characters). */
export interface ReportModel {
  readonly modelVersion: 1;
  readonly title: string;
  readonly verdict: {
    readonly severity: Severity | 'none';
    readonly mark: Severity | 'pass' | 'unchecked';
    readonly word: string;
    readonly sentence: string;
    readonly why: string;
    readonly first: string;
  };
  readonly window: string;
  readonly tool: Analysis['tool'];
  readonly place: LogPlace;
  readonly numbers: readonly { readonly label: string; readonly value: string }[];
  readonly causes: readonly CauseModel[];
  readonly notes: readonly CauseModel[];
  readonly groups: readonly NodeGroup[];
  readonly topology: TopologyPicture | null;
  /** Packets that were followed, for findings that come from one. */
  readonly paths: readonly PathModel[];
  readonly hiddenPaths: number;
  readonly timeline: readonly {
    readonly at: string;
    readonly node: string;
    readonly what: string;
    readonly source: string;
  }[];
  readonly unchecked: readonly {
    readonly rule: string;
    readonly title: string;
    readonly nodes: string;
    readonly because: string;
    readonly how: string;
    readonly kind: string;
  }[];
  readonly missingNodes: readonly {
    readonly node: string;
    readonly because: string;
    readonly figures: readonly FigureModel[];
  }[];
  readonly problems: Analysis['problems'];
  readonly gaps: readonly {
    readonly status: string;
    readonly nodes: string;
    readonly items: readonly string[];
    readonly because: string;
  }[];
  readonly bundles: Analysis['bundles'];
  readonly bundleCount: number;
  readonly gapCount: number;
  readonly rules: readonly {
    readonly id: string;
    readonly title: string;
    readonly counts: Analysis['verdicts'][string];
  }[];
  readonly redactions: number;
  readonly leftOut: readonly string[];
}

/** How much a report shows; `html.ts` gives it up step by step when a report is too large. */
export interface Detail {
  /** Lines each side of a cited line. */
  readonly context: number;
  /** Evidence figures a finding. */
  readonly figures: number;
  /** Causes, and as many further findings. */
  readonly findings: number;
}

export const FULL: Detail = { context: 3, figures: 6, findings: 1000 };
