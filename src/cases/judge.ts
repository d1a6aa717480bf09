import { createHash } from 'node:crypto';
import { commandFor, hasContent } from '../core/evidence.ts';
import type { NodeEvidence, NodeResult, ResultSource } from '../engine/index.ts';
import { judgeCluster, judgeNode } from '../engine/index.ts';
import type { AnalysedBundle, AnalysedProblem, Analysis, CoverageGap, LogPlace } from '../report/index.ts';
import { verdictOf } from '../report/verdict.ts';
import type { AnyRule } from '../rule/index.ts';
import { encodeBlob } from '../store/blob.ts';
import type { BundleRow, CaseFile } from '../store/index.ts';
import { caseNodes } from './case-nodes.ts';
import { decodeEvidence } from './evidence-text.ts';
import { baseName } from './names.ts';
import type { EvidenceIndex, Opened } from './prepare.ts';
import { encodeResult, isOwnFile } from './prepare.ts';
import { getDigest, getResult, putResult, recordsByPath } from './results.ts';
import { tool } from './tool.ts';

/**
 * Judges the case as it stands and records it: the same bundles, rule set and acceptances are one `analysis.completed` event,
 * so that analysing twice changes nothing.
 */
export async function judgeCase(
  store: CaseFile,
  rules: readonly AnyRule[],
  opened?: Opened,
): Promise<{ analysis: Analysis; place: LogPlace }> {
  const { ruleset, version } = tool();
  const bundles = store.bundles();
  const accepted = store.accepted();
  const inputs = JSON.stringify([
    ruleset,
    version,
    bundles.map((b) => [b.sha256, b.node, b.current]),
    accepted,
    store.rejected().length,
  ]);
  const key = `analysis ${createHash('sha256').update(inputs).digest('hex')}`;
  const known = store.eventByKey(key);
  if (known !== null && known.type === 'analysis.completed') {
    const blob = store.readBlob(known.payload.analysisBlob);
    if (blob !== null)
      return {
        analysis: JSON.parse(Buffer.from(blob).toString()) as Analysis,
        place: { position: known.seq, head: known.hash },
      };
  }
  const analysis = evaluate(store, bundles, accepted, rules, ruleset, opened);
  const blob = encodeBlob(Buffer.from(JSON.stringify(analysis)));
  const event = store.transaction(() => {
    store.putBlobs([blob]);
    return store.append({
      type: 'analysis.completed',
      key,
      payload: {
        ruleset,
        tool: version,
        position: store.head().position,
        analysisBlob: blob.sha256,
        verdict: analysis.verdict,
        counts: counts(analysis),
      },
    });
  });
  return { analysis, place: { position: event.seq, head: event.hash } };
}

function counts(analysis: Analysis): Record<string, number> {
  const by: Record<string, number> = { critical: 0, high: 0, medium: 0, low: 0, info: 0 };
  for (const f of analysis.findings) by[f.severity] = (by[f.severity] ?? 0) + 1;
  return by;
}

/** What judging reads of a case, and the cache of node results that it fills. */
export type JudgedCase = Pick<CaseFile, 'evidenceOf' | 'rejected' | 'readBlob' | 'getNodeResult' | 'putNodeResult'> &
  Partial<Pick<CaseFile, 'caches'>>;

