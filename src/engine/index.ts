export * from './analysis.ts';
export type { Corner, DiffBy, JudgementDiff } from './diff.ts';
export { diffJudgements } from './diff.ts';
export type { NodeEvidence } from './facts.ts';
export { NodeFacts } from './facts.ts';
export type { NodeResult } from './node.ts';
export { judgeNode } from './node.ts';
export { judgementOf } from './unit.ts';
