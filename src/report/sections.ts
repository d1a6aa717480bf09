import type { Severity } from '../rule/index.ts';
import type { AnalysedBundle, Analysis } from './analysis.ts';
import type { NodeGroup, ReportModel } from './model.ts';
import { byNumber, names, plural, ranges } from './names.ts';

export const SEVERITY_WORDS: Record<Severity | 'pass' | 'unchecked', string> = {
  critical: 'Critical',
  high: 'High',
  medium: 'Medium',
  low: 'Low',
  info: 'Note',
  pass: 'No fault found',
  unchecked: 'Not checked',
};

/** Over this many bundles, times are folded by the minute and only bundles that say something are listed. */
const MOST_BUNDLES = 60;

const stamp = (iso: string) => iso.replace('T', ' ').replace(/(\.000)?Z$/, '');

export function collectionWindow(bundles: readonly AnalysedBundle[]): string {
  const times = bundles.flatMap((b) => (b.collectedAt === null ? [] : [b.collectedAt])).sort();
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined) return 'time of collection unknown';
  return `collected ${stamp(first)}${first === last ? '' : ` to ${stamp(last)}`} UTC by the nodes’ clocks`;
}

export function timeline(bundles: readonly AnalysedBundle[]): ReportModel['timeline'] {
  const what = (b: AnalysedBundle) => (b.complete ? 'bundle collected' : 'bundle collected, incomplete');
  const at = (b: AnalysedBundle) => (b.collectedAt === null ? 'unknown' : stamp(b.collectedAt));
  const sorted = [...bundles].sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : byNumber(a.node, b.node)));
  if (sorted.length <= MOST_BUNDLES)
    return sorted.map((b) => ({ at: at(b), node: b.node, what: what(b), source: b.source }));
  const minutes = new Map<string, AnalysedBundle[]>();
  for (const b of sorted) {
    const key = `${at(b).slice(0, 16)} ${what(b)}`;
    minutes.set(key, [...(minutes.get(key) ?? []), b]);
  }
  return [...minutes.values()].map((group) => {
    const [first] = group as [AnalysedBundle];
    const source = group.length === 1 ? first.source : plural(group.length, 'bundle');
    return { at: at(first).slice(0, 16), node: names(group.map((b) => b.node)), what: what(first), source };
  });
}

/** Every bundle; of a large fleet the incomplete, the superseded and those of nodes with findings. */
export function bundleRows(analysis: Analysis): readonly AnalysedBundle[] {
  const sorted = [...analysis.bundles].sort((a, b) => byNumber(a.node, b.node) || (a.sha256 < b.sha256 ? -1 : 1));
  if (sorted.length <= MOST_BUNDLES) return sorted;
  const found = new Set(analysis.findings.flatMap((f) => (f.severity === 'info' ? [] : f.nodes)));
  return sorted.filter((b) => !b.complete || !b.current || found.has(b.node)).slice(0, 2 * MOST_BUNDLES);
}

/** Nodes with the same results stand together; the worst first. A node with open questions and no finding is not a pass. */
export function nodeGroups(
  analysis: Analysis,
  nodes: readonly string[],
  anchors: ReadonlyMap<string, string>,
): NodeGroup[] {
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

export function uncheckedRows(analysis: Analysis): ReportModel['unchecked'] {
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

/** Items that did not come for the same kind of reason from the same nodes stand together. */
export function gapRows(gaps: Analysis['gaps']): ReportModel['gaps'] {
  const rows = new Map<string, { status: string; nodes: string; items: string[]; reasons: Set<string> }>();
  for (const g of gaps) {
    const [status = '', ...reason] = g.status.split(': ');
    const key = `${status} ${g.nodes.join(' ')}`;
    const row = rows.get(key) ?? { status, nodes: names(g.nodes), items: [], reasons: new Set<string>() };
    if (!row.items.includes(g.evidence)) row.items.push(g.evidence);
    row.reasons.add(reason.join(': '));
    rows.set(key, row);
  }
  return [...rows.values()].map(({ reasons, ...row }) => ({
    ...row,
    because: reasons.size <= 3 ? [...reasons].filter((r) => r !== '').join('; ') : '',
  }));
}
