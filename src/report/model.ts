import { createHash } from 'node:crypto';
import type { AnalysisFinding } from '../engine/analysis.ts';
import type { ResolvedCite } from '../engine/excerpt.ts';
import type { Confidence, Remediation, Severity } from '../rule/index.ts';
import type { Analysis, LogPlace } from './analysis.ts';
import { byNumber, names, plural } from './names.ts';
import { drawPaths, type PathModel } from './path.ts';
import {
  bundleRows,
  collectionWindow,
  gapRows,
  nodeGroups,
  SEVERITY_WORDS,
  timeline,
  uncheckedRows,
} from './sections.ts';
import type { TopologyPicture } from './topology.ts';
import { topologyPicture } from './topology.ts';
import { decided } from './verdict.ts';
import { visibleDeep } from './visible.ts';

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

const CONFIDENCE_WHY: Record<Confidence, string> = {
  proven: 'the collected files state it, or the packet was followed through them',
  likely: 'one line of evidence and the rule say so',
  possible: 'only the pattern fits; confirm before acting',
};

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

const OTHERS = 20;

export function buildReportModel(analysis: Analysis, place: LogPlace, detail = FULL): ReportModel {
  const nodes = [...new Set(analysis.bundles.filter((b) => b.current).map((b) => b.node))].sort(byNumber);
  const anchors = new Map(
    analysis.findings.map((f) => [f.id, `f-${createHash('sha256').update(f.id).digest('hex').slice(0, 10)}`]),
  );
  const byId = new Map(analysis.findings.map((f) => [f.id, f]));
  const make = (f: AnalysisFinding, rank: number, explains: readonly string[], alsoOn: readonly string[], d = detail) =>
    causeModel(f, rank, explains, alsoOn, analysis, anchors, byId, d);
  const ranked = analysis.causes.slice(0, detail.findings).flatMap((c) => {
    const f = byId.get(c.finding);
    return f === undefined ? [] : [make(f, c.rank, c.explains, c.alsoOn)];
  });
  const shown = new Set(analysis.causes.flatMap((c) => [c.finding, ...c.alsoOn]));
  const rest = analysis.findings.filter((f) => !shown.has(f.id));
  // symptoms need less around their lines than causes
  const less = { ...detail, context: Math.min(detail.context, 1) };
  const further = rest.slice(0, detail.findings).map((f) => make(f, 0, [], [], less));
  const { undecided } = decided(analysis);
  const { paths, hidden: hiddenPaths, pathOf } = drawPaths([...ranked, ...further], (id) => byId.get(id)?.trace);
  const explained = new Map<string, string>();
  // what a rule is about is said once, where it comes first
  const linked = (list: readonly CauseModel[]) =>
    list.map((c): CauseModel => {
      const first = explained.get(c.rule);
      if (first === undefined) explained.set(c.rule, c.anchor);
      const said = first === undefined ? {} : { explanation: '', references: [], explainedAt: first };
      return { ...c, ...said, path: pathOf(c.anchor) };
    });
  const [causes, notes] = [linked(ranked), linked(further)];
  const top = causes[0];
  const mark = verdictMark(analysis);
  const bundles = bundleRows(analysis);
  const leftOut: string[] = [];
  if (detail.context < FULL.context)
    leftOut.push(
      detail.context === 0
        ? 'the lines around the cited lines'
        : `lines around the cited lines but ${detail.context} each side`,
    );
  const hidden = analysis.causes.length - causes.length + rest.length - notes.length;
  if (hidden > 0) leftOut.push(`${plural(hidden, 'finding')} after the gravest ${detail.findings}`);
  if (bundles.length < analysis.bundles.length)
    leftOut.push(`the list of ${plural(analysis.bundles.length - bundles.length, 'whole bundle')} without a finding`);
  const model: ReportModel = {
    modelVersion: 1,
    title: `${SEVERITY_WORDS[mark]}: ${top?.message ?? analysis.verdict.sentence}`,
    verdict: {
      severity: analysis.verdict.severity,
      mark,
      word: SEVERITY_WORDS[mark],
      sentence: analysis.verdict.sentence,
      why: top === undefined ? '' : `${top.confidence}: ${top.why}`,
      first: top?.remediation[0]?.step ?? '',
    },
    window: collectionWindow(analysis.bundles),
    tool: analysis.tool,
    place,
    numbers: [
      {
        label: 'nodes analysed',
        value:
          analysis.missingNodes.length > 0
            ? `${nodes.length} of ${nodes.length + analysis.missingNodes.length}`
            : String(nodes.length),
      },
      { label: 'findings', value: String(analysis.findings.filter((f) => f.severity !== 'info').length) },
      { label: 'questions not decided', value: String(undecided) },
      { label: 'bundles', value: String(analysis.bundles.length) },
    ],
    causes,
    notes,
    groups: nodeGroups(analysis, nodes, anchors),
    topology: topologyPicture(analysis, nodes),
    paths,
    hiddenPaths,
    timeline: timeline(analysis.bundles),
    unchecked: uncheckedRows(analysis),
    missingNodes: analysis.missingNodes.map((m) => ({
      node: m.node,
      because: m.because,
      figures: m.cites.map((c, i) => figure(c, i, detail.context)),
    })),
    problems: analysis.problems,
    gaps: gapRows(analysis.gaps),
    bundles,
    bundleCount: analysis.bundles.length,
    gapCount: analysis.gaps.length,
    rules: analysis.rules
      .filter((r) => analysis.verdicts[r.id] !== undefined)
      .map((r) => ({ id: r.id, title: r.title.good, counts: analysis.verdicts[r.id] as Analysis['verdicts'][string] })),
    redactions: analysis.bundles.reduce((sum, b) => sum + b.redactions, 0),
    leftOut,
  };
  return visibleDeep(model);
}

