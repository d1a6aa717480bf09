import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { AnyRule } from '../rule/index.ts';
import { BlobEncoder } from '../store/encoder.ts';
import type { HalfOutcome, Opened, PrepareOutcome, PrepareRequest } from './prepare.ts';
import { judgeHalf, prepare } from './prepare.ts';
import { threadUse } from './thread-use.ts';

/** Below this many inputs a second thread's start costs more than it saves. */
const WORTH_THREADS = 6;

const workerFile = join(
  import.meta.dirname,
  basename(import.meta.dirname) === 'cases' ? 'worker.ts' : '../bin/worker.cjs',
);

/** A hostile bundle may end a worker, not the machine; a young generation that is let grow is most of the memory of a long run. */
const LIMITS = { maxOldGenerationSizeMb: 1024, maxYoungGenerationSizeMb: 16 };
/** Requests that wait in a worker, so that it has work while this thread judges or writes. */
const IN_FLIGHT = 3;
/** The only worker is to read on while this thread commits. */
const AHEAD = 4;

interface Job {
  readonly request: PrepareRequest;
  readonly outcomes: readonly PrepareOutcome[];
}

/**
 * Prepares inputs on `jobs` threads and yields the outcomes in the order of the requests: the log must not depend on which thread was
 * faster. Two share the work by its kind, so that neither compiles and collects for all of it: a worker reads, this thread judges and
 * writes. Of more than two, each worker prepares whole bundles. A worker that dies gives its input an error outcome; the others go on.
 * `opened` gets the facts of a handful of inputs.
 */
export async function* prepareAll(
  requests: readonly PrepareRequest[],
  rules: readonly AnyRule[],
  jobs = Math.min(2, availableParallelism()),
  opened?: Opened,
): AsyncGenerator<Job> {
  if (requests.length < WORTH_THREADS || jobs < 2) {
    const encoder = new BlobEncoder();
    const keep = requests.length < WORTH_THREADS ? opened : undefined;
    for (const request of requests)
      yield { request, outcomes: await guarded(request, () => prepare(request, rules, encoder, { opened: keep })) };
    return;
  }
  const half = jobs === 2;
  const queue = new Queue(requests, half ? AHEAD : jobs * IN_FLIGHT);
  const workers = new Workers(queue, half ? 1 : Math.min(jobs, requests.length), half);
  let left = requests.length;
  try {
    for (const request of requests) {
      const read = await queue.next();
      workers.feed();
      const outcomes = await guarded(request, () =>
        read.map((o) => (o.ok === 'half' ? { ok: true, prepared: judgeHalf(o.half, request.judge, rules) } : o)),
      );
      left -= 1;
      yield { request, outcomes };
    }
  } finally {
    await workers.end(left === 0);
  }
}

/** Requests in their order, and what is ready of them. */
class Queue {
  readonly requests: readonly PrepareRequest[];
  readonly #done = new Map<number, readonly HalfOutcome[]>();
  #yielded = 0;
  #taken = 0;
  #wake: () => void = () => {};
  // how far workers may run ahead of the writer: what is done but not yet written is what memory holds
  readonly #window: number;

  constructor(requests: readonly PrepareRequest[], window: number) {
    this.requests = requests;
    this.#window = window;
  }

  take(): { seq: number; request: PrepareRequest } | null {
    const request = this.requests[this.#taken];
    if (request === undefined || this.#taken - this.#yielded >= this.#window) return null;
    this.#taken += 1;
    return { seq: this.#taken - 1, request };
  }

  get isEmpty(): boolean {
    return this.#taken >= this.requests.length;
  }

  answer(seq: number, outcomes: readonly HalfOutcome[]): void {
    this.#done.set(seq, outcomes);
    this.#wake();
  }

  /** The outcomes of the next request. */
  async next(): Promise<readonly HalfOutcome[]> {
    for (;;) {
      const outcomes = this.#done.get(this.#yielded);
      if (outcomes !== undefined) {
        this.#done.delete(this.#yielded);
        this.#yielded += 1;
        return outcomes;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

type Lane = { readonly worker: Worker; readonly running: Map<number, PrepareRequest> };
type Answer = { readonly seq: number; readonly outcomes?: readonly HalfOutcome[]; readonly error?: string };

class Workers {
  readonly #queue: Queue;
  readonly #lanes: Lane[] = [];
  readonly #all: Worker[] = [];
  readonly #half: boolean;

  constructor(queue: Queue, count: number, half: boolean) {
    threadUse.any = true;
    this.#queue = queue;
    this.#half = half;
    for (let i = 0; i < count; i += 1) this.#start();
    this.feed();
  }

  feed(): void {
    for (const lane of this.#lanes) {
      while (this.#half || lane.running.size < IN_FLIGHT) {
        const job = this.#queue.take();
        if (job === null) return;
        this.#give(lane, job.seq, job.request);
      }
    }
  }

  /** Those that have nothing left to do end by themselves, beside what comes next. */
  async end(idle: boolean): Promise<void> {
    if (!idle) await Promise.all(this.#all.map((w) => w.terminate()));
    for (const worker of this.#all) {
      worker.postMessage(null);
      worker.unref();
    }
  }

  #give({ worker, running }: Lane, seq: number, request: PrepareRequest): void {
    running.set(seq, request);
    worker.postMessage({ seq, request });
  }

  #start(): Lane {
    const worker = new Worker(workerFile, { resourceLimits: LIMITS, workerData: { half: this.#half } });
    const lane: Lane = { worker, running: new Map() };
    worker.on('message', ({ seq, outcomes, error }: Answer) => {
      const request = lane.running.get(seq) as PrepareRequest;
      lane.running.delete(seq);
      this.#queue.answer(seq, outcomes ?? [failed(request, error ?? 'no answer')]);
      this.feed();
    });
    worker.on('error', (error: Error) => {
      this.#lanes.splice(this.#lanes.indexOf(lane), 1);
      // it died of the one that it was at; the others only waited
      const [at, ...waiting] = lane.running;
      if (at !== undefined) this.#queue.answer(at[0], [failed(at[1], error.message)]);
      if (waiting.length === 0 && this.#queue.isEmpty) return;
      const next = this.#start();
      for (const [seq, request] of waiting) this.#give(next, seq, request);
      this.feed();
    });
    this.#all.push(worker);
    this.#lanes.push(lane);
    return lane;
  }
}

async function guarded(
  request: PrepareRequest,
  prepared: () => readonly PrepareOutcome[] | Promise<readonly PrepareOutcome[]>,
): Promise<readonly PrepareOutcome[]> {
  try {
    return await prepared();
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
