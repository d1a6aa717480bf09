export * from './analysis.ts';
export type { Excerpt, ResolvedCite } from './excerpt.ts';
export type { NodeEvidence, ParseNote } from './facts.ts';
export { NodeFacts } from './facts.ts';
export type { NodeAnswer, NodeResult, ResolvedFinding } from './node.ts';
export { judgeNode } from './node.ts';
