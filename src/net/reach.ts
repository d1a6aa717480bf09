import type * as Traced from '../core/trace.ts';
import { type Addr, formatAddr, parseAddr } from './addr.ts';
import type { Answer } from './answer.ts';
import { clusterOf, type NetCluster } from './cluster.ts';
import { type NodeFace, UNREAD } from './face.ts';
import { type Block, foldPairs, pairsIn } from './fold.ts';
import type { NetNode } from './model.ts';
import { fillRow, HALVES, Lessons, newRows, type Rows, Statuses } from './reach-rows.ts';
import { representativeOf } from './representative.ts';
import { resultOf, type TraceCite, type TraceResult } from './result.ts';
import { follow } from './trace.ts';
import type { Verdict } from './way.ts';

type ReachGroup = Traced.ReachGroup<TraceCite>;
/** The Reach JSON as far as the walk knows it. */
export type ReachResult = Omit<Traced.ReachJson<TraceCite>, 'assuming'>;

/** The probe: a pod's first packet and its answer; whether something listens is another question. */
const PROBE = { proto: 'icmp' } as const;
/** Up to so many nodes every pair is followed in full: that is as fast. */
const SMALL = 12;
/** Pairs out of the ordinary that are followed one by one. */
const MAX_FOLLOWED = 20_000;

interface Class {
  readonly index: number;
  readonly verdict: Verdict;
  readonly because: string;
  readonly result: TraceResult | null;
}

/** A pod that stands for its node; `face` null: it has no IPv4 address. Plain data: it goes to other threads. */
export interface Pod {
  readonly node: string;
  readonly addr: Addr;
  readonly place: string;
  readonly face: NodeFace | null;
}

export interface Survey {
  readonly pods: readonly Pod[];
  readonly skipped: ReachResult['skipped'];
}

/** What a part of the nodes, from the `from`th pod on, says of all: plain data. */
export interface Lesson {
  readonly from: number;
  readonly rows: Rows;
  /** What the numbers of the rows mean. */
  readonly keys: readonly string[];
}

/** Says of every ordered pair of nodes whether a pod's packet arrives and is answered. */
export function reach(nodes: NetCluster | readonly NetNode[], small = SMALL): ReachResult {
  const cluster = 'owners' in nodes ? nodes : clusterOf(nodes);
  const survey = surveyOf(cluster);
  const n = survey.pods.length;
  return reachOf(cluster, survey, n > small ? [learnPart(cluster, survey.pods, 0, n)] : []);
}

/** Who stands for each node. */
export function surveyOf(cluster: NetCluster): Survey {
  const pods: Pod[] = [];
  const skipped: { node: string; because: string }[] = [];
  for (const node of cluster.ids) {
    const said = cluster.face(node);
    const addr = 'because' in said ? null : parseAddr(said.pod);
    if ('because' in said || addr === null) {
      skipped.push({ node, because: `${node}: ${'because' in said ? said.because : UNREAD}` });
      continue;
    }
    const place = `${node}/${said.pod}`;
    const { underlay, vteps } = said;
    pods.push({
      node,
      addr,
      place,
      face: typeof addr === 'number' ? { id: node, pod: addr, place, underlay, vteps } : null,
    });
  }
  return { pods: twinsApart(pods), skipped };
}

/** What is learned of a node holds for addresses that are its own: pairs with one that shares its with another are followed one by one. */
function twinsApart(pods: readonly Pod[]): readonly Pod[] {
  const owners = new Map<string | number, Set<string>>();
  const namesOf = ({ face }: Pod) =>
    face === null ? [] : [face.pod, ...face.underlay.flat().filter((name) => name !== '')];
  for (const pod of pods)
    for (const name of namesOf(pod)) owners.set(name, (owners.get(name) ?? new Set()).add(pod.node));
  const twin = (pod: Pod) => namesOf(pod).some((name) => (owners.get(name)?.size ?? 0) > 1);
  return pods.map((pod) => (twin(pod) ? { ...pod, face: null } : pod));
}

/** What a few traces a node tell of all its pairs, of the pods from `from` up to `to`. */
export function learnPart(cluster: NetCluster, pods: readonly Pod[], from: number, to: number): Lesson {
  const n = pods.length;
  const rows = newRows(to - from, n);
  const statuses = new Statuses();
  const lessons = new Lessons(
    cluster,
    pods.map((p) => p.face),
  );
  for (let at = from; at < to; at += 1) {
    const node = cluster.node(pods[at]?.node ?? '');
    const own = node === undefined ? '' : representativeOf(node);
    if (typeof own !== 'string') fillRow(lessons, own, at, rows, at - from, statuses);
    // the next one is traced with this one; after that nobody asks for it again
    if (at > 0) cluster.forget(pods[at - 1]?.node ?? '');
  }
  return { from, rows, keys: statuses.keys };
}

/** The answer from what was learned; pairs of which nothing was learned are followed one by one. */
export function reachOf(cluster: NetCluster, survey: Survey, lessons: readonly Lesson[]): ReachResult {
  const { pods, skipped } = survey;
  const walk = new PairWalk(cluster, pods, lessons);
  return {
    schemaVersion: 1,
    pods: pods.map((p) => ({ node: p.node, pod: formatAddr(p.addr) })),
    skipped,
    groups: walk.groups(),
    followed: walk.followed,
  };
}

