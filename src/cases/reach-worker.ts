import { parentPort, workerData } from 'node:worker_threads';
import { learnPart } from '../net/index.ts';
import { withNetCase } from './net-case.ts';
import type { ReachTask } from './reach.ts';

const { caseFile, changes, pods, from, to } = workerData as ReachTask;
const lesson = withNetCase(caseFile, changes, ({ cluster }) => learnPart(cluster, pods, from, to), true);
parentPort?.postMessage(
  lesson,
  Object.values(lesson.rows).map((row) => row.buffer),
);
