// The measurements. Each gives rows: what was measured, the figures, the target and whether it holds.
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fleet } from './fleets.mjs';
import { reachBench, traceBench } from './paths.mjs';
import { byTurns, run, runNode, spread } from './run.mjs';

const MEDIUM = ['--preset', 'medium'];
const show = (s, digits = 0) => `${s.min.toFixed(digits)}/${s.median.toFixed(digits)}/${s.max.toFixed(digits)}`;

/** Analyses a fleet into a fresh case and writes the HTML report: what a user waits for. */
const product = (ctx, files) => async () => {
  const kase = join(ctx.work, 'bench.netcase');
  for (const end of ['', '-wal', '-shm']) rmSync(kase + end, { force: true });
  const args = ['analyze', ...files, '--case', kase, '--format', 'html', '-o', join(ctx.work, 'bench.html'), '-q'];
  const ran = await runNode([ctx.program, ...args]);
  return { ...ran, caseBytes: statSync(kase).size };
};

/** GNU tar and gzip, one bundle after the other, into memory. */
const tarLoop = (ctx, dir) => async () => {
  const into = join(ctx.memory, `netcase-bench-${process.pid}`);
  mkdirSync(into, { recursive: true });
  try {
    return await run('sh', ['-c', 'for f in "$1"/*.tar.gz; do tar xzf "$f" -C "$2" || exit 1; done', 'sh', dir, into]);
  } finally {
    rmSync(into, { recursive: true, force: true });
  }
};

async function against(ctx, name, args, target) {
  const { dir, truth } = await fleet(ctx.work, args);
  const turns = await byTurns({ netcase: product(ctx, [dir]), tar: tarLoop(ctx, dir) }, ctx.runs, ctx.tick);
  const [a, b] = [turns.measures.netcase, turns.measures.tar].map((m) => spread(m.map((x) => x.ms)));
  const ratio = a.median / b.median;
  const rss = spread(turns.measures.netcase.map((m) => m.rssMiB));
  const size = turns.measures.netcase[0].caseBytes / truth.bytes;
  return {
    truth,
    rss,
    size,
    perBundle: a.median / truth.nodes,
    row: {
      name: `${name}: ${truth.nodes} bundles of ${Math.round(truth.rules / truth.nodes)} rules`,
      figures: `netcase ${show(a)} ms, tar ${show(b)} ms, ratio ${ratio.toFixed(2)} (CPU ${(spread(turns.measures.netcase.map((m) => m.cpuMs)).median / spread(turns.measures.tar.map((m) => m.cpuMs)).median).toFixed(2)})`,
      value: ratio,
      target,
      unit: 'x tar xzf',
      noisy: turns.noisy,
      other: turns.other.median,
    },
  };
}

const sizeRow = (name, measured, target) => ({
  name: `${name}: case file / compressed bundles`,
  figures: measured.size.toFixed(2),
  value: measured.size,
  target,
  unit: 'x bundles',
});

async function fleetBench(ctx) {
  const nodes = ctx.quick ? ['--range', '0-39'] : [];
  const measured = await against(ctx, 'one cluster', [...MEDIUM, ...nodes], 1);
  return [measured.row, sizeRow('one cluster', measured, null)];
}

async function unrelatedBench(ctx) {
  const measured = await against(ctx, 'unrelated clusters', [...MEDIUM, '--clusters', ctx.quick ? '12' : '40'], null);
  return [measured.row, sizeRow('unrelated clusters', measured, null)];
}

/** Peak memory of the process at two sizes of a fleet. */
async function memoryBench(ctx) {
  const sizes = ctx.quick ? [40, 100] : [100, 400];
  const rss = [];
  for (const n of sizes) {
    const { dir } = await fleet(ctx.work, [...MEDIUM, '--nodes', String(n)]);
    const runs = [];
    for (let i = 0; i < Math.min(3, ctx.runs); i++) runs.push((await product(ctx, [dir])()).rssMiB);
    rss.push(spread(runs));
    ctx.tick();
  }
  const growth = rss[1].median / rss[0].median;
  return [
    ...sizes.map((n, i) => ({
      name: `peak memory at ${n} bundles`,
      figures: `${show(rss[i])} MiB`,
      value: rss[i].max,
      target: 512,
      unit: 'MiB',
    })),
    {
      name: `peak memory, ${sizes[0]} to ${sizes[1]} bundles`,
      figures: `x ${growth.toFixed(2)}`,
      value: growth,
      target: 1.2,
      unit: 'x',
    },
  ];
}

/** One bundle from process start to written report. */
async function singleBench(ctx) {
  const { files } = await fleet(ctx.work, [...MEDIUM, '--range', '0-39']);
  const turns = await byTurns(
    { netcase: product(ctx, [files[1]]), node: () => runNode(['-e', '0']) },
    ctx.quick ? 5 : 11,
    ctx.tick,
  );
  const [a, b] = [turns.measures.netcase, turns.measures.node].map((m) => spread(m.map((x) => x.ms)));
  return [
    {
      name: 'one bundle, process start to report',
      figures: `${show(a)} ms (node alone ${show(b)} ms)`,
      value: a.median,
      target: 300,
      unit: 'ms',
      noisy: turns.noisy,
      other: turns.other.median,
    },
  ];
}

/** The same services, ever more nodes. */
async function growthBench(ctx) {
  const rows = [];
  let first = null;
  for (const n of ctx.quick ? [20, 80] : [100, 400, 1000]) {
    const measured = await against(
      { ...ctx, runs: Math.min(ctx.runs, n > 400 ? 2 : 3) },
      'growth',
      [...MEDIUM, '--nodes', String(n)],
      null,
    );
    first ??= measured.perBundle;
    rows.push({
      ...measured.row,
      figures: `${measured.row.figures}, ${measured.perBundle.toFixed(1)} ms a bundle (x ${(measured.perBundle / first).toFixed(2)}), ${Math.round(measured.rss.max)} MiB, case ${measured.size.toFixed(2)} x`,
    });
  }
  return rows;
}

export const RUNNERS = {
  fleet: fleetBench,
  memory: memoryBench,
  single: singleBench,
  unrelated: unrelatedBench,
  growth: growthBench,
  trace: traceBench,
  reach: reachBench,
};
