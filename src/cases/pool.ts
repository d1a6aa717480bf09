import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { AnyRule } from '../rule/index.ts';
import { BlobEncoder } from '../store/encoder.ts';
import type { PrepareOutcome, PrepareRequest } from './prepare.ts';
import { prepare } from './prepare.ts';

/** Below this many inputs a second thread's start costs more than it saves. */
const WORTH_THREADS = 6;

const workerFile = join(import.meta.dirname, basename(import.meta.dirname) === 'cases' ? 'worker.ts' : 'worker.mjs');

/**
 * Prepares inputs on worker threads, two in flight each, and yields the outcomes in the order of the requests: the log must not
 * depend on which thread was faster. A worker that dies gives its input an error outcome; the others go on.
 */
export async function* prepareAll(
  requests: readonly PrepareRequest[],
  rules: readonly AnyRule[],
  jobs = Math.min(2, availableParallelism()),
): AsyncGenerator<{ readonly request: PrepareRequest; readonly outcomes: readonly PrepareOutcome[] }> {
  if (requests.length < WORTH_THREADS || jobs < 1) {
    const encoder = new BlobEncoder();
    for (const request of requests) yield { request, outcomes: await guarded(request, rules, encoder) };
    return;
  }
  const done = new Map<number, readonly PrepareOutcome[]>();
  let wake: () => void = () => {};
  let next = 0;
  let yielded = 0;
  const workers: Worker[] = [];
  // how far threads may run ahead of the writer: what is done but not yet written is what memory holds
  const window = jobs * 4;
  const feed = (worker: Worker, running: Set<number>) => {
    while (running.size < 2 && next < requests.length && next - yielded < window) {
      const seq = next;
      next += 1;
      running.add(seq);
      worker.postMessage({ seq, request: requests[seq] });
    }
  };
  const lanes: { worker: Worker; running: Set<number> }[] = [];
  const start = () => {
    const worker = new Worker(workerFile, { resourceLimits: { maxOldGenerationSizeMb: 1024 } });
    const lane = { worker, running: new Set<number>() };
    worker.on('message', (m: { seq: number; outcomes?: readonly PrepareOutcome[]; error?: string }) => {
      lane.running.delete(m.seq);
      done.set(m.seq, m.outcomes ?? [failed(requests[m.seq] as PrepareRequest, m.error ?? 'no answer')]);
      feed(worker, lane.running);
      wake();
    });
    worker.on('error', (error: Error) => {
      for (const seq of lane.running) done.set(seq, [failed(requests[seq] as PrepareRequest, error.message)]);
      lanes.splice(lanes.indexOf(lane), 1);
      if (next < requests.length) start();
      wake();
    });
    workers.push(worker);
    lanes.push(lane);
    feed(worker, lane.running);
  };
  for (let i = 0; i < Math.min(jobs, requests.length); i += 1) start();
  try {
    for (let seq = 0; seq < requests.length; seq += 1) {
      while (!done.has(seq)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const outcomes = done.get(seq) as readonly PrepareOutcome[];
      done.delete(seq);
      yielded = seq + 1;
      for (const lane of lanes) feed(lane.worker, lane.running);
      yield { request: requests[seq] as PrepareRequest, outcomes };
    }
  } finally {
    await Promise.all(workers.map((w) => w.terminate()));
  }
}

async function guarded(
  request: PrepareRequest,
  rules: readonly AnyRule[],
  encoder: BlobEncoder,
): Promise<readonly PrepareOutcome[]> {
  try {
    return await prepare(request, rules, encoder);
  } catch (error) {
    return [failed(request, error instanceof Error ? error.message : String(error))];
  }
}

function failed(request: PrepareRequest, why: string): PrepareOutcome {
  return {
    ok: false,
    problem: {
      code: 'reader-failed',
      severity: 'high',
      message: `${request.name} could not be read: ${why}. Report this to the netcase project with the bundle's manifest.`,
    },
  };
}
