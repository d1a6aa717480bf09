import { createHash } from 'node:crypto';
import type { AnalysisFinding } from '../engine/analysis.ts';
import type { ResolvedCite } from '../engine/excerpt.ts';
import type { Confidence, Remediation, Severity } from '../rule/index.ts';
import type { Analysis, LogPlace } from './analysis.ts';
import { byNumber, names, plural, ranges } from './names.ts';
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
  readonly remediation: readonly Remediation[];
  readonly references: readonly string[];
  readonly accepted: string;
  readonly id: string;
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
    readonly evidence: string;
    readonly command: string;
    readonly status: string;
    readonly nodes: string;
  }[];
  readonly bundles: Analysis['bundles'];
  readonly rules: readonly {
    readonly id: string;
    readonly title: string;
    readonly counts: Analysis['verdicts'][string];
  }[];
  readonly redactions: number;
  readonly leftOut: readonly string[];
}

export const SEVERITY_WORDS: Record<Severity | 'none' | 'pass' | 'unchecked', string> = {
  critical: 'Critical',
  high: 'High',
  medium: 'Medium',
  low: 'Low',
  info: 'Note',
  none: 'No fault found',
  pass: 'No fault found',
  unchecked: 'Not checked',
};

const CONFIDENCE_WHY: Record<Confidence, string> = {
  proven: 'the collected files state it, or the packet was followed through them',
  likely: 'one line of evidence and the rule say so',
  possible: 'only the pattern fits; confirm before acting',
};

const FIGURES = 6;

/** `context` is how many lines around a cite are kept: the first thing given up when a report is too large. */
export function buildReportModel(analysis: Analysis, place: LogPlace, context = 3): ReportModel {
  const nodes = [...new Set(analysis.bundles.filter((b) => b.current).map((b) => b.node))].sort(byNumber);
  const anchors = new Map(
    analysis.findings.map((f) => [f.id, `f-${createHash('sha256').update(f.id).digest('hex').slice(0, 10)}`]),
  );
  const byId = new Map(analysis.findings.map((f) => [f.id, f]));
  const make = (f: AnalysisFinding, rank: number, explains: readonly string[], alsoOn: readonly string[]) =>
    causeModel(f, rank, explains, alsoOn, analysis, anchors, byId, context);
  const causes = analysis.causes.flatMap((c) => {
    const f = byId.get(c.finding);
    return f === undefined ? [] : [make(f, c.rank, c.explains, c.alsoOn)];
  });
  const shown = new Set(analysis.causes.flatMap((c) => [c.finding, ...c.alsoOn]));
  const notes = analysis.findings.filter((f) => !shown.has(f.id)).map((f) => make(f, 0, [], []));
  const { undecided } = decided(analysis);
  const collected = analysis.bundles.flatMap((b) => (b.collectedAt === null ? [] : [b.collectedAt])).sort();
  const top = causes[0];
  const model: ReportModel = {
    modelVersion: 1,
    title: `${SEVERITY_WORDS[analysis.verdict.severity]}: ${top?.message ?? analysis.verdict.sentence}`,
    verdict: {
      severity: analysis.verdict.severity,
      word: SEVERITY_WORDS[analysis.verdict.severity],
      sentence: analysis.verdict.sentence,
      why: top === undefined ? '' : `${top.confidence}: ${top.why}`,
      first: top?.remediation[0]?.step ?? '',
    },
    window:
      collected.length === 0
        ? 'time of collection unknown'
        : `${collected[0]} to ${collected.at(-1)} (UTC, by the nodes’ clocks)`,
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
    timeline: analysis.bundles
      .map((b) => ({
        at: b.collectedAt ?? 'unknown',
        node: b.node,
        what: b.complete ? 'bundle collected' : 'bundle collected, incomplete',
        source: b.source,
      }))
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : byNumber(a.node, b.node))),
    unchecked: uncheckedRows(analysis),
    missingNodes: analysis.missingNodes.map((m) => ({
      node: m.node,
      because: m.because,
      figures: m.cites.map((c, i) => figure(c, i, context)),
    })),
    problems: analysis.problems,
    gaps: analysis.gaps.map((g) => ({ ...g, nodes: names(g.nodes) })),
    bundles: [...analysis.bundles].sort((a, b) => byNumber(a.node, b.node) || (a.sha256 < b.sha256 ? -1 : 1)),
    rules: analysis.rules
      .filter((r) => analysis.verdicts[r.id] !== undefined)
      .map((r) => ({ id: r.id, title: r.title.good, counts: analysis.verdicts[r.id] as Analysis['verdicts'][string] })),
    redactions: analysis.bundles.reduce((sum, b) => sum + b.redactions, 0),
    leftOut:
      context < 3 ? [`lines around cited lines: only ${context} each side are shown; all are in the case file`] : [],
  };
  return visibleDeep(model);
}

