import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../support/analyse.ts';

const bench = (...args: string[]) =>
  spawnSync(process.execPath, [join(root, 'bench/run.mjs'), ...args], { encoding: 'utf8' });

it.each([
  [['--only', 'fleets'], /no measurement fleets/],
  [['--runs', '0'], /--runs needs a number/],
  [['--fast'], /unknown or incomplete option: --fast/],
  [['--only'], /unknown or incomplete option: --only/],
])('the benchmark refuses %j with its usage and exit 2', (args, why) => {
  const ran = bench(...args);
  expect(ran.status).toBe(2);
  expect(ran.stderr).toMatch(why);
  expect(ran.stderr).toMatch(/npm run bench -- \[--quick\]/);
});
