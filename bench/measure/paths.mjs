// Packets through large cases: netcase trace and netcase reach.
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { clusterOf } from '../fleet/cluster.mjs';
import { parseOptions } from '../fleet/options.mjs';
import { fleet } from './fleets.mjs';
import { byTurns, runNode, spread } from './run.mjs';

const show = (s) => `${s.min.toFixed(0)}/${s.median.toFixed(0)}/${s.max.toFixed(0)}`;

/** A case with the fleet's bundles in it, made once a run; and a pod on the first and on the last node that has one. */
async function caseOf(ctx, args) {
  const { dir, truth } = await fleet(ctx.work, args);
  const file = join(ctx.work, `paths-${truth.nodes}-${Math.round(truth.rules / truth.nodes)}.netcase`);
  if (!ctx.cases.has(file)) {
    for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true });
    await runNode([ctx.program, 'ingest', dir, '--case', file, '-q']);
    ctx.cases.add(file);
  }
  if (!existsSync(file)) throw new Error(`no case ${file}`);
  const pods = clusterOf(parseOptions(args), 0).podsOf.filter((list) => list.length > 0);
  return { file, truth, from: pods[0][0], to: pods.at(-1).at(-1), bytes: statSync(file).size };
}

/** What it takes to open a case, so that it can be taken off. */
const open = (ctx, file) => () => runNode([ctx.program, 'history', '--case', file, '--type', 'case.opened']);

export async function traceBench(ctx) {
  const args = ctx.quick ? ['--preset', 'medium', '--range', '0-39'] : ['--preset', 'large', '--logmb', '0.3'];
  const { file, truth, from, to } = await caseOf(ctx, args);
  const rows = [];
  const targets = [
    ['pod to pod of another node', `${to.ip}:${to.service.ports[0].target}`],
    ['pod to a service', `${to.service.clusterIp}:${to.service.ports[0].port}`],
  ];
  for (const [name, target] of targets) {
    const command = ['trace', '--case', file, '--from', from.ip, '--to', target, '--proto', to.service.ports[0].proto];
    // 1 and 4: the packet does not arrive, or nobody can tell; a trace all the same
    const task = () => runNode([ctx.program, ...command], { ok: [0, 1, 4] });
    const turns = await byTurns({ trace: task, open: open(ctx, file) }, ctx.runs, ctx.tick);
    const [a, b] = [turns.measures.trace, turns.measures.open].map((m) => spread(m.map((x) => x.ms)));
    rows.push({
      name: `trace, ${name}, in ${truth.nodes} nodes of ${Math.round(truth.rules / truth.nodes)} rules`,
      figures: `process ${show(a)} ms, opening the case alone ${show(b)} ms, ${Math.round(turns.measures.trace[0].rssMiB)} MiB`,
      value: a.median - b.median,
      target: 300,
      unit: 'ms after the case is open',
      noisy: turns.noisy,
      other: turns.other.median,
    });
  }
  return rows;
}

export async function reachBench(ctx) {
  const rows = [];
  for (const nodes of ctx.quick ? [40] : [100, 400, 1000]) {
    const args = ctx.quick
      ? ['--preset', 'medium', '--range', '0-39']
      : ['--preset', 'medium', '--nodes', String(nodes)];
    const { file, truth } = await caseOf(ctx, args);
    const task = () =>
      runNode([ctx.program, 'reach', '--case', file, '-o', join(ctx.work, 'reach.txt')], { ok: [0, 1, 4] });
    const turns = await byTurns({ reach: task }, Math.min(ctx.runs, nodes > 400 ? 2 : 3), ctx.tick);
    const took = spread(turns.measures.reach.map((x) => x.ms));
    rows.push({
      name: `reach, every pair of ${truth.nodes} nodes of ${Math.round(truth.rules / truth.nodes)} rules`,
      figures: `${show(took)} ms, ${Math.round(turns.measures.reach[0].rssMiB)} MiB`,
      value: took.median,
      target: nodes === 1000 ? 10_000 : null,
      unit: 'ms',
      noisy: turns.noisy,
      other: turns.other.median,
    });
  }
  return rows;
}
