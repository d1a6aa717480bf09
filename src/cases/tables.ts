import { evidenceKind } from '../core/evidence.ts';
import type { Analysis } from '../report/index.ts';
import type { CaseFile } from '../store/index.ts';
import { Failure } from './failure.ts';
import { latestAnalysis } from './place.ts';
import { getResult } from './results.ts';

/** A table for a person, and the same as data for a program. */
export interface Listing {
  readonly head: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  readonly data: unknown;
}

export function listFindings(store: CaseFile): Listing {
  const { analysis } = latestAnalysis(store);
  const data = analysis.findings.map((f) => {
    const first = f.cites[0];
    const where =
      first === undefined
        ? ''
        : first.kind === 'absent'
          ? `${first.node}:${first.path} (absent)`
          : `${first.node}:${first.path}:${first.line}`;
    return {
      id: f.id,
      severity: f.severity,
      confidence: f.confidence,
      nodes: f.nodes,
      message: f.message,
      cite: where,
      accepted: analysis.accepted[f.id] ?? null,
    };
  });
  return {
    head: ['SEVERITY', 'CONFIDENCE', 'FINDING', 'CITE', 'MESSAGE'],
    rows: data.map((f) => [
      f.accepted === null ? f.severity : `${f.severity} (accepted)`,
      f.confidence,
      f.id,
      f.cite,
      f.message,
    ]),
    data,
  };
}

export function listNodes(store: CaseFile): Listing {
  const { analysis } = latestAnalysis(store);
  const data = analysis.bundles.map((b) => ({
    ...b,
    findings: analysis.findings.filter((f) => f.nodes.includes(b.node) && f.severity !== 'info').length,
  }));
  return {
    head: ['NODE', 'COLLECTED', 'BUNDLE', 'ITEMS OK', 'FINDINGS', 'STATE'],
    rows: data.map((b) => [
      b.node,
      b.collectedAt,
      b.source,
      `${b.itemsOk}/${b.items}`,
      b.current ? b.findings : '-',
      !b.complete ? 'incomplete' : b.current ? 'current' : 'superseded',
    ]),
    data: { nodes: data, missing: analysis.missingNodes },
  };
}

/** Rule by node kind counts, and every evidence item that did not come. */
export function listCoverage(store: CaseFile): Listing {
  const { analysis } = latestAnalysis(store);
  const rows: unknown[][] = Object.entries(analysis.verdicts).map(([rule, v]) => [
    rule,
    v.findings,
    v.pass,
    v.notApplicable,
    v.unknown,
    v.missing,
    v.error,
  ]);
  const unknown = analysis.unknown.map((u) => ({
    ...u,
    collect: u.evidence.flatMap((id) => evidenceKind(id)?.command ?? []),
  }));
  return {
    head: ['RULE', 'FINDINGS', 'PASS', 'N/A', 'UNKNOWN', 'MISSING', 'ERROR'],
    rows,
    data: { verdicts: analysis.verdicts, unknown, evidence: analysis.gaps },
  };
}

export function listHistory(store: CaseFile): Listing {
  const data = [...store.events()].map((e) => ({
    position: e.seq,
    at: e.recordedAt,
    type: e.type,
    what: summary(e.type, e.payload as Record<string, unknown>),
    hash: e.hash,
  }));
  return {
    head: ['POSITION', 'RECORDED', 'EVENT', 'WHAT', 'HASH'],
    rows: data.map((e) => [e.position, e.at, e.type, e.what, e.hash.slice(0, 12)]),
    data,
  };
}

function summary(type: string, payload: Record<string, unknown>): string {
  switch (type) {
    case 'bundle.ingested':
      return `${payload['node']} ${payload['source']} collected ${payload['collectedAt'] ?? 'unknown'}`;
    case 'bundle.rejected':
      return `${payload['source']}: ${payload['message']}`;
    case 'analysis.completed':
      return (payload['verdict'] as Analysis['verdict']).sentence;
    case 'report.rendered':
      return `${payload['format']} ${String(payload['sha256']).slice(0, 12)}`;
    case 'finding.accepted':
      return `${payload['finding']}: ${payload['because']}`;
    default:
      return '';
  }
}

/** Why a rule answered as it did for one node: its answer, proof or reason, and its findings there. */
export function explainAnswer(
  store: CaseFile,
  rule: string,
  node: string,
): { answer: string; because: string; cites: readonly unknown[]; findings: Analysis['findings'] } {
  const { analysis } = latestAnalysis(store);
  const row = analysis.matrix[rule];
  if (row === undefined) throw new Failure('usage', `there is no rule ${rule}; netcase rules lists them`);
  const answer = row[node];
  if (answer === undefined)
    throw new Failure('usage', `there is no node ${node} in this case; netcase nodes lists them`);
  const bundle = analysis.bundles.find((b) => b.node === node && b.current);
  const result = bundle === undefined ? null : getResult(store, bundle.sha256, analysis.tool.ruleset, node);
  const detail = result?.answers[rule];
  const open = analysis.unknown.filter((u) => u.rule === rule && u.nodes.includes(node)).map((u) => u.because);
  return {
    answer,
    because: detail?.because ?? open.join('; '),
    cites: detail?.cites ?? [],
    findings: analysis.findings.filter((f) => f.rule === rule && f.nodes.includes(node)),
  };
}