class PairWalk {
  followed = 0;
  readonly #cluster: NetCluster;
  readonly #pods: readonly Pod[];
  readonly #classes = new Map<string, Class>();
  #learned: readonly Lesson[];

  constructor(cluster: NetCluster, pods: readonly Pod[], learned: readonly Lesson[]) {
    this.#cluster = cluster;
    this.#pods = pods;
    this.#learned = [...learned].sort((a, b) => b.from - a.from);
  }

  groups(): readonly ReachGroup[] {
    const n = this.#pods.length;
    const matrix = new Uint32Array(n * n);
    for (let a = 0; a < n; a += 1)
      for (let b = 0; b < n; b += 1) if (a !== b) matrix[a * n + b] = this.#classOf(a, b).index;
    const ids = this.#pods.map((p) => p.node);
    const blocks = foldPairs(ids, (a, b) => matrix[a * n + b] as number);
    const groups = [...new Set(this.#classes.values())].map((c) => groupOf(c, blocks.get(c.index) ?? []));
    const rank: readonly Verdict[] = ['dropped', 'rejected', 'unknown', 'delivered'];
    return groups.sort((x, y) => rank.indexOf(x.verdict) - rank.indexOf(y.verdict) || y.pairs - x.pairs);
  }

  #classOf(a: number, b: number): Class {
    const key = this.#known(a, b);
    if (key === null) return this.#follow(a, b);
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    // the first pair of a class is followed in full: what was put together must say the same
    const first = this.#follow(a, b);
    const same = first.verdict === 'delivered' ? key === 'pass' : key !== 'pass';
    if (!same) this.#learned = [];
    else this.#classes.set(key, first);
    return first;
  }

  /** How the pair behaves by what was learned of its two nodes; null: only following it tells. */
  #known(a: number, b: number): string | null {
    const n = this.#pods.length;
    let open = '';
    for (const half of HALVES) {
      const forward = half === 'out' || half === 'answerIn';
      const [own, other] = forward ? [a, b] : [b, a];
      const lesson = this.#learned.find((l) => l.from <= own);
      const status = lesson?.rows[half][(own - lesson.from) * n + other] ?? 0;
      if (status === 0) return null;
      if (status === 1) continue;
      const key = `${half} ${lesson?.keys[status]}`;
      if (key.startsWith(`${half} ends`)) return key;
      open ||= key;
    }
    return open === '' ? 'pass' : open;
  }

  #follow(a: number, b: number): Class {
    if (this.followed >= MAX_FOLLOWED)
      return this.#class(
        'not followed',
        {
          verdict: 'unknown',
          because: `more than ${MAX_FOLLOWED} pairs are out of the ordinary; this one was not followed`,
        },
        null,
      );
    this.followed += 1;
    const [from, to] = [this.#pods[a], this.#pods[b]];
    if (from === undefined || to === undefined) throw new RangeError('no such pair');
    const { answer, packet } = follow(this.#cluster, { from: from.place, to: formatAddr(to.addr), ...PROBE });
    const key = `followed ${behaviour(answer, from.node, to.node)}`;
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    const result = resultOf(answer, packet);
    return this.#class(key, worstHalf(result), result);
  }

  #class(key: string, said: { verdict: Verdict; because: string }, result: TraceResult | null): Class {
    let found = this.#classes.get(key);
    if (found === undefined) {
      found = { index: this.#classes.size, ...said, result };
      this.#classes.set(key, found);
    }
    return found;
  }
}

function groupOf({ verdict, because, result }: Class, blocks: readonly Block[]): ReachGroup {
  const cites = result === null ? [] : (worstHalf(result).hop?.cites ?? []);
  return { verdict, because, pairs: pairsIn(blocks), blocks, example: result, cites };
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
  const because = reply.because.startsWith('the answer') ? reply.because : `the answer: ${reply.because}`;
  return { verdict: reply.verdict, because, hop: reply.hops.at(-1) };
}

/** What two pairs must have in common to be one group: the verdicts, and where and by what they end; the nodes by their parts in it. */
function behaviour(answer: Answer, from: string, to: string): string {
  const { request, reply } = answer.shown;
  const right = request.verdict !== 'delivered' || (request.space?.node.id === to && request.space.inode !== null);
  const part = (node: string) => (node === from ? 'from' : node === to ? 'to' : node);
  const ending = (end: typeof request | null) => {
    if (end === null) return '-';
    const step = end.way.trail?.step;
    if (end.verdict === 'delivered' || step === undefined) return end.verdict;
    const text = step.text
      .replace(/\d+(\.\d+){3}(:\d+)?/g, 'IP')
      .replaceAll(from, 'FROM')
      .replaceAll(to, 'TO');
    return `${end.verdict} ${part(step.space.node.id)} ${step.space.inode === null} ${step.place} ${step.action} ${text}`;
  };
  return `${answer.verdict}/${answer.replyVerdict}|${right}|${ending(request)}|${ending(reply)}`;
}
