import { createHash } from 'node:crypto';
import type { AnalysisFinding } from '../engine/analysis.ts';
import type { ResolvedCite } from '../engine/excerpt.ts';
import type { Confidence } from '../rule/index.ts';
import type { Analysis } from './analysis.ts';
import type { CauseModel, Detail, FigureModel } from './model.ts';
import { names } from './names.ts';
import { drawPaths, type PathModel } from './path.ts';

const CONFIDENCE_WHY: Record<Confidence, string> = {
  proven: 'the collected files state it, or the packet was followed through them',
  likely: 'one line of evidence and the rule say so',
  possible: 'only the pattern fits; confirm before acting',
};

/** Nodes with the same fault that are named one by one. */
const OTHERS = 20;

export interface ShownFindings {
  readonly causes: readonly CauseModel[];
  /** Findings that are neither a cause nor one on a further node. */
  readonly notes: readonly CauseModel[];
  /** Causes and notes that there was no room for. */
  readonly hidden: number;
  readonly paths: readonly PathModel[];
  readonly hiddenPaths: number;
}

/** Finding id -> where it stands in the page, of the same fault on a further node where the first one stands; the same in every report. */
export function anchorsOf({ findings, causes }: Pick<Analysis, 'findings' | 'causes'>): ReadonlyMap<string, string> {
  const anchor = (id: string) => `f-${createHash('sha256').update(id).digest('hex').slice(0, 10)}`;
  const anchors = new Map(findings.map((f) => [f.id, anchor(f.id)] as const));
  for (const { finding, alsoOn } of causes) for (const id of alsoOn) anchors.set(id, anchor(finding));
  return anchors;
}

/** Causes in their rank, then everything else that was found, with the paths that are drawn for them. */
export function shownFindings(analysis: Analysis, anchors: ReadonlyMap<string, string>, detail: Detail): ShownFindings {
  const byId = new Map(analysis.findings.map((f) => [f.id, f]));
  const modelOf = causeModels(analysis, anchors, byId);
  const ranked = analysis.causes.slice(0, detail.findings).flatMap(({ finding, rank, explains, alsoOn }) => {
    const f = byId.get(finding);
    return f === undefined ? [] : [modelOf(f, { rank, explains, alsoOn }, detail)];
  });
  const placed = new Set(analysis.causes.flatMap((c) => [c.finding, ...c.alsoOn]));
  const rest = analysis.findings.filter((f) => !placed.has(f.id));
  // symptoms need less around their lines than causes
  const less = { ...detail, context: Math.min(detail.context, 1) };
  const further = rest.slice(0, detail.findings).map((f) => modelOf(f, { rank: 0, explains: [], alsoOn: [] }, less));
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
  const hidden = analysis.causes.length - causes.length + rest.length - notes.length;
  return { causes, notes, hidden, paths, hiddenPaths };
}

interface Standing {
  readonly rank: number;
  readonly explains: readonly string[];
  readonly alsoOn: readonly string[];
}

function causeModels(
  analysis: Analysis,
  anchors: ReadonlyMap<string, string>,
  byId: ReadonlyMap<string, AnalysisFinding>,
): (f: AnalysisFinding, standing: Standing, detail: Detail) => CauseModel {
  return (f, { rank, explains, alsoOn }, detail) => {
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
        accepted === undefined
          ? ''
          : `${accepted.because}${accepted.until === null ? '' : ` (until ${accepted.until})`}`,
    };
  };
}

/** One cite as a figure: the cited lines and what stands around them. */
export function figure(cite: ResolvedCite, index: number, around: number): FigureModel {
  const base = { label: `Figure ${index + 1}`, node: cite.node, path: cite.path, evidence: cite.evidence };
  if (cite.kind === 'absent') return { ...base, lines: '', absent: cite.absent, context: [] };
  const lines = cite.line === cite.endLine ? String(cite.line) : `${cite.line}-${cite.endLine}`;
  const context = (cite.excerpt?.context ?? []).filter(
    (c) => c.cited || (c.line >= cite.line - around && c.line <= cite.endLine + around),
  );
  return { ...base, lines, absent: '', context };
}
