import type { NetCluster } from './cluster.ts';
import { PlaceError } from './place.ts';
import { resultOf, type TraceCite, type TraceHalf, type TraceHop, type TraceResult, type TraceWay } from './result.ts';
import { follow, type TraceRequest } from './trace.ts';

/** What one probe says about the path that it took. */
export type Probed =
  | { readonly kind: 'reached'; readonly cites: readonly TraceCite[] }
  /** Dropped where dropping is the purpose: isolation of networks, network policies. */
  | { readonly kind: 'policy' }
  | {
      readonly kind: 'unknown';
      readonly because: string;
      readonly evidence: readonly string[];
      /** It left the collected nodes, and what comes then is not in the evidence. */
      readonly outside: boolean;
      /** Some rule gave it another destination. */
      readonly translated: boolean;
    }
  | Lost;

export interface Lost {
  readonly kind: 'lost';
  readonly half: 'request' | 'answer';
  /** Share of new connections, where the rules balance; null: all of them, or not known. */
  readonly share: number | null;
  /** The hop that ends it. */
  readonly hop: TraceHop;
  readonly because: string;
  readonly cites: readonly TraceCite[];
  /** Nodes where the cause can be. */
  readonly blame: readonly string[];
  readonly trace: TraceResult;
}

/** Between which nodes a probe goes; null: outside, or anywhere. */
export interface Ends {
  readonly from: string | null;
  readonly to: string | null;
}

/** Chains whose purpose is to drop: isolation of networks, network policies. */
const POLICY =
  /DOCKER-ISOLATION|DOCKER-INTERNAL|KUBE-ROUTER|KUBE-NWPLCY|KUBE-POD-FW|kube-network-policies|cali-|calico|CILIUM|WEAVE-NPC|NETAVARK_ISOLATION/;
export const isPolicy = (place: string): boolean => POLICY.test(place);

/** Follows one packet and its answer and says whether the path holds; that nothing listens at its end is no fault of the path. */
export function probe(cluster: NetCluster, request: TraceRequest, ends: Ends): Probed {
  let result: TraceResult;
  try {
    // reasons without the names of nodes: those that are equal on many nodes are said once
    const { answer, packet } = follow(cluster, request);
    result = resultOf(answer, packet);
  } catch (error) {
    if (error instanceof PlaceError)
      return { kind: 'unknown', because: error.message, evidence: [], outside: false, translated: false };
    throw error;
  }
  if (result.branches.length === 0) return judgeWay(result, result, ends);
  const ways = result.branches.map((b) => ({ probability: b.probability, probed: judgeWay(b, result, ends) }));
  const lost = ways.filter((w) => w.probed.kind === 'lost');
  const [first] = lost;
  if (first !== undefined) {
    const shares = lost.map((w) => w.probability);
    const share = shares.reduce<number | null>((sum, p) => (sum === null || p === null ? null : sum + p), 0);
    return { ...(first.probed as Lost), share: lost.length === ways.length ? null : share };
  }
  return (ways.find((w) => w.probed.kind === 'unknown') ?? ways[0])?.probed ?? judgeWay(result, result, ends);
}

function judgeWay(way: TraceWay, result: TraceResult, ends: Ends): Probed {
  const last = way.hops.at(-1);
  if (way.verdict === 'unknown') return open(way, way.because, result);
  const atSocket = way.verdict === 'rejected' && last?.place === 'socket';
  if (way.verdict !== 'delivered' && !atSocket) return lostAt('request', way, way, result, ends);
  const arrivedAt = way.arrived?.node ?? last?.node ?? null;
  if (ends.to !== null && arrivedAt !== null && arrivedAt !== ends.to && last !== undefined) {
    const turned = turnOf(way, way) !== undefined;
    const because = turned ? `it arrives on ${arrivedAt}` : `it arrives on ${arrivedAt}, which has the same address`;
    // what made it stay there is the route to an address of the node, whatever the packet met then
    const local = turned ? -1 : way.hops.findLastIndex((h) => h.action === 'local' && h.cites.length > 0);
    const hops = local < 0 ? way.hops : way.hops.slice(0, local + 1);
    return lost('request', { ...way, hops, because }, way, result, [arrivedAt, ends.to]);
  }
  const { reply } = way;
  if (!atSocket && reply !== null && reply.verdict !== 'delivered')
    return reply.verdict === 'unknown'
      ? open(reply, reply.because, result)
      : lostAt('answer', reply, way, result, ends);
  return { kind: 'reached', cites: way.hops.flatMap((h) => h.cites) };
}

