export * from './analysis.ts';
export type { NodeEvidence } from './facts.ts';
export { NodeFacts } from './facts.ts';
export type { NodeResult } from './node.ts';
export { judgeNode } from './node.ts';
