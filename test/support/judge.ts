import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type AnalysisJson, analyse } from './analyse.ts';
import type { Effect, Lab } from './lab/index.ts';

/** Collects every node with the real collector, which gets `args`, and analyses the bundles with the real command. */
export async function judge(lab: Lab, args: readonly string[] = []): Promise<AnalysisJson> {
  const dir = mkdtempSync(join(tmpdir(), 'nc-judge-'));
  try {
    const bundles = await lab.collectAll(dir, args);
    return (await analyse(bundles)).json;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What a test expects of the findings of an effect: their severity, and texts of which each stands in a cited line. */
export interface Named {
  readonly cites: readonly string[];
  readonly severity: string;
}

/** The effect's rule names its nodes and cites the lines, and no rule failed. */
export function namesIt(json: AnalysisJson, effect: Effect, fault: Named): void {
  const all = json.findings.map((f) => `${f.severity} ${f.id}`);
  const mine = json.findings.filter((f) => f.rule === effect.rule && f.severity === fault.severity);
  expect(mine.length, `no ${fault.severity} finding of ${effect.rule} among:\n${all.join('\n')}`).toBeGreaterThan(0);
  const named = new Set(mine.flatMap((f) => f.nodes));
  expect(effect.nodes.filter((n) => !named.has(n))).toEqual([]);
  const shown = mine.flatMap((f) =>
    f.cites.map((c) => (c.absent === undefined ? (c.text ?? '') : `absent: ${c.absent}`)),
  );
  for (const text of fault.cites)
    expect(
      shown.some((s) => s.includes(text)),
      `no cite holds ${text}; there are:\n${shown.join('\n')}`,
    ).toBe(true);
  expect(json.unknown.filter((u) => u.kind === 'error')).toEqual([]);
}
