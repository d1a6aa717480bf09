import type { EvidenceRecord } from '../core/evidence.ts';
import type { NodeResult } from '../engine/index.ts';
import type { CaseFile } from '../store/index.ts';
import { unpackJson } from './packed-json.ts';
import type { EncodedResult } from './prepare.ts';

/** Node results are a cache beside the log: they may vanish at any time and are made again from the evidence. */
export function putResult(
  store: Pick<CaseFile, 'putNodeResult'>,
  bundle: string,
  ruleset: string,
  node: string,
  result: EncodedResult,
): void {
  store.putNodeResult(bundle, ruleset, node, result.main);
  for (const [rule, digest] of Object.entries(result.digests))
    store.putNodeResult(bundle, ruleset, `${node} ${rule}`, digest);
}

export function getResult(
  store: Pick<CaseFile, 'getNodeResult'>,
  bundle: string,
  ruleset: string,
  node: string,
): Omit<NodeResult, 'digests'> | null {
  const bytes = store.getNodeResult(bundle, ruleset, node);
  return bytes === null ? null : (unpackJson(bytes) as Omit<NodeResult, 'digests'>);
}

export function getDigest(
  store: Pick<CaseFile, 'getNodeResult'>,
  bundle: string,
  ruleset: string,
  node: string,
  rule: string,
): unknown {
  const bytes = store.getNodeResult(bundle, ruleset, `${node} ${rule}`);
  return bytes === null ? undefined : unpackJson(bytes);
}

/** The evidence records of a bundle by their path. */
export function recordsByPath(records: readonly EvidenceRecord[]): Map<string, EvidenceRecord> {
  return new Map(records.map((r) => [r.path, r]));
}