/** Judges bundles against rules; what `judgeCase` records. */
export function evaluate(
  store: JudgedCase,
  bundles: readonly BundleRow[],
  accepted: Analysis['accepted'],
  rules: readonly AnyRule[],
  ruleset: string,
  opened?: Opened,
): Analysis {
  const current = bundles.filter((b) => b.current);
  const byNode = new Map(current.map((b) => [b.node, b]));
  const problems: AnalysedProblem[] = [];
  const gaps = new Map<string, CoverageGap & { nodes: string[] }>();
  const note = (node: string, evidence: string, status: string) => {
    const key = `${evidence} ${status}`;
    const gap = gaps.get(key) ?? { evidence, command: commandFor(evidence) ?? '', status, nodes: [] };
    // an item of many instances (network namespaces) is one gap of its node
    if (!gap.nodes.includes(node)) gap.nodes.push(node);
    gaps.set(key, gap);
  };
  const listed: AnalysedBundle[] = [];
  for (const b of bundles) {
    const index = store.evidenceOf(b.sha256) as EvidenceIndex;
    for (const p of index.problems)
      problems.push({ source: b.source, node: b.node, code: p.code, severity: p.severity, message: p.message });
    const records = index.records.filter((r) => !isOwnFile(r));
    if (b.current) {
      for (const r of records) {
        if (r.status === 'ok' || (hasContent(r.status) && r.status === 'failed' && r.bytes !== 0)) continue;
        note(b.node, r.id, r.reason === undefined ? r.status : `${r.status}: ${r.reason}`);
      }
    }
    listed.push({
      sha256: b.sha256,
      source: b.source,
      format: b.format,
      node: b.node,
      collectedAt: b.collectedAt,
      collector: b.collector,
      complete: b.complete,
      current: b.current,
      items: records.length,
      itemsOk: records.filter((r) => r.status === 'ok').length,
      redactions: records.reduce((sum, r) => sum + (r.redactions ?? 0), 0),
    });
  }
  for (const r of store.rejected())
    problems.push({ source: r.source, node: null, code: r.code, severity: 'high', message: r.message });
  problems.push(...clones(current), ...likeNamed(current));
  const texts = new Map<string, string | null>();
  const source: ResultSource = {
    nodes: current.map((b) => ({
      id: b.node,
      collectedAt: b.collectedAt,
      machineIdSha256: b.machineId,
      bootId: b.bootId,
    })),
    read(node) {
      const bundle = byNode.get(node) as BundleRow;
      const result = getResult(store, bundle.sha256, ruleset, node) ?? judgeNow(node, bundle);
      // came, but not all of it could be read: what is absent from it proves nothing
      for (const n of result.notes) note(node, n.evidence, unreadText(n));
      return result;
    },
    digest(node, rule) {
      return getDigest(store, (byNode.get(node) as BundleRow).sha256, ruleset, node, rule);
    },
    textOf(node, path) {
      const key = `${node} ${path}`;
      const known = texts.get(key);
      if (known !== undefined) return known;
      const bundle = byNode.get(node);
      const text = bundle === undefined ? null : storedEvidence(store, bundle).textAt(path);
      // findings of one rule cite few files of many nodes: keep the last ones only
      if (texts.size > 8) texts.clear();
      texts.set(key, text);
      return text;
    },
    open: caseNodes(store, current, opened),
  };
  const judgeNow = (node: string, bundle: BundleRow) => {
    const result = judgeNode(storedEvidence(store, bundle), rules);
    putResult(store, bundle.sha256, ruleset, node, encodeResult(result));
    return result;
  };
  const judgement = judgeCluster(source, rules);
  const verdict = verdictOf(judgement, current.length, new Set(Object.keys(accepted)));
  const texted = rules
    .filter((r) => judgement.verdicts[r.id] !== undefined)
    .map(({ id, title, severity, explanation, remediation, references }) => ({
      id,
      title,
      severity,
      explanation,
      remediation,
      references,
    }));
  return {
    schemaVersion: 1,
    tool: tool(),
    verdict,
    bundles: listed,
    problems,
    gaps: [...gaps.values()],
    rules: texted,
    accepted,
    ...judgement,
  };
}

/** The lines of a file that no parser understood, as a status of its evidence. */
function unreadText({ why, skipped }: NodeResult['notes'][number]): string {
  const [first] = skipped;
  if (why !== null || first === undefined) return `unreadable: ${why ?? 'no line was understood'}`;
  return `read in part: ${skipped.length === 1 ? 'one line was' : `${skipped.length} lines were`} not understood (line ${first.line}: ${first.why})`;
}

/** A stored bundle as the engine reads it: blobs by their sha256, decoded on demand. */
export function storedEvidence(store: Pick<CaseFile, 'evidenceOf' | 'readBlob'>, bundle: BundleRow): NodeEvidence {
  const index = store.evidenceOf(bundle.sha256) as EvidenceIndex;
  const byPath = recordsByPath(index.records);
  const texts = new Map<string, string | null>();
  return {
    info: {
      id: bundle.node,
      hostname: bundle.hostname,
      bootId: bundle.bootId,
      machineIdSha256: bundle.machineId,
      collectedAt: bundle.collectedAt,
      format: bundle.format,
      complete: bundle.complete,
      context: bundle.context,
      evidence: index.records.filter((r) => !isOwnFile(r)),
    },
    textAt(path) {
      const known = texts.get(path);
      if (known !== undefined) return known;
      const record = byPath.get(path);
      const bytes = record?.sha256 === undefined || record.status === 'altered' ? null : store.readBlob(record.sha256);
      const text = bytes === null ? null : decodeEvidence(bytes);
      texts.set(path, text);
      return text;
    },
  };
}

/** Equal machine ids under different names: a cloned disk, or one node renamed. */
function clones(current: readonly BundleRow[]): AnalysedProblem[] {
  const owners = new Map<string, BundleRow>();
  const found: AnalysedProblem[] = [];
  for (const b of current) {
    if (b.machineId === null) continue;
    const other = owners.get(b.machineId);
    if (other === undefined) owners.set(b.machineId, b);
    else {
      const message = `${b.node} and ${other.node} have the same machine id: a cloned VM, or one node under two names. Give each machine its own /etc/machine-id.`;
      found.push({ source: b.source, node: b.node, code: 'same-machine-id', severity: 'medium', message });
    }
  }
  return found;
}

/** Folders of loose files by one name with unlike contents: both are judged, for neither may hide what the other shows. */
function likeNamed(current: readonly BundleRow[]): AnalysedProblem[] {
  const loose = current.filter((b) => b.format === 'loose-files' && b.machineId === null);
  return loose.flatMap((b) => {
    const name = baseName(b.node);
    if (name === b.node || !loose.some((o) => o.node === name)) return [];
    const message = `${b.node} is another folder of files by the name of ${name}, with other contents: nothing tells whether both are of one node, nor which is newer, so both are judged. If it is the newer one of that node, give it alone with --node ${name} to a new case.`;
    return [{ source: b.source, node: b.node, code: 'like-named-folder', severity: 'medium', message }];
  });
}