/** Green only when something was decided and nothing was left open; a case without a bundle was not checked. */
function verdictMark(analysis: Analysis): Severity | 'pass' | 'unchecked' {
  if (analysis.verdict.severity !== 'none') return analysis.verdict.severity;
  const { decided: yes, undecided } = decided(analysis);
  return yes > 0 && undecided === 0 ? 'pass' : 'unchecked';
}

function causeModel(
  f: AnalysisFinding,
  rank: number,
  explains: readonly string[],
  alsoOn: readonly string[],
  analysis: Analysis,
  anchors: ReadonlyMap<string, string>,
  byId: ReadonlyMap<string, AnalysisFinding>,
  detail: Detail,
): CauseModel {
  const rule = analysis.rules.find((r) => r.id === f.rule);
  const all = [...f.nodes, ...alsoOn.flatMap((id) => byId.get(id)?.nodes ?? [])];
  const accepted = analysis.accepted[f.id];
  return {
    anchor: anchors.get(f.id) ?? '',
    rank,
    id: f.id,
    rule: f.rule,
    severity: f.severity,
    title: rule?.title.bad ?? f.rule,
    message: f.message,
    nodes: names(all, 8),
    nodeCount: new Set(all).size,
    confidence: f.confidence,
    why: CONFIDENCE_WHY[f.confidence],
    explanation: rule?.explanation ?? '',
    disprove: f.disprove ?? '',
    figures: f.cites.slice(0, detail.figures).map((c, i) => figure(c, i, detail.context)),
    hiddenFigures: Math.max(0, f.cites.length - detail.figures),
    symptoms: explains.flatMap((id) => {
      const s = byId.get(id);
      return s === undefined ? [] : [{ anchor: anchors.get(id) ?? '', message: s.message }];
    }),
    others: alsoOn.flatMap((id) => byId.get(id)?.message ?? []).slice(0, OTHERS),
    hiddenOthers: Math.max(0, alsoOn.length - OTHERS),
    remediation: f.remediation ?? rule?.remediation ?? [],
    path: '',
    explainedAt: '',
    references: rule?.references ?? [],
    accepted:
      accepted === undefined ? '' : `${accepted.because}${accepted.until === null ? '' : ` (until ${accepted.until})`}`,
  };
}

function figure(cite: ResolvedCite, index: number, around: number): FigureModel {
  const base = { label: `Figure ${index + 1}`, node: cite.node, path: cite.path, evidence: cite.evidence };
  if (cite.kind === 'absent') return { ...base, lines: '', absent: cite.absent, context: [] };
  const lines = cite.line === cite.endLine ? String(cite.line) : `${cite.line}-${cite.endLine}`;
  const context = (cite.excerpt?.context ?? []).filter(
    (c) => c.cited || (c.line >= cite.line - around && c.line <= cite.endLine + around),
  );
  return { ...base, lines, absent: '', context };
}
