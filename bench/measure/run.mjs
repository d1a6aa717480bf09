// Runs programs and says what they took: wall time, own processor time, peak memory, and how busy the machine was with other work.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

const atExit = join(import.meta.dirname, 'at-exit.mjs');

/** Seconds that all processors were busy so far, and seconds of the children that this process has waited for. */
function clocks() {
  const ticks = 100;
  try {
    const [, user, nice, system, , , irq, soft, steal] = readFileSync('/proc/stat', 'utf8')
      .split('\n')[0]
      .split(/\s+/)
      .map(Number);
    const own = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ').map(Number);
    return { busy: (user + nice + system + irq + soft + steal) / ticks, children: (own[13] + own[14]) / ticks };
  } catch {
    return { busy: 0, children: 0 };
  }
}

/** One run of a command; `ok` lists the exit codes that count as success. Other work is in processors. */
export async function run(command, args, { ok = [0], cwd, env = {} } = {}) {
  const before = clocks();
  const t0 = performance.now();
  const { code, stderr } = await new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (part) => {
      text = (text + part).slice(-4000);
    });
    child.on('error', reject);
    child.on('close', (c) => resolve({ code: c, stderr: text }));
  });
  const seconds = (performance.now() - t0) / 1000;
  const after = clocks();
  if (!ok.includes(code)) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr}`);
  const cpu = after.children - before.children;
  const other = Math.max(0, after.busy - before.busy - cpu) / seconds;
  return { ms: seconds * 1000, cpuMs: cpu * 1000, other };
}

/** A run of node that says its own peak memory. */
export async function runNode(args, options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'nc-bench-'));
  try {
    const file = join(dir, 'usage.json');
    const ran = await run(process.execPath, ['--import', atExit, ...args], {
      ...options,
      env: { ...options.env, NETCASE_BENCH_USAGE: file },
    });
    const { maxRSS } = JSON.parse(readFileSync(file, 'utf8'));
    return { ...ran, rssMiB: maxRSS / 1024 };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** More than this of other work makes a run a measure of that other work. */
const OTHER_WORK = 0.2;

/**
 * Runs the given tasks by turns (A/B/A/B), `count` times after one round that warms the page cache. Rounds with much other work are
 * left out when enough quiet ones remain; `noisy` says that they did not.
 */
export async function byTurns(tasks, count, onRound = () => {}) {
  const rounds = [];
  for (let i = 0; i <= count; i++) {
    const round = {};
    for (const [name, task] of Object.entries(tasks)) round[name] = await task();
    if (i > 0) rounds.push(round);
    onRound(i, count);
  }
  const quiet = rounds.filter((r) => Object.values(r).every((m) => m.other <= OTHER_WORK));
  const noisy = quiet.length < Math.min(3, count);
  const kept = noisy ? rounds : quiet;
  const other = spread(rounds.flatMap((r) => Object.values(r).map((m) => m.other)));
  return {
    kept,
    noisy,
    other,
    measures: Object.fromEntries(Object.keys(tasks).map((n) => [n, kept.map((r) => r[n])])),
  };
}

/** min, median and max of numbers. */
export function spread(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { min: sorted[0], median, max: sorted.at(-1) };
}

export const machine = () =>
  `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown processor'}, Node ${process.versions.node}, ${process.platform} ${process.arch}`;
