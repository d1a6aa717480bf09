#!/usr/bin/env node
// npm run bench: speed and memory against the floor of unpacking the same bundles, measured by turns in one run.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RUNNERS } from './measure/benches.mjs';
import { parseArguments, USAGE, UsageError } from './measure/options.mjs';
import { machine } from './measure/run.mjs';

const root = join(import.meta.dirname, '..');

function verdict(row) {
  if (row.target === null || row.target === undefined) return '';
  return row.value <= row.target ? `target ${row.target} ${row.unit}: met` : `target ${row.target} ${row.unit}: MISSED`;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.program === null) execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], { stdio: 'inherit' });
  const work = options.work ?? join(tmpdir(), 'netcase-bench');
  mkdirSync(work, { recursive: true });
  const memory = existsSync('/dev/shm') ? '/dev/shm' : work;
  const ctx = {
    ...options,
    work,
    memory,
    cases: new Set(),
    program: options.program ?? join(root, 'bin/netcase.cjs'),
    tick: () => {
      if (process.stderr.isTTY) process.stderr.write('.');
    },
  };
  const say = (line) => process.stdout.write(`${line}\n`);
  say(`${new Date().toISOString()}  ${machine()}  unpacking into ${memory}; min/median/max`);
  const all = [];
  for (const name of options.only) {
    for (const row of await RUNNERS[name](ctx)) {
      all.push({ bench: name, ...row });
      const noise = row.noisy ? `; NOISY: ${row.other.toFixed(1)} processors of other work` : '';
      say(`${row.name}\n    ${row.figures}${noise}`);
      const judged = verdict(row);
      if (judged !== '') say(`    ${judged}`);
    }
  }
  if (options.json !== null)
    writeFileSync(
      options.json,
      `${JSON.stringify({ at: new Date().toISOString(), machine: machine(), rows: all }, null, 2)}\n`,
    );
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}
