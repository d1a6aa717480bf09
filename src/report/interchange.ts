import type { TraceJson } from '../core/trace.ts';
import type { ResolvedCite } from '../engine/excerpt.ts';
import type { Severity } from '../rule/index.ts';
import type { Analysis, LogPlace } from './analysis.ts';
import { visible } from './visible.ts';

const LEVEL: Record<Severity, string> = {
  critical: 'error',
  high: 'error',
  medium: 'warning',
  low: 'note',
  info: 'note',
};
const RANK: Record<string, number> = { proven: 90, likely: 60, possible: 30 };

/** SARIF 2.1.0: one result a finding, cites as locations; undecided questions as `open` results without a location. */
export function renderSarif(analysis: Analysis, place: LogPlace): string {
  const ruleIndex = new Map(analysis.rules.map((r, i) => [r.id, i]));
  const location = (c: ResolvedCite) => ({
    physicalLocation: {
      artifactLocation: { uri: encodeURI(visible(`${c.node}/${c.path}`)) },
      ...(c.kind === 'lines'
        ? { region: { startLine: c.line, endLine: c.endLine, snippet: { text: c.excerpt?.text ?? '' } } }
        : {}),
    },
    ...(c.kind === 'absent' ? { message: { text: `does not hold: ${c.absent}` } } : {}),
    logicalLocations: [{ name: c.node, kind: 'namespace' }],
  });
  const results = [
    ...analysis.findings.map((f) => ({
      ruleId: f.rule,
      ruleIndex: ruleIndex.get(f.rule) ?? -1,
      level: LEVEL[f.severity],
      kind: 'fail',
      rank: RANK[f.confidence] ?? 50,
      message: { text: visible(f.message) },
      locations: f.cites.slice(0, 100).map(location),
      ...codeFlows(f.trace),
      partialFingerprints: { 'netcase/v1': f.id },
      ...(analysis.accepted[f.id] === undefined
        ? {}
        : { suppressions: [{ kind: 'external', justification: analysis.accepted[f.id]?.because ?? '' }] }),
    })),
    ...analysis.unknown.map((u) => ({
      ruleId: u.rule,
      ruleIndex: ruleIndex.get(u.rule) ?? -1,
      level: 'none',
      kind: 'open',
      message: { text: visible(`not decided on ${u.nodes.join(', ')}: ${u.because}`) },
    })),
  ];
  const document = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'netcase',
            version: analysis.tool.version,
            rules: analysis.rules.map((r) => ({
              id: r.id,
              shortDescription: { text: r.title.bad },
              fullDescription: { text: r.explanation },
              ...(r.references[0] === undefined ? {} : { helpUri: r.references[0] }),
            })),
          },
        },
        properties: { logPosition: place.position, logHead: place.head, ruleset: analysis.tool.ruleset },
        results,
      },
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The path of a packet: one step a hop. */
function codeFlows(trace: TraceJson | undefined): Record<string, unknown> {
  if (trace === undefined) return {};
  const locations = trace.hops.map((hop) => {
    const [cite] = hop.cites;
    const text = visible(`${hop.node} ${hop.place}: ${hop.action} ${hop.text}`);
    const physicalLocation =
      cite !== undefined && 'line' in cite
        ? {
            physicalLocation: {
              artifactLocation: { uri: encodeURI(visible(`${cite.node}/${cite.path}`).toWellFormed()) },
              region: { startLine: cite.line, endLine: cite.endLine },
            },
          }
        : {};
    return { location: { ...physicalLocation, message: { text } } };
  });
  return { codeFlows: [{ message: { text: visible(trace.because) }, threadFlows: [{ locations }] }] };
}

/** JUnit: a suite a node, a case a rule; what was not checked is skipped, never passed. */
export function renderJunit(analysis: Analysis): string {
  const nodes = [...new Set(Object.values(analysis.matrix).flatMap((row) => Object.keys(row)))].sort();
  const out = ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites name="netcase">'];
  for (const node of nodes) {
    const cases: string[] = [];
    let failures = 0;
    let skipped = 0;
    for (const [rule, row] of Object.entries(analysis.matrix)) {
      const kind = row[node];
      if (kind === undefined) continue;
      const open = `    <testcase classname="${xml(node)}" name="${xml(rule)}"`;
      const mine = analysis.findings.filter((f) => f.rule === rule && f.nodes.includes(node));
      if (kind === 'findings' && mine.some((f) => f.severity !== 'info')) {
        failures += 1;
        cases.push(
          `${open}>${mine.map((f) => `<failure message="${xml(f.message)}" type="${f.severity}"/>`).join('')}</testcase>`,
        );
      } else if (kind === 'pass' || kind === 'findings') cases.push(`${open}/>`);
      else {
        skipped += 1;
        const because = analysis.unknown.find((u) => u.rule === rule && u.nodes.includes(node))?.because ?? kind;
        cases.push(`${open}><skipped message="${xml(`${kind}: ${because}`)}"/></testcase>`);
      }
    }
    out.push(
      `  <testsuite name="${xml(node)}" tests="${cases.length}" failures="${failures}" skipped="${skipped}">`,
      ...cases,
      '  </testsuite>',
    );
  }
  out.push('</testsuites>', '');
  return out.join('\n');
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };

/** XML 1.0 text: control characters are not even allowed as references, so they are spelled out. */
function xml(text: string): string {
  return visible(text)
    .replace(/[&<>"']/g, (c) => entities[c] ?? '')
    .replace(/[\ud800-\udfff\ufffe\uffff]/g, '\ufffd')
    .replace(/[\n\t]/g, ' ');
}
