import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    // labs on a machine that does other work
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // two cores: labs and browsers are processes of their own
    maxWorkers: 2,
    // real packets, browsers and clocks on a shared machine: what fails twice is a failure
    retry: process.env['CI'] ? 1 : 0,
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'] },
    reporters: ['default', ['json', { outputFile: 'out/vitest.json' }]],
  },
});
