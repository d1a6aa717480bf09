// `npm run kernel-check -- --labs 2000 [--seed N] [--jobs 2] [--only SEED] [--keep DIR]`: random labs on the real kernel; does the trace
// say what the kernel does? Exit 1 on a disagreement, on a lab that broke, or when more than 5 % are unknown.
import { parseArgs } from 'node:util';
import { campaign, summary, unknownShare } from '../test/support/kernel-check/campaign.ts';
import { generate } from '../test/support/kernel-check/generate.ts';
import { recordPlan, toFixture, unpackFixture } from '../test/support/kernel-check/keep.ts';
import { labsAvailable } from '../test/support/lab/index.ts';

const { values, positionals } = parseArgs({
  options: {
    labs: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '2' },
    only: { type: 'string' },
    keep: { type: 'string' },
    minimise: { type: 'string', default: '5' },
    plan: { type: 'string' },
    fixture: { type: 'string' },
    record: { type: 'string' },
    unpack: { type: 'string' },
  },
  allowPositionals: true,
});
if (values.plan !== undefined) {
  console.log(JSON.stringify(generate(Number(values.plan)), null, 2));
  process.exit(0);
}
if (values.fixture !== undefined) {
  // --fixture KEPT/SEED fixtures/kernel-check/disagreements/NAME.br
  await toFixture(values.fixture, positionals[0]);
  process.exit(0);
}
if (values.record !== undefined) {
  // --record PLAN.json NAME.br: the same from a plan, once more on the kernel
  console.log(await recordPlan(values.record, positionals[0]));
  process.exit(0);
}
if (values.unpack !== undefined) {
  unpackFixture(values.unpack, positionals[0]);
  process.exit(0);
}
if (!labsAvailable()) process.exit(1);
const result = await campaign({
  labs: values.only === undefined ? Number(values.labs) : 1,
  seed: Number(values.only ?? values.seed),
  jobs: values.only === undefined ? Number(values.jobs) : 1,
  ...(values.keep === undefined ? {} : { keep: values.keep, minimise: Number(values.minimise) }),
  progress: (line) => console.error(line),
});
console.log(summary(result));
const failed = result.counts.disagreement > 0 || result.broken.length > 0 || unknownShare(result) > 0.05;
process.exitCode = failed ? 1 : 0;
