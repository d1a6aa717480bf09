import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { analyse, root } from '../support/analyse.ts';

const bundles = join(root, 'fixtures/bundles');
const golden = join(root, 'fixtures/cases/matrix.txt');

/** One matrix, case by rule: a rule that fires elsewhere after a change is one line of diff. */
it('answers of every rule on every recorded case', async () => {
  const lines: string[] = [];
  for (const name of readdirSync(bundles).sort()) {
    const { json, code } = await analyse([join(bundles, name)]);
    lines.push(`${name} (exit ${code})`);
    for (const f of json.findings) lines.push(`  ${f.severity.padEnd(8)} ${f.rule} on ${f.nodes.join(', ')}`);
    for (const u of json.unknown) lines.push(`  ${u.kind.padEnd(8)} ${u.rule} on ${u.nodes.join(', ')}: ${u.because}`);
    for (const m of json.missingNodes) lines.push(`  no bundle ${m.node}`);
    const passed = Object.entries(json.verdicts).filter(([, v]) => (v['pass'] ?? 0) > 0);
    lines.push(`  pass     ${passed.map(([rule, v]) => `${rule} ${v['pass']}`).join(', ')}`);
  }
  const text = `${lines.join('\n')}\n`;
  if (process.env['ACCEPT'] !== undefined || !existsSync(golden)) writeFileSync(golden, text);
  expect(text, 'differs; to accept: ACCEPT=1 npx vitest run test/golden').toBe(readFileSync(golden, 'utf8'));
}, 300_000);
