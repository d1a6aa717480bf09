export { formatAddr } from './addr.ts';
export {
  askEgress,
  askForward,
  type Decider,
  decidedBy,
  isDropped,
  type NatAnswer,
} from './ask.ts';
export { withoutBackend } from './ask-backend.ts';
export { askDestination } from './ask-port.ts';
export { loneRoute, routesThrough, routeThrough, routeTo, ruleOfMarks } from './ask-route.ts';
export { clusterOf, lazyCluster, type NetCluster } from './cluster.ts';
export { fleetOf } from './fleet.ts';
export { buildNode, HOOK_KINDS, HOOK_WANTS, hookNode, type NetNode, RULESET_KINDS } from './model.ts';
export { PlaceError } from './place.ts';
export { isPolicy, type Lost, lostEnd, lostKey, type Probed, probe } from './probe.ts';
export { type Lesson, learnPart, type Pod, reach, reachOf, surveyOf } from './reach.ts';
export { type TraceResult, trace } from './result.ts';
export { routeMap } from './route-map.ts';
export { shieldOf } from './shield.ts';
export type { TraceRequest } from './trace.ts';
