import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Labs take minutes and mostly wait: they come first, so that no worker is left with one of them at the end, and tests that measure time run on a machine that has become quiet. */
class LabsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) =>
      /kernel-check\.lab/.test(moduleId) ? 1 : /\/test\/(lab|collectors)\//.test(moduleId) ? 0 : 2;
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    // labs on a machine that is ten times as slow as usual, and does other work
    testTimeout: 600_000,
    hookTimeout: 600_000,
    // two cores: labs and browsers are processes of their own
    maxWorkers: 2,
    sequence: { sequencer: LabsFirst },
    // real packets, browsers and clocks on a shared machine: what fails three times is a failure
    retry: process.env['CI'] ? 2 : 0,
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'] },
    reporters: ['default', ['json', { outputFile: 'out/vitest.json' }]],
  },
});
