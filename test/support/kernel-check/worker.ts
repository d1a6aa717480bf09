import { checkLab } from './check.ts';
import type { Plan } from './plan.ts';

/** One process that checks labs, one after the other, as it is told. */
process.on('message', async ({ plan, dir }: { plan: Plan; dir: string }) => {
  try {
    process.send?.({ result: await checkLab(plan, dir) });
  } catch (e) {
    process.send?.({ error: String((e as Error).stack ?? e) });
  }
});
process.on('disconnect', () => process.exit(0));
