import { isNonEmpty } from '../core/span.ts';
import type { ClusterVerdict, Finding, NodeVerdict } from './verdict.ts';

/**
 * What each node’s own evidence says, as the answer of a cluster rule: for rules that judge a node alone and then look at the others, which may
 * show a finding in another light (`seen`).
 */
export function joinVerdicts(
  list: readonly { readonly node: string; readonly verdict: NodeVerdict }[],
  seen: (finding: Finding, node: string) => Finding,
): ClusterVerdict {
  return {
    findings: list.flatMap(({ node, verdict }) =>
      verdict.kind === 'findings' ? verdict.findings.map((f) => seen(f, node)) : [],
    ),
    unknown: list.flatMap(({ verdict }) =>
      verdict.kind === 'findings' || verdict.kind === 'unknown' ? verdict.unknown : [],
    ),
    passes: list.flatMap(({ node, verdict }) =>
      verdict.kind === 'pass' && isNonEmpty(verdict.cites) ? [{ node, cites: verdict.cites }] : [],
    ),
    notApplicable: list.flatMap(({ node, verdict }) =>
      verdict.kind === 'not-applicable' ? [{ nodes: [node] as const, because: verdict.because }] : [],
    ),
  };
}
