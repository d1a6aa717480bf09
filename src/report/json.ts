import type { AnalysisFinding } from '../engine/analysis.ts';
import type { ResolvedCite } from '../engine/excerpt.ts';
import type { Analysis, LogPlace } from './analysis.ts';

/** A cite: a line range with its text, or an absence. */
export type JsonCite = { readonly node: string; readonly evidence: string; readonly path: string } & (
  | { readonly line: number; readonly endLine: number; readonly text: string | null }
  | { readonly absent: string }
);

export function jsonCite(cite: ResolvedCite): JsonCite {
  if (cite.kind === 'absent') return { node: cite.node, evidence: cite.evidence, path: cite.path, absent: cite.absent };
  const { node, evidence, path, line, endLine } = cite;
  return { node, evidence, path, line, endLine, text: cite.excerpt?.text ?? null };
}

function jsonFinding(f: AnalysisFinding, analysis: Analysis): Record<string, unknown> {
  const rule = analysis.rules.find((r) => r.id === f.rule);
  return {
    id: f.id,
    rule: f.rule,
    key: f.key,
    group: f.group,
    severity: f.severity,
    confidence: f.confidence,
    nodes: f.nodes,
    message: f.message,
    cites: f.cites.map(jsonCite),
    remediation: f.remediation ?? rule?.remediation ?? [],
    disprove: f.disprove ?? null,
    trace: f.trace ?? null,
    accepted: analysis.accepted[f.id] ?? null,
  };
}

/** The Analysis JSON (schema/analysis.v1.json); keys keep this order, same case position gives the same bytes. */
export function renderJson(analysis: Analysis, place: LogPlace): string {
  const nodes = [...new Set(analysis.bundles.map((b) => b.node))].map((id) => ({
    id,
    bundles: analysis.bundles
      .filter((b) => b.node === id)
      .map(({ sha256, collectedAt, source, complete, current }) => ({
        sha256,
        collectedAt,
        source,
        complete,
        current,
      })),
  }));
  const document = {
    schemaVersion: 1,
    tool: analysis.tool,
    case: place,
    verdict: analysis.verdict,
    nodes,
    findings: analysis.findings.map((f) => jsonFinding(f, analysis)),
    causes: analysis.causes,
    unknown: analysis.unknown,
    missingNodes: analysis.missingNodes.map((m) => ({ ...m, cites: m.cites.map(jsonCite) })),
    verdicts: analysis.verdicts,
    problems: analysis.problems,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
