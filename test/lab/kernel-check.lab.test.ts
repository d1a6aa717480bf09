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
/** A machine on which a lab takes ten seconds in place of one checks fewer of them, not none within its time: `npm run kernel-check` has no end. */
const seconds = Number(process.env.NETCASE_LABS_SECONDS ?? 400);
const FEWEST = 20;

describe.skipIf(!labsAvailable())('random labs', () => {
  it(
    `the trace says what the kernel does in ${labs} of them, or as many as begin in ${seconds} s`,
    async () => {
      const keep = mkdtempSync(join(tmpdir(), 'nc-disagreements-'));
      const lines: string[] = [];
      const progress = (line: string) => void lines.push(line);
      const result = await campaign({ labs, seed: 1, jobs, seconds, keep, minimise: 2, progress });
      console.info(summary(result));
      const wrong = lines.filter((line) => line.startsWith('DISAGREEMENT'));
      expect(wrong, `kept in ${keep}`).toEqual([]);
      expect(result.broken).toEqual([]);
      expect(unknownShare(result)).toBeLessThanOrEqual(0.05);
      expect(result.labs).toBeGreaterThanOrEqual(Math.min(labs, FEWEST));
      expect(result.counts.agreement).toBeGreaterThan(result.labs * 20);
    },
    (seconds + 600) * 1000,
  );
});
