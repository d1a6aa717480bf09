import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { campaign, summary, unknownShare } from '../support/kernel-check/campaign.ts';
import { labsAvailable } from '../support/lab/index.ts';

/** All of them where it counts; a sample for whoever runs all tests beside his work. */
const labs = Number(process.env.NETCASE_LABS ?? (process.env.CI ? 200 : 40));
/** A job of its own for every core, but not beside the other tests' labs. */
const jobs = Number(process.env.NETCASE_JOBS ?? 2);

describe.skipIf(!labsAvailable())('random labs', () => {
  it(
    `the trace says what the kernel does in ${labs} of them`,
    async () => {
      const keep = mkdtempSync(join(tmpdir(), 'nc-disagreements-'));
      const lines: string[] = [];
      const result = await campaign({ labs, seed: 1, jobs, keep, minimise: 2, progress: (line) => lines.push(line) });
      console.info(summary(result));
      const wrong = lines.filter((line) => line.startsWith('DISAGREEMENT'));
      expect(wrong, `kept in ${keep}`).toEqual([]);
      expect(result.broken).toEqual([]);
      expect(unknownShare(result)).toBeLessThanOrEqual(0.05);
      expect(result.counts.agreement).toBeGreaterThan(labs * 20);
    },
    labs * 6000 + 120_000,
  );
});
