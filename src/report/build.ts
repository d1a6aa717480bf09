import type { Severity } from '../rule/index.ts';
import type { Analysis, LogPlace } from './analysis.ts';
import { anchorsOf, figure, shownFindings } from './findings.ts';
import { type CauseModel, type Detail, FULL, type ReportModel } from './model.ts';
import { byNumber, plural } from './names.ts';
import {
  bundleRows,
  collectionWindow,
  gapRows,
  nodeGroups,
  SEVERITY_WORDS,
  timeline,
  uncheckedRows,
} from './sections.ts';
import { topologyPicture } from './topology.ts';
import { decided } from './verdict.ts';
import { visibleDeep } from './visible.ts';

/** All that a report says of an analysis, as much of it as `detail` allows. */
export function buildReportModel(analysis: Analysis, place: LogPlace, detail = FULL): ReportModel {
  const nodes = [...new Set(analysis.bundles.filter((b) => b.current).map((b) => b.node))].sort(byNumber);
  const anchors = anchorsOf(analysis);
  const { hidden, ...findings } = shownFindings(analysis, anchors, detail);
  const [top] = findings.causes;
  const verdict = verdictOf(analysis, top);
  const bundles = bundleRows(analysis);
  return visibleDeep({
    modelVersion: 1,
    title: `${verdict.word}: ${top?.message ?? analysis.verdict.sentence}`,
    verdict,
    window: collectionWindow(analysis.bundles),
    tool: analysis.tool,
    place,
    numbers: numbersOf(analysis, nodes.length),
    ...findings,
    groups: nodeGroups(analysis, nodes, anchors),
    topology: topologyPicture(analysis, nodes),
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
    rules: analysis.rules.flatMap((r) => {
      const counts = analysis.verdicts[r.id];
      return counts === undefined ? [] : [{ id: r.id, title: r.title.good, counts }];
    }),
    redactions: analysis.bundles.reduce((sum, b) => sum + b.redactions, 0),
    leftOut: leftOutOf(detail, hidden, analysis.bundles.length - bundles.length),
  });
}

function verdictOf(analysis: Analysis, top: CauseModel | undefined): ReportModel['verdict'] {
  const { severity, sentence } = analysis.verdict;
  const mark = markOf(analysis);
  return {
    severity,
    mark,
    word: SEVERITY_WORDS[mark],
    sentence,
    why: top === undefined ? '' : `${top.confidence}: ${top.why}`,
    first: top?.remediation[0]?.step ?? '',
  };
}

/** Green only when something was decided and nothing was left open; a case without a bundle was not checked. */
export function markOf(analysis: Pick<Analysis, 'verdict' | 'verdicts'>): Severity | 'pass' | 'unchecked' {
  if (analysis.verdict.severity !== 'none') return analysis.verdict.severity;
  const { decided: yes, undecided } = decided(analysis);
  return yes > 0 && undecided === 0 ? 'pass' : 'unchecked';
}

function numbersOf(analysis: Analysis, nodes: number): ReportModel['numbers'] {
  const missing = analysis.missingNodes.length;
  return [
    { label: 'nodes analysed', value: missing > 0 ? `${nodes} of ${nodes + missing}` : String(nodes) },
    { label: 'findings', value: String(analysis.findings.filter((f) => f.severity !== 'info').length) },
    { label: 'questions not decided', value: String(decided(analysis).undecided) },
    { label: 'bundles', value: String(analysis.bundles.length) },
  ];
}

/** What the page says about what it does not show. */
function leftOutOf(detail: Detail, findings: number, bundles: number): string[] {
  const said: string[] = [];
  if (detail.context === 0) said.push('the lines around the cited lines');
  else if (detail.context < FULL.context) said.push(`lines around the cited lines but ${detail.context} each side`);
  if (findings > 0) said.push(`${plural(findings, 'finding')} after the gravest ${detail.findings}`);
  if (bundles > 0) said.push(`the list of ${plural(bundles, 'whole bundle')} without a finding`);
  return said;
}
