import type { AnyRule } from '../rule/index.ts';
import { countVerdicts, type Judgement } from './analysis.ts';
import { rankCauses } from './causes.ts';

/** A judgement as it is seen from some of its nodes: what is said of any of them, with causes ranked among themselves. */
export function judgementOf(
  judgement: Omit<Judgement, 'topology'>,
  nodes: ReadonlySet<string>,
  rules: readonly AnyRule[],
): Omit<Judgement, 'topology'> {
  const findings = judgement.findings.filter((f) => f.nodes.some((n) => nodes.has(n)));
  const matrix: Record<string, Judgement['matrix'][string]> = {};
  for (const [rule, row] of Object.entries(judgement.matrix))
    matrix[rule] = Object.fromEntries(Object.entries(row).filter(([node]) => nodes.has(node)));
  return {
    findings,
    causes: rankCauses(findings, rules),
    unknown: judgement.unknown.flatMap((u) => {
      const of = u.nodes.filter((n) => nodes.has(n));
      return of.length === 0 ? [] : [{ ...u, nodes: of }];
    }),
    missingNodes: judgement.missingNodes.filter((m) => m.cites.some((c) => nodes.has(c.node))),
    verdicts: Object.fromEntries(
      Object.entries(matrix).map(([rule, row]) => [rule, countVerdicts(Object.values(row))]),
    ),
    matrix,
  };
}
