import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Checked, checkLab, requestOf } from './check.ts';
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

/** Builds the lab of a kept plan again, asks the kernel again, and writes the fixture; how it was judged. */
export async function recordPlan(caseFile: string, file: string): Promise<string> {
  const { plan } = JSON.parse(readFileSync(caseFile, 'utf8')) as { plan: Plan };
  const dir = mkdtempSync(join(tmpdir(), 'nc-record-'));
  try {
    const { checked, bundles } = await checkLab(plan, dir);
    const [first] = checked;
    if (first === undefined) throw new Error(`${caseFile} has no probe`);
    const about: KeptCase = { plan, request: requestOf(plan, first.probe), results: first.results };
    await writeRecording(file, about, bundles);
    return `${first.judged}: ${first.kernel}; trace ${first.trace}`;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The plan, the kernel's answer and the bundles of a fixture as files, for `netcase trace` and the eye. */
export function unpackFixture(file: string, dir: string): void {
  const { about, bundles } = readRecording<unknown>(file);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'case.json'), `${JSON.stringify(about, null, 2)}\n`);
  for (const { name, bytes } of bundles) writeFileSync(join(dir, name.replace(/\.gz$/, '')), bytes);
}
