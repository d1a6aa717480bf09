import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDocker, DOCKER_CASES } from '../support/kernel-check/docker-labs.ts';
import { dockerLabsAvailable } from '../support/lab/index.ts';

let out: string;
beforeAll(() => {
  out = mkdtempSync(join(tmpdir(), 'nc-docker-trace-'));
});
afterAll(() => rmSync(out, { recursive: true, force: true }));

describe.skipIf(!dockerLabsAvailable())('the trace agrees with the kernel on a host with a real dockerd', () => {
  it.each(DOCKER_CASES.map((c) => [c.title, c] as const))('%s', async (title, wanted) => {
    const judged = await checkDocker(wanted, join(out, title.replaceAll(/\W+/g, '-')));
    const lines = (of: 'disagreement' | 'unknown') =>
      judged
        .filter((j) => j.judged === of)
        .map(
          (j) =>
            `${j.probe.from} -> ${j.probe.to}:${j.probe.port ?? ''} ${j.probe.proto}: ${j.kernel}; trace ${j.trace}`,
        );
    expect(lines('disagreement')).toEqual([]);
    expect(lines('unknown').length, lines('unknown').slice(0, 10).join('\n')).toBeLessThan(judged.length * 0.05);
    expect(judged.filter((j) => j.kernel.startsWith('ok')).length).toBeGreaterThan(10);
  });
});
