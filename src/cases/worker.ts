import { parentPort } from 'node:worker_threads';
import { RULES } from '../../rules/index.ts';
import type { PrepareRequest } from './prepare.ts';
import { prepare } from './prepare.ts';

/** Pulls one request at a time; answers with plain data, blobs handed over without a copy. */
parentPort?.on('message', async (message: { readonly seq: number; readonly request: PrepareRequest }) => {
  const { seq, request } = message;
  try {
    const outcomes = await prepare(request, RULES);
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
});
