import { formatAddr } from './addr.ts';
import type { Answer } from './answer.ts';
import { clusterOf, type NetCluster } from './cluster.ts';
import { type Block, foldPairs, pairsIn } from './fold.ts';
import type { NetNode } from './model.ts';
import { type Representative, representativeOf } from './representative.ts';
import { resultOf, type TraceCite, type TraceResult } from './result.ts';
import { follow } from './trace.ts';
import type { Verdict } from './way.ts';

export interface ReachGroup {
  readonly verdict: Verdict;
  readonly because: string;
  /** Ordered pairs of different nodes. */
  readonly pairs: number;
  readonly blocks: readonly Block[];
  /** One of the pairs, followed in full. */
  readonly example: TraceResult;
  readonly cites: readonly TraceCite[];
}

/** Every node's pods to every other node's, folded by equal behaviour; the worst group first. */
export interface ReachResult {
  readonly schemaVersion: 1;
  /** Who stands for which node. */
  readonly pods: readonly { readonly node: string; readonly pod: string }[];
  /** Nodes of which no pod is in the evidence: not followed. */
  readonly skipped: readonly { readonly node: string; readonly because: string }[];
  readonly groups: readonly ReachGroup[];
}

/** The probe: a pod's first packet and its answer; whether something listens is another question. */
const PROBE = { proto: 'icmp' } as const;

/** Follows a packet between every ordered pair of nodes' pods. */
export function reach(nodes: NetCluster | readonly NetNode[]): ReachResult {
  const cluster = 'owners' in nodes ? nodes : clusterOf(nodes);
  const pods: Representative[] = [];
  const skipped: { node: string; because: string }[] = [];
  for (const id of cluster.ids) {
    const node = cluster.node(id);
    const found = node === undefined ? `${id}: its evidence cannot be read` : representativeOf(node);
    if (typeof found === 'string') skipped.push({ node: id, because: found });
    else pods.push(found);
  }
  const classes = new Map<string, { index: number; result: TraceResult }>();
  const n = pods.length;
  const matrix = new Uint32Array(n * n);
  for (let a = 0; a < n; a += 1) {
    for (let b = 0; b < n; b += 1) {
      if (a === b) continue;
      const from = pods[a] as Representative;
      const to = pods[b] as Representative;
      const { answer, packet } = follow(cluster, { from: from.place, to: formatAddr(to.addr), ...PROBE });
      const key = behaviour(answer, to);
      let found = classes.get(key);
      if (found === undefined) {
        found = { index: classes.size, result: resultOf(answer, packet) };
        classes.set(key, found);
      }
      matrix[a * n + b] = found.index;
    }
  }
  const blocks = foldPairs(
    pods.map((p) => p.node),
    (a, b) => matrix[a * n + b] as number,
  );
  return {
    schemaVersion: 1,
    pods: pods.map((p) => ({ node: p.node, pod: formatAddr(p.addr) })),
    skipped,
    groups: groupsOf(classes, blocks),
  };
}

function groupsOf(
  classes: ReadonlyMap<string, { index: number; result: TraceResult }>,
  blocks: ReadonlyMap<number, readonly Block[]>,
): readonly ReachGroup[] {
  const groups = [...classes.values()].map(({ index, result }): ReachGroup => {
    const own = blocks.get(index) ?? [];
    const { verdict, because, hop } = worstHalf(result);
    return { verdict, because, pairs: pairsIn(own), blocks: own, example: result, cites: hop?.cites ?? [] };
  });
  const rank: readonly Verdict[] = ['dropped', 'rejected', 'unknown', 'delivered'];
  return groups.sort((x, y) => rank.indexOf(x.verdict) - rank.indexOf(y.verdict) || y.pairs - x.pairs);
}

/** A request that arrives and has no answer is as bad as one that does not arrive. */
function worstHalf(result: TraceResult): {
  verdict: Verdict;
  because: string;
  hop: TraceResult['hops'][number] | undefined;
} {
  const { reply } = result;
  if (result.verdict !== 'delivered' || reply === null || reply.verdict === 'delivered')
    return { verdict: result.verdict, because: result.because, hop: result.hops.at(-1) };
  return { verdict: reply.verdict, because: `the answer: ${reply.because}`, hop: reply.hops.at(-1) };
}

/** What two pairs must have in common to be one group: the verdicts, and where and by what they end. */
function behaviour(answer: Answer, to: Representative): string {
  const { request, reply } = answer.shown;
  const right = request.verdict !== 'delivered' || request.space === to.space;
  const ending = (end: typeof request | null) => {
    if (end === null) return '-';
    const step = end.way.trail?.step;
    if (end.verdict === 'delivered' || step === undefined) return end.verdict;
    return `${end.verdict} ${step.space.id} ${step.place} ${step.action} ${step.text.replace(/\d+(\.\d+){3}(:\d+)?/g, 'IP')}`;
  };
  return `${answer.verdict}/${answer.replyVerdict}|${right}|${ending(request)}|${ending(reply)}`;
}
