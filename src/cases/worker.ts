import { parentPort } from 'node:worker_threads';
import { RULES } from '../../rules/index.ts';
import { BlobEncoder } from '../store/encoder.ts';
import type { PrepareRequest } from './prepare.ts';
import { prepare } from './prepare.ts';

interface Message {
  readonly seq: number;
  readonly request: PrepareRequest;
}

const encoder = new BlobEncoder();
let last: Promise<void> = Promise.resolve();

/** One request after the other, in their order; answers with plain data, blobs handed over without a copy. */
parentPort?.on('message', (message: Message) => {
  last = last.then(() => answer(message));
});

async function answer({ seq, request }: Message): Promise<void> {
  try {
    const outcomes = await prepare(request, RULES, encoder);
    const buffers = new Set<ArrayBuffer>();
    for (const o of outcomes) {
      if (!o.ok) continue;
      for (const blob of [o.prepared.evidence, ...o.prepared.blobs]) {
        const { buffer, byteLength } = blob.bytes;
        // a view into a larger buffer would drag that buffer along
        if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffers.add(buffer);
      }
    }
    parentPort?.postMessage({ seq, outcomes }, [...buffers]);
  } catch (error) {
    parentPort?.postMessage({ seq, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}
