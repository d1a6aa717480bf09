import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { AnyRule } from '../rule/index.ts';
import { BlobEncoder } from '../store/encoder.ts';
import type { Opened, PrepareOutcome, PrepareRequest } from './prepare.ts';
import { prepare } from './prepare.ts';

/** Below this many inputs a second thread's start costs more than it saves. */
const WORTH_THREADS = 6;

const workerFile = join(import.meta.dirname, basename(import.meta.dirname) === 'cases' ? 'worker.ts' : 'worker.mjs');

/** Above this many inputs this thread only writes: one thread more is paid for by then, and memory stays flat. */
const WRITES_ONLY = 150;
/** Larger files go to a worker: what they may cost must not end the process that writes the case. */
const FOR_THIS_THREAD = 4 * 1024 * 1024;
/** A hostile bundle may end a worker, not the machine; a young generation that is let grow is most of the memory of a long run. */
const LIMITS = { maxOldGenerationSizeMb: 1024, maxYoungGenerationSizeMb: 16 };
/** Requests that wait in a worker, so that it has work while this thread writes or prepares. */
const IN_FLIGHT = 3;

interface Job {
  readonly request: PrepareRequest;
  readonly outcomes: readonly PrepareOutcome[];
}

/**
 * Prepares inputs on `jobs` threads, of few inputs this one among them when there is nothing to write, and yields the outcomes in the
 * order of the requests: the log must not depend on which thread was faster. A worker that dies gives its input an error outcome; the
 * others go on. `opened` gets the facts of a handful of inputs.
 */
export async function* prepareAll(
  requests: readonly PrepareRequest[],
  rules: readonly AnyRule[],
  jobs = Math.min(2, availableParallelism()),
  opened?: Opened,
): AsyncGenerator<Job> {
  const encoder = new BlobEncoder();
  if (requests.length < WORTH_THREADS || jobs < 2) {
    const keep = requests.length < WORTH_THREADS ? opened : undefined;
    for (const request of requests) yield { request, outcomes: await guarded(request, rules, encoder, keep) };
    return;
  }
  const queue = new Queue(requests, jobs);
  const joins = requests.length <= WRITES_ONLY;
  const workers = new Workers(queue, joins ? Math.min(jobs - 1, requests.length - 1) : jobs);
  try {
    for (const [seq, request] of requests.entries()) {
      workers.feed();
      while (!queue.done.has(seq)) {
        const mine = joins ? queue.take((r) => sizeOf(r.path) <= FOR_THIS_THREAD) : null;
        if (mine === null) await queue.change();
        else queue.done.set(mine.seq, await guarded(mine.request, rules, encoder));
        // answers of workers come between two of our own
        await new Promise((resolve) => setImmediate(resolve));
        workers.feed();
      }
      const outcomes = queue.done.get(seq) as readonly PrepareOutcome[];
      queue.done.delete(seq);
      queue.yielded = seq + 1;
      yield { request, outcomes };
    }
  } finally {
    await workers.end();
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Requests in their order, and what is ready of them. */
class Queue {
  readonly done = new Map<number, readonly PrepareOutcome[]>();
  yielded = 0;
  readonly requests: readonly PrepareRequest[];
  #next = 0;
  #wake: () => void = () => {};
  // how far threads may run ahead of the writer: what is done but not yet written is what memory holds
  readonly #window: number;

  constructor(requests: readonly PrepareRequest[], jobs: number) {
    this.requests = requests;
    this.#window = jobs * IN_FLIGHT;
  }

  take(fits: (request: PrepareRequest) => boolean = () => true): { seq: number; request: PrepareRequest } | null {
    const request = this.requests[this.#next];
    if (request === undefined || this.#next - this.yielded >= this.#window || !fits(request)) return null;
    this.#next += 1;
    return { seq: this.#next - 1, request };
  }

  get isEmpty(): boolean {
    return this.#next >= this.requests.length;
  }

  answer(seq: number, outcomes: readonly PrepareOutcome[]): void {
    this.done.set(seq, outcomes);
    this.#wake();
  }

  change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

type Lane = { readonly worker: Worker; readonly running: Map<number, PrepareRequest> };
type Answer = { readonly seq: number; readonly outcomes?: readonly PrepareOutcome[]; readonly error?: string };

class Workers {
  readonly #queue: Queue;
  readonly #lanes: Lane[] = [];
  readonly #all: Worker[] = [];

  constructor(queue: Queue, count: number) {
    this.#queue = queue;
    for (let i = 0; i < count; i += 1) this.#start();
  }

  feed(): void {
    for (const { worker, running } of this.#lanes) {
      while (running.size < IN_FLIGHT) {
        const job = this.#queue.take();
        if (job === null) return;
        running.set(job.seq, job.request);
        worker.postMessage(job);
      }
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#all.map((w) => w.terminate()));
  }

  #start(): void {
    const worker = new Worker(workerFile, { resourceLimits: LIMITS });
    const lane: Lane = { worker, running: new Map() };
    worker.on('message', ({ seq, outcomes, error }: Answer) => {
      const request = lane.running.get(seq) as PrepareRequest;
      lane.running.delete(seq);
      this.#queue.answer(seq, outcomes ?? [failed(request, error ?? 'no answer')]);
      this.feed();
    });
    worker.on('error', (error: Error) => {
      this.#lanes.splice(this.#lanes.indexOf(lane), 1);
      for (const [seq, request] of lane.running) this.#queue.answer(seq, [failed(request, error.message)]);
      if (!this.#queue.isEmpty) this.#start();
    });
    this.#all.push(worker);
    this.#lanes.push(lane);
    this.feed();
  }
}

async function guarded(
  request: PrepareRequest,
  rules: readonly AnyRule[],
  encoder: BlobEncoder,
  opened?: Opened,
): Promise<readonly PrepareOutcome[]> {
  try {
    return await prepare(request, rules, encoder, { opened });
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
