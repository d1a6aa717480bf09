import type { Analysis } from './analysis.ts';
import type { AuditCause, AuditJson, AuditUnit } from './audit.ts';
import { isFault } from './audit.ts';
import { unitName } from './audit-text.ts';
import { figure } from './findings.ts';
import { names, plural } from './names.ts';
import { collectionWindow, SEVERITY_WORDS, uncheckedRows } from './sections.ts';
import { asset, contentSecurityPolicy, templates } from './templates.ts';
import { visibleDeep } from './visible.ts';

/** What the page shows; all of it is in the JSON. */
const MOST_ROWS = 500;
const MOST_FAULTS = 100;
const MOST_CAUSES = 5;

/** One page for a fleet: no request, no script, the worst first. Same analysis and log place, same bytes. */
export function auditHtml(audit: AuditJson, analysis: Analysis): string {
  const css = asset('css');
  const faults = audit.units.filter((u) => isFault(u.mark));
  const shown = faults.slice(0, MOST_FAULTS);
  const anchors = new Map(shown.map((u, i) => [u, `u-${i + 1}`]));
  let figures = 0;
  const nextFigure = () => {
    figures += 1;
    return figures - 1;
  };
  const mark = audit.units[0]?.mark ?? 'unchecked';
  const m = visibleDeep({
    title: `${SEVERITY_WORDS[mark]}: ${audit.verdict.sentence}`,
    mark,
    word: SEVERITY_WORDS[mark],
    sentence: audit.verdict.sentence,
    window: collectionWindow(analysis.bundles),
    tool: audit.tool,
    place: audit.case,
    numbers: numbersOf(audit),
    rows: audit.units.slice(0, MOST_ROWS).map((u) => rowOf(u, anchors.get(u) ?? '')),
    hiddenRows: Math.max(0, audit.units.length - MOST_ROWS),
    faults: shown.map((u) => ({
      anchor: anchors.get(u) ?? '',
      mark: u.mark,
      name: unitName(u),
      causes: u.causes.slice(0, MOST_CAUSES).map((c) => causeOf(c, analysis, nextFigure)),
      more: Math.max(0, u.causes.length - MOST_CAUSES),
      missing: names(u.missingNodes, 8),
    })),
    hiddenFaults: faults.length - shown.length,
    rules: audit.rules,
    unchecked: uncheckedRows(analysis),
    problems: analysis.problems,
  });
  return templates().render('audit/audit.njk', { m, css, csp: contentSecurityPolicy(css, '') });
}

function numbersOf({ units, nodes }: AuditJson): readonly { label: string; value: string }[] {
  const clusters = units.filter((u) => u.kind === 'cluster').length;
  const missing = units.reduce((sum, u) => sum + u.missingNodes.length, 0);
  return [
    { label: 'clusters', value: String(clusters) },
    { label: 'single nodes', value: String(units.length - clusters) },
    { label: 'nodes analysed', value: missing > 0 ? `${nodes} of ${nodes + missing}` : String(nodes) },
    { label: 'questions not decided', value: String(units.reduce((sum, u) => sum + u.undecided, 0)) },
  ];
}

function rowOf(unit: AuditUnit, anchor: string) {
  const counts = Object.entries(unit.findings).flatMap(([severity, n]) => (n === 0 ? [] : [`${n} ${severity}`]));
  return {
    anchor,
    mark: unit.mark,
    word: SEVERITY_WORDS[unit.mark],
    name: unitName(unit),
    nodes: unit.nodes.length,
    findings: counts.length === 0 ? 'none' : counts.join(', '),
    undecided: unit.undecided === 0 ? 'nothing' : plural(unit.undecided, 'question'),
  };
}

/** The first cite stands for the others. */
function causeOf(cause: AuditCause, analysis: Analysis, nextFigure: () => number) {
  const cite = analysis.findings.find((f) => f.id === cause.finding)?.cites[0];
  const { severity, confidence, message, rule, nodes } = cause;
  return {
    severity,
    confidence,
    message,
    rule,
    nodes: names(nodes, 8),
    figure: cite === undefined ? null : figure(cite, nextFigure(), 1),
  };
}
