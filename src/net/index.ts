export { formatAddr } from './addr.ts';
export { askEgress, askForward, type Decider, type HookAnswer, type NatAnswer, routeTo, type Sample } from './ask.ts';
export { clusterOf, lazyCluster, type NetCluster, type Owner } from './cluster.ts';
export { buildNode, HOOK_KINDS, type HookKind, type NetFacts, type NetNode } from './model.ts';
export { PlaceError } from './place.ts';
export { type ReachGroup, type ReachResult, reach } from './reach.ts';
export { type Representative, representativeOf } from './representative.ts';
export { type TraceCite, type TraceHalf, type TraceHop, type TraceResult, trace } from './result.ts';
export type { TraceRequest } from './trace.ts';
