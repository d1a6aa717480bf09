import { type ChildProcess, fork } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guarded } from '../lab/holder.ts';
import type { Checked, Judged, LabResult } from './check.ts';
import { generate } from './generate.ts';
import { minimise } from './minimise.ts';
import type { Plan } from './plan.ts';

export interface CampaignOptions {
  readonly labs: number;
  readonly seed: number;
  readonly jobs: number;
  /** Seconds after which no new lab begins; without it, all of them are checked. */
  readonly seconds?: number;
  /** Where disagreements go: plan, bundles, the kernel's answer. */
  readonly keep?: string;
  /** How many disagreements are minimised. */
  readonly minimise?: number;
  readonly progress?: (line: string) => void;
}

export interface Campaign {
  readonly labs: number;
  readonly probes: number;
  readonly counts: Readonly<Record<Judged, number>>;
  /** Most frequent first. */
  readonly reasons: readonly Ranked[];
  readonly outsideReasons: readonly Ranked[];
  readonly unstable: readonly Ranked[];
  readonly disagreements: readonly { readonly seed: number; readonly checked: Checked }[];
  /** Labs that could not be built or checked. */
  readonly broken: readonly { readonly seed: number; readonly error: string }[];
  readonly ms: LabResult['ms'];
  readonly seconds: number;
}

/** A text, how often it came, and a lab in which it did. */
export interface Ranked {
  readonly text: string;
  readonly count: number;
  readonly seed: number;
}

type Answer = { readonly result: LabResult } | { readonly error: string };

/** A process for labs; a lab that kills it is an answer as well. */
export class Worker {
  #child: ChildProcess | undefined;

  check(plan: Plan, dir: string): Promise<Answer> {
    this.#child ??= guarded(
      fork(new URL('worker.ts', import.meta.url), { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    );
    const child = this.#child;
    return new Promise((resolve) => {
      const end = (answer: Answer) => {
        clearTimeout(timer);
        child.off('message', told);
        child.off('exit', gone);
        resolve(answer);
      };
      const told = (answer: unknown) => end(answer as Answer);
      const gone = (code: number | null, signal: string | null) => {
        this.#child = undefined;
        end({ error: `the worker ended with ${code ?? signal}` });
      };
      const timer = setTimeout(() => child.kill('SIGKILL'), 300_000);
      child.once('message', told);
      child.once('exit', gone);
      child.send({ plan, dir });
    });
  }

  end(): void {
    this.#child?.disconnect();
    this.#child = undefined;
  }
}

/** A reason without the names and numbers of its lab, so that alike ones count together. */
export function normal(reason: string): string {
  return reason
    .replace(/\b\d+\.\d+\.\d+\.\d+(\/\d+)?(:\d+)?/g, 'IP')
    .replace(/\bnode-[a-d]\b/g, 'NODE')
    .replace(/\bveth[0-9a-f]+\b/g, 'veth')
    .replace(/\bbr-[0-9a-f]+\b/g, 'br')
    .replace(/\s+/g, ' ')
    .replace(/\b(0x)?[0-9a-f]*\d[0-9a-f]*\b/g, 'N')
    .slice(0, 220);
}

class Tally {
  readonly #seen = new Map<string, { count: number; seed: number }>();

  add(text: string, seed: number): void {
    const known = this.#seen.get(text);
    this.#seen.set(text, { count: (known?.count ?? 0) + 1, seed: known?.seed ?? seed });
  }

