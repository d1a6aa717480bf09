import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Checked, requestOf } from './check.ts';
import type { Plan } from './plan.ts';
import { type KeptCase, readRecording, writeRecording } from './recording.ts';

/** Turns what `--keep` left in `dir` into a fixture that is replayed without a kernel. */
export async function toFixture(dir: string, file: string): Promise<void> {
  const { plan, checked } = JSON.parse(readFileSync(join(dir, 'case.json'), 'utf8')) as {
    plan: Plan;
    checked: Checked;
  };
  const bundles = readdirSync(dir)
    .filter((name) => name.endsWith('.tar.gz'))
    .map((name) => join(dir, name));
  const about: KeptCase = { plan, request: requestOf(plan, checked.probe), results: checked.results };
  await writeRecording(file, about, bundles);
}

/** The plan, the kernel's answer and the bundles of a fixture as files, for `netcase trace` and the eye. */
export function unpackFixture(file: string, dir: string): void {
  const { about, bundles } = readRecording<unknown>(file);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'case.json'), `${JSON.stringify(about, null, 2)}\n`);
  for (const { name, bytes } of bundles) writeFileSync(join(dir, name.replace(/\.gz$/, '')), bytes);
}
