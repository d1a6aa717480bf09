export { formatAddr } from './addr.ts';
export {
  askEgress,
  askForward,
  type Decider,
  decidedBy,
  type HookAnswer,
  isDropped,
  type NatAnswer,
} from './ask.ts';
export { withoutBackend } from './ask-backend.ts';
export { askBridged, asksIptables } from './ask-bridged.ts';
export { askAlike, askInput, askOutput } from './ask-host.ts';
export { askLoopback, type LoopbackWay } from './ask-loopback.ts';
export { askDestination } from './ask-port.ts';
export {
  mainRoute,
  routeFrom,
  routesOf,
  routesThrough,
  routeThrough,
  routeTo,
  ruleOfMarks,
  waysThrough,
} from './ask-route.ts';
export { askSource, type SourceAnswer } from './ask-source.ts';
export { clusterOf, lazyCluster, type NetCluster } from './cluster.ts';
export { fleetOf } from './fleet.ts';
export { buildNode, HOOK_KINDS, HOOK_WANTS, hookNode, type NetNode, RULESET_KINDS } from './model.ts';
export { PlaceError } from './place.ts';
export { isPolicy, type Lost, lostEnd, lostKey, type Probed, probe } from './probe.ts';
export { type Lesson, learnPart, type Pod, reach, reachOf, surveyOf } from './reach.ts';
export { type TraceResult, trace } from './result.ts';
export type { RouteAnswer } from './route-answer.ts';
export { routeMap } from './route-map.ts';
export { shieldOf } from './shield.ts';
export type { TraceRequest } from './trace.ts';
export type { Watch } from './watch.ts';
