import type { Worker } from './campaign.ts';
import type { Checked, LabResult } from './check.ts';
import { type Plan, placesOf, type Step } from './plan.ts';

export interface Minimal {
  readonly plan: Plan;
  readonly checked: Checked;
  readonly bundles: readonly string[];
}

/** The way in which a trace is wrong: a smaller lab has to be wrong in the same way. */
const kind = (c: Checked): string => `${c.kernel.startsWith('ok')} ${c.trace.split(':')[0]}`;

/** Removes nodes, rules, faults and lines while the trace and the kernel still disagree on the probe. */
export async function minimise(worker: Worker, plan: Plan, checked: Checked, dir: string): Promise<Minimal | null> {
  let best: { plan: Plan; result: LabResult; checked: Checked } | null = null;
  let runs = 0;
  const holds = async (smaller: Plan): Promise<boolean> => {
    runs++;
    const answer = await worker.check(smaller, dir);
    if ('error' in answer) return false;
    const found = answer.result.checked.find((c) => c.judged === 'disagreement' && kind(c) === kind(checked));
    if (found === undefined) return false;
    best = { plan: smaller, result: answer.result, checked: found };
    return true;
  };
  let now: Plan = { ...plan, probes: [checked.probe] };
  if (!(await holds(now))) return null;
  const shrunk = async (smaller: Plan | null): Promise<boolean> => {
    if (smaller === null || runs > 60 || !(await holds(smaller))) return false;
    now = smaller;
    return true;
  };
  // half of the steps, a quarter ..., then one by one
  for (let size = Math.ceil(now.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let at = now.steps.length - size; at > -size; at -= size) {
      const from = Math.max(0, at);
      await shrunk({ ...now, steps: now.steps.filter((_s, i) => i < from || i >= at + size) });
    }
  for (const node of plan.nodes) {
    await shrunk(withoutNode(now, node.name));
    await shrunk(withoutBridges(now, node.name));
  }
  if (now.services !== null) await shrunk({ ...now, services: null });
  for (let i = 0; i < now.steps.length; i++) await shrinkLines(now, i, shrunk, () => now);
  // once more as it is now: the bundles of the last success may be those of a larger lab
  if (!(await holds(now))) return null;
  const last = best as { plan: Plan; result: LabResult; checked: Checked } | null;
  return last === null ? null : { plan: last.plan, checked: last.checked, bundles: last.result.bundles };
}

function withoutNode(plan: Plan, name: string): Plan | null {
  const nodes = plan.nodes.filter((n) => n.name !== name);
  if (nodes.length === plan.nodes.length || nodes.length === 0) return null;
  const from = plan.probes[0]?.from;
  if (from !== 'outside' && from?.split('/')[0] === name) return null;
  return { ...plan, nodes, steps: plan.steps.filter((s) => s.at.split('/')[0] !== name) };
}

function withoutBridges(plan: Plan, name: string): Plan | null {
  const used = plan.nodes.find((n) => n.name === name);
  if (used === undefined || used.bridges.length === 0) return null;
  const smaller = { ...plan, nodes: plan.nodes.map((n) => (n === used ? { ...n, bridges: [] } : n)) };
  return placesOf(smaller).some((p) => p.id === plan.probes[0]?.from) ? smaller : null;
}

async function shrinkLines(
  start: Plan,
  index: number,
  shrunk: (plan: Plan) => Promise<boolean>,
  current: () => Plan,
): Promise<void> {
  const step = start.steps[index];
  if (step === undefined || !step.sh.includes('\n')) return;
  let lines = step.sh.split('\n');
  const replaced = (sh: string): Plan => ({
    ...current(),
    steps: current().steps.map((s, i): Step => (i === index ? { ...s, sh } : s)),
  });
  for (let size = Math.ceil(lines.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let at = lines.length - size; at > -size; at -= size) {
      const from = Math.max(0, at);
      const fewer = lines.filter((line, i) => i < from || i >= at + size || /EOF|COMMIT|^\*|^:/.test(line));
      if (fewer.length < lines.length && (await shrunk(replaced(fewer.join('\n'))))) lines = fewer;
    }
}