function open(end: TraceHalf, because: string, result: TraceResult): Probed {
  const [first] = result.missing;
  const translated = result.hops.some((h) => h.action === 'dnat');
  // several questions: one of them is not about the outside
  const outside = end.hops.at(-1)?.place.startsWith('outside') === true && result.missing.length <= 1;
  return { kind: 'unknown', because: first?.because ?? because, evidence: first?.evidence ?? [], outside, translated };
}

function lostAt(half: Lost['half'], end: TraceHalf, way: TraceWay, result: TraceResult, ends: Ends): Probed {
  const at = end.hops.at(-1);
  if (at !== undefined && isPolicy(at.place)) return { kind: 'policy' };
  const target = half === 'request' ? ends.to : ends.from;
  const inTunnel = end.hops.findLastIndex((h) => h.action === 'encapsulate');
  const out = end.hops.findLastIndex((h) => h.action === 'decapsulate');
  const sender = inTunnel > out ? end.hops[inTunnel]?.node : undefined;
  const blame = [at?.node, target, sender].filter((n): n is string => n !== undefined && n !== null);
  return lost(half, end, way, result, blame);
}

function lost(
  half: Lost['half'],
  end: TraceHalf,
  way: TraceWay,
  result: TraceResult,
  blame: readonly string[],
): Probed {
  // a drop that nothing in a file says (no route, no answer for a neighbour) is proved by what led there
  const hop = end.hops.at(-1);
  const cited = end.hops.findLast((h) => h.cites.length > 0) ?? way.hops.findLast((h) => h.cites.length > 0);
  if (hop === undefined || cited === undefined)
    return { kind: 'unknown', because: end.because, evidence: [], outside: false, translated: false };
  const turn = turnOf(way, end);
  const because = turn === undefined ? end.because : `${end.because}, ${turn.why} by "${turn.hop.text}"`;
  const cites = turn === undefined ? cited.cites : [...turn.hop.cites, ...cited.cites];
  return { kind: 'lost', half, share: null, hop, because, cites, blame, trace: result };
}

/** Chains whose purpose is to give services and published ports their real destination. */
const SERVES = /> (KUBE-SEP-|KUBE-SVC-|DOCKER$|CNI-DN-|NETAVARK-DN-)|docker-bridges|kube-proxy|cni_hostport/;

/**
 * A rule that made of the request what its sender did not ask for, and so may be the very reason why it, or its answer, ends; or the one that
 * took the TTL away.
 */
function turnOf(way: TraceHalf, end: TraceHalf): { readonly hop: TraceHop; readonly why: string } | undefined {
  const hop = way.hops.findLast((h) => (h.action === 'dnat' || h.action === 'redirect') && !SERVES.test(h.place));
  if (hop !== undefined && hop.place !== 'ipvs') return { hop, why: 'redirected' };
  const ttl = end.hops.at(-1)?.place === 'ttl' ? end.hops.findLast((h) => h.action === 'ttl') : undefined;
  return ttl === undefined ? undefined : { hop: ttl, why: 'set' };
}

/** Which fault it is, whatever addresses the packet had. */
export const lostKey = ({ hop }: Lost): string => `${hop.place}: ${hop.text.replace(/\d+(\.\d+){3}(:\d+)?/g, 'IP')}`;

/** `dropped on node-b at filter/FORWARD: ...` */
export function lostEnd({ half, hop, because }: Lost): string {
  const what = half === 'request' ? '' : 'its answer is ';
  return `${what}dropped on ${hop.node} at ${hop.place}: ${because.replace(`${hop.place}: `, '')}`;
}
