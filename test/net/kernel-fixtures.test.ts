import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compareAll } from '../support/kernel-check/compare.ts';
import { type KeptCase, readRecording } from '../support/kernel-check/recording.ts';
import { traceAll } from '../support/kernel-check/tracer.ts';

const dir = join(import.meta.dirname, '../../fixtures/kernel-check/disagreements');
const names = readdirSync(dir).filter((name) => name.endsWith('.br'));

/** Every case in which the trace and the kernel once disagreed, and a few of devices that are rare, with the kernel’s answer. */
describe('the trace says what the kernel did', () => {
  it.each(names)('%s', async (name) => {
    const { about, bundles } = readRecording<KeptCase>(join(dir, name));
    const [trace] = await traceAll(bundles, [about.request]);
    const { comparison, said } = compareAll(about.results, trace!, about.request);
    // what the kernel does there depends on what no evidence shows
    expect(comparison, said).toBe(name.endsWith('.open.br') ? 'unknown' : 'agreement');
  });
});