  ranked(): Ranked[] {
    return [...this.#seen].map(([text, found]) => ({ text, ...found })).sort((a, b) => b.count - a.count);
  }
}

/** Checks `labs` labs from `seed` on, or as many as begin within `seconds`. */
export async function campaign(options: CampaignOptions): Promise<Campaign> {
  const started = performance.now();
  const work = mkdtempSync(join(tmpdir(), 'nc-kernel-check-'));
  const counts: Record<Judged, number> = { agreement: 0, unknown: 0, outside: 0, unstable: 0, disagreement: 0 };
  const reasons = new Tally();
  const outsideReasons = new Tally();
  const unstable = new Tally();
  const disagreements: { seed: number; checked: Checked }[] = [];
  const broken: { seed: number; error: string }[] = [];
  const ms = { build: 0, probe: 0, collect: 0, trace: 0 };
  const patience = 1000 * (options.seconds ?? Number.POSITIVE_INFINITY);
  let next = options.seed;
  let done = 0;
  let left = options.minimise ?? 0;
  const take = (result: LabResult) => {
    for (const key of ['build', 'probe', 'collect', 'trace'] as const) ms[key] += result.ms[key];
    for (const c of result.checked) {
      counts[c.judged]++;
      if (c.judged === 'unknown') reasons.add(normal(c.because ?? ''), result.seed);
      if (c.judged === 'outside') outsideReasons.add(normal(c.because ?? ''), result.seed);
      if (c.judged === 'unstable') unstable.add(normal(`${c.probe.proto}: ${c.kernel}; trace ${c.trace}`), result.seed);
      if (c.judged === 'disagreement') disagreements.push({ seed: result.seed, checked: c });
    }
  };
  const run = async (job: number): Promise<void> => {
    const worker = new Worker();
    const dir = join(work, String(job));
    while (next < options.seed + options.labs && performance.now() - started < patience) {
      const seed = next++;
      const plan = generate(seed);
      let answer = await worker.check(plan, dir);
      if ('error' in answer) answer = await worker.check(plan, dir);
      done++;
      if ('error' in answer) {
        broken.push({ seed, error: answer.error });
        options.progress?.(`lab ${seed}: ${answer.error}`);
        continue;
      }
      if (answer.result.checked.some((c) => c.judged === 'disagreement')) {
        // what a second lab of the same plan does not repeat is the machine's doing, not the rules'
        const again = await worker.check(plan, dir);
        if ('result' in again) answer = { result: repeated(again.result, answer.result) };
      }
      take(answer.result);
      const first = answer.result.checked.find((c) => c.judged === 'disagreement');
      if (first !== undefined) {
        options.progress?.(disagreementLine(seed, first));
        if (options.keep !== undefined) {
          const to = join(options.keep, String(seed));
          keepCase(to, { ...plan, probes: [first.probe] }, first, answer.result.bundles);
          const smaller = left-- > 0 ? await minimise(worker, plan, first, dir) : null;
          if (smaller !== null) keepCase(to, smaller.plan, smaller.checked, smaller.bundles);
        }
      }
      if (done % 20 === 0)
        options.progress?.(
          `${done} of ${options.labs} labs, ${counts.agreement} agreements, ${counts.unknown} unknown, ${counts.disagreement} disagreements`,
        );
    }
    worker.end();
  };
  try {
    await Promise.all(Array.from({ length: options.jobs }, (_, job) => run(job)));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const probes = Object.values(counts).reduce((sum, n) => sum + n, 0);
  return {
    labs: done,
    probes,
    counts,
    reasons: reasons.ranked(),
    outsideReasons: outsideReasons.ranked(),
    unstable: unstable.ranked(),
    disagreements,
    broken,
    ms,
    seconds: (performance.now() - started) / 1000,
  };
}

/** The second result; disagreements that only one of the two labs has are unstable. */
function repeated(second: LabResult, first: LabResult): LabResult {
  const name = (c: Checked) => JSON.stringify(c.probe);
  const before = new Set(first.checked.filter((c) => c.judged === 'disagreement').map(name));
  return {
    ...second,
    checked: second.checked.map((c) =>
      c.judged !== 'disagreement' || before.has(name(c)) ? c : { ...c, judged: 'unstable' },
    ),
  };
}

const disagreementLine = (seed: number, { probe, kernel, trace }: Checked): string =>
  `DISAGREEMENT seed ${seed}: ${probe.from} -> ${probe.to}${probe.port === undefined ? '' : `:${probe.port}`} ${probe.proto}${probe.size === undefined ? '' : ` ${probe.size}`}\n  kernel: ${kernel}\n  trace:  ${trace}`;

/** Plan, probe, the kernel's answer and the bundles: enough to trace it again without a kernel. */
function keepCase(to: string, plan: Plan, checked: Checked, bundles: readonly string[]): void {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const bundle of bundles) cpSync(bundle, join(to, bundle.slice(bundle.lastIndexOf('/') + 1)));
  writeFileSync(join(to, 'case.json'), `${JSON.stringify({ plan, checked }, null, 2)}\n`);
}

/** The share of probes that the trace left open although all evidence was there. */
export const unknownShare = (c: Campaign): number => {
  const decided = c.probes - c.counts.outside - c.counts.unstable;
  return decided === 0 ? 0 : c.counts.unknown / decided;
};

export function summary(c: Campaign): string {
  const percent = (100 * unknownShare(c)).toFixed(2);
  const perLab = (n: number) => Math.round(n / Math.max(1, c.labs));
  const list = (reasons: readonly Ranked[], most: number) =>
    reasons.slice(0, most).map((r) => `  ${String(r.count).padStart(6)}  ${r.text} (seed ${r.seed})`);
  return [
    `labs           ${c.labs} in ${c.seconds.toFixed(0)} s (${perLab(c.ms.build)} + ${perLab(c.ms.probe)} + ${perLab(c.ms.collect)} + ${perLab(c.ms.trace)} ms: build, probe, collect, trace)`,
    `probes         ${c.probes}`,
    `agreements     ${c.counts.agreement}`,
    `unknown        ${c.counts.unknown} (${percent} %)`,
    ...list(c.reasons, 25),
    `outside        ${c.counts.outside} (the packet leaves the evidence; unknown is right)`,
    ...list(c.outsideReasons, 5),
    `unstable       ${c.counts.unstable} (the kernel itself did not repeat it)`,
    ...list(c.unstable, 5),
    `broken labs    ${c.broken.length}`,
    ...c.broken.slice(0, 5).map((b) => `  seed ${b.seed}: ${b.error.slice(0, 300)}`),
    `disagreements  ${c.counts.disagreement} in ${new Set(c.disagreements.map((d) => d.seed)).size} labs`,
  ].join('\n');
}