function causeModel(
  f: AnalysisFinding,
  rank: number,
  explains: readonly string[],
  alsoOn: readonly string[],
  analysis: Analysis,
  anchors: ReadonlyMap<string, string>,
  byId: ReadonlyMap<string, AnalysisFinding>,
  context: number,
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
    figures: f.cites.slice(0, FIGURES).map((c, i) => figure(c, i, context)),
    hiddenFigures: Math.max(0, f.cites.length - FIGURES),
    symptoms: explains.flatMap((id) => {
      const s = byId.get(id);
      return s === undefined ? [] : [{ anchor: anchors.get(id) ?? '', message: s.message }];
    }),
    others: alsoOn.flatMap((id) => byId.get(id)?.message ?? []).slice(0, 20),
    remediation: f.remediation ?? rule?.remediation ?? [],
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

/** Nodes with the same results stand together; the worst first. A node with open questions and no finding is not a pass. */
function nodeGroups(analysis: Analysis, nodes: readonly string[], anchors: ReadonlyMap<string, string>): NodeGroup[] {
  const groups = new Map<string, { members: string[]; group: Omit<NodeGroup, 'names' | 'count'> }>();
  const severities = ['critical', 'high', 'medium', 'low', 'info'] as const;
  for (const node of nodes) {
    const mine = analysis.findings.filter((f) => f.nodes.includes(node) && f.severity !== 'info');
    const open = Object.entries(analysis.matrix).flatMap(([rule, row]) =>
      ['unknown', 'missing', 'error'].includes(row[node] ?? '') ? [rule] : [],
    );
    const passed = Object.values(analysis.matrix).some((row) => row[node] === 'pass');
    const worst = severities.find((s) => mine.some((f) => f.severity === s));
    const mark = worst ?? (passed && open.length === 0 ? 'pass' : 'unchecked');
    const word =
      worst !== undefined
        ? SEVERITY_WORDS[worst]
        : mark === 'pass'
          ? 'No fault found'
          : passed
            ? 'No fault found in what was checked'
            : 'Not checked';
    const titles = new Map<string, NodeGroup['findings'][number]>();
    for (const f of mine) {
      const title = analysis.rules.find((r) => r.id === f.rule)?.title.bad ?? f.rule;
      if (!titles.has(f.rule)) titles.set(f.rule, { anchor: anchors.get(f.id) ?? '', title, severity: f.severity });
    }
    const key = JSON.stringify([mark, [...titles.keys()].sort(), open]);
    const known = groups.get(key);
    if (known !== undefined) known.members.push(node);
    else groups.set(key, { members: [node], group: { mark, word, findings: [...titles.values()], undecided: open } });
  }
  const order = [...severities, 'unchecked', 'pass'];
  return [...groups.values()]
    .map(({ members, group }) => ({ ...group, names: ranges(members).join(', '), count: members.length }))
    .sort((a, b) => order.indexOf(a.mark) - order.indexOf(b.mark) || a.count - b.count || byNumber(a.names, b.names));
}

function uncheckedRows(analysis: Analysis): ReportModel['unchecked'] {
  return analysis.unknown.map((u) => {
    const rule = analysis.rules.find((r) => r.id === u.rule);
    const commands = u.evidence
      .map((id) => analysis.gaps.find((g) => g.evidence === id)?.command ?? '')
      .filter((c) => c !== '');
    const how =
      u.evidence.length === 0
        ? ''
        : commands.length > 0
          ? `${u.evidence.join(', ')}: ${[...new Set(commands)].join('; ')}`
          : u.evidence.join(', ');
    return {
      rule: u.rule,
      title: rule?.title.good ?? u.rule,
      nodes: `${names(u.nodes)} (${plural(u.nodes.length, 'node')})`,
      because: u.because,
      how,
      kind: u.kind,
    };
  });
}
