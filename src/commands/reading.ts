import { setFlagsFromString } from 'node:v8';
import { Flags } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import type { IngestRequest } from '../cases/ingest.ts';
import { Progress } from './progress.ts';

/** Flags of the commands that read bundles. */
export const readingFlags = {
  node: Flags.string({ description: 'name of the node, for one input that does not say it', helpValue: 'NAME' }),
  jobs: Flags.integer({ default: 2, min: 1, max: 64, description: 'worker threads' }),
  quiet: Flags.boolean({ char: 'q', description: 'no progress on stderr' }),
};

export interface ReadingFlags {
  readonly node: string | undefined;
  readonly jobs: number;
  readonly quiet: boolean;
}

/**
 * Of fewer bundles V8's last compiler, which works beside both threads, takes more processor time than its code saves: a tenth of that of 100
 * bundles, nothing of 400 (docs/performance.md).
 */
const WORTH_TURBOFAN = 300;

/** Does `work`, which reads the inputs, and shows how far it is. */
export async function reading<T>(
  inputs: readonly string[],
  { node, jobs, quiet }: ReadingFlags,
  work: (request: IngestRequest) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await work({
      inputs,
      rules: RULES,
      jobs,
      ...(node === undefined ? {} : { node }),
      onStart: (total, known) => {
        if (total + known < WORTH_TURBOFAN) setFlagsFromString('--no-turbofan');
        progress = new Progress('reading bundles', total, quiet);
      },
      onBundle: () => progress?.step(),
    });
  } finally {
    progress?.end();
  }
}
