import { parentPort, workerData } from 'node:worker_threads';
import { RULES } from '../../rules/index.ts';
import { BlobEncoder } from '../store/encoder.ts';
import type { HalfOutcome, PrepareRequest } from './prepare.ts';
import { prepare, prepareHalf } from './prepare.ts';

interface Message {
  readonly seq: number;
  readonly request: PrepareRequest;
}

const { half } = workerData as { readonly half: boolean };
const encoder = new BlobEncoder();
let last: Promise<void> = Promise.resolve();

/** One request after the other, in their order; answers with plain data, blobs handed over without a copy. null: no more will come. */
parentPort?.on('message', (message: Message | null) => {
  if (message === null) parentPort?.close();
  else last = last.then(() => answer(message));
});

async function answer({ seq, request }: Message): Promise<void> {
  try {
    const outcomes: readonly HalfOutcome[] = await (half ? prepareHalf : prepare)(request, RULES, encoder);
    parentPort?.postMessage({ seq, outcomes }, [...new Set(outcomes.flatMap(ownBuffers))]);
  } catch (error) {
    parentPort?.postMessage({ seq, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}

/** To copy a smaller one costs less than to hand it over. */
const WORTH_HANDING = 4096;

function ownBuffers(outcome: HalfOutcome): ArrayBuffer[] {
  if (outcome.ok === false) return [];
  const { evidence, blobs } = outcome.ok === true ? outcome.prepared : outcome.half;
  const buffers = [evidence, ...blobs].flatMap(({ bytes: { buffer, byteLength } }) =>
    // a view into a larger buffer would drag that buffer along
    buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && byteLength >= WORTH_HANDING ? [buffer] : [],
  );
  if (outcome.ok === 'half') buffers.push(outcome.half.plain.buffer as ArrayBuffer);
  return buffers;
}
