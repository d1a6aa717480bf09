import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ReachJson } from '../core/trace.ts';
import { type Lesson, learnPart, type NetCluster, type Pod, reach, reachOf, surveyOf } from '../net/index.ts';
import { openNetCase } from './net-case.ts';
import { assumed, citer, presented } from './trace.ts';

/** Below this many nodes a second thread's start costs more than it saves. */
const WORTH_A_THREAD = 60;

const workerFile = join(
  import.meta.dirname,
  basename(import.meta.dirname) === 'cases' ? 'reach-worker.ts' : '../bin/reach-worker.cjs',
);

/** A young generation that is let grow is most of the memory. */
const LIMITS = { maxOldGenerationSizeMb: 1024, maxYoungGenerationSizeMb: 64 };

/** What a thread of its own learns: its half of the nodes. */
export interface ReachTask {
  readonly caseFile: string;
  /** Values of `--if`. */
  readonly changes: readonly string[];
  readonly pods: readonly Pod[];
  readonly from: number;
  readonly to: number;
}

/** Every node's pods to every other node's, from the newest bundle of each. */
export async function reachCase(
  caseFile: string,
  texts: readonly string[],
  worthAThread = WORTH_A_THREAD,
): Promise<ReachJson> {
  const { net, changes, close } = openNetCase(caseFile, texts);
  try {
    const { cluster } = net;
    const survey = surveyOf(cluster);
    const alone = survey.pods.length < worthAThread || availableParallelism() < 2;
    const result = alone
      ? reach(cluster)
      : reachOf(cluster, survey, await learnTogether(cluster, { caseFile, changes: texts, pods: survey.pods }));
    const { groups, ...rest } = result;
    const cited = citer(net, changes);
    return {
      ...rest,
      groups: groups.map((g) => ({
        ...g,
        example: g.example === null ? null : presented(g.example, net, changes),
        cites: g.cites.map(cited),
      })),
      ...assumed(changes),
    };
  } finally {
    close();
  }
}

/** The other thread opens the case for itself first. */
const OWN_SHARE = 0.54;

/** This thread and another learn about one half of the nodes each; a thread that dies leaves its half to this one. */
async function learnTogether(
  cluster: NetCluster,
  task: Omit<ReachTask, 'from' | 'to'>,
): Promise<readonly [Lesson, Lesson]> {
  const { pods } = task;
  const half = Math.ceil(pods.length * OWN_SHARE);
  const theirs = learnElsewhere({ ...task, from: half, to: pods.length });
  const own = learnPart(cluster, pods, 0, half);
  return [own, (await theirs) ?? learnPart(cluster, pods, half, pods.length)];
}

/** null: the thread died. */
export function learnElsewhere(task: ReachTask): Promise<Lesson | null> {
  return new Promise((resolve) => {
    const worker = new Worker(workerFile, { resourceLimits: LIMITS, workerData: task });
    worker.on('message', (lesson: Lesson) => resolve(lesson));
    worker.on('error', () => resolve(null));
    worker.on('exit', () => resolve(null));
  });
}
