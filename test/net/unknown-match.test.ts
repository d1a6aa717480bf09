import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { belief, overall, ways } from '../support/kernel-check/compare.ts';
import { type RecordedStage, readRecording } from '../support/kernel-check/recording.ts';
import { sourcesOf, type TraceJson, traceOver } from '../support/kernel-check/tracer.ts';

const stages = readRecording<RecordedStage[]>(join(import.meta.dirname, '../../fixtures/kernel-check/scenarios.br'));

const isOpen = (trace: TraceJson): boolean => ways(trace).some((way) => overall(way) === 'unknown');

/** The same, or the same but for the source, of which the trace then says nothing. */
const isCompatible = (before: string, after: string): boolean =>
  before === after || (after === 'delivered undefined' && before.startsWith('delivered') && !before.includes('lost'));

/** The rule of iptables-save with one match more, or in place of all its own, that nobody has ever heard of. */
const CHANGES: readonly ((rule: string) => string)[] = [
  (rule) => rule.replace(/ -([jg]) /, ' -m nosuch --nosuch-option 7 -$1 '),
  (rule) => rule.replace(/^(-A \S+) .*?-([jg]) /, '$1 -m nosuch --nosuch-option 7 -$2 '),
  (rule) => rule.replace(/-[jg] .*$/, '-j NOSUCH --nosuch-option 7'),
];

async function objections(stage: RecordedStage): Promise<string[]> {
  const inputs = stages.bundles.filter((b) => stage.bundles.includes(b.name));
  const sources = (await Promise.all(inputs.map(sourcesOf))).flat();
  const whole = sources.map((s) => s.facts());
  const before = await traceOver(whole, stage.requests);
  const out: string[] = [];
  for (const [at, source] of sources.entries()) {
    const rules = new Set<string>();
    const listen = source.facts(undefined, (text) => {
      for (const line of text.split('\n')) if (/^(\[\d+:\d+\] )?-A .* -[jg] /.test(line)) rules.add(line);
      return text;
    });
    await traceOver(
      whole.map((f, i) => (i === at ? listen : f)),
      stage.requests,
    );
    for (const rule of rules) {
      const body = rule.replace(/^\[\d+:\d+\] /, '');
      for (const [how, change] of CHANGES.entries()) {
        const changed = source.facts(undefined, (text) => text.replaceAll(body, change(body)));
        const after = await traceOver(
          whole.map((f, i) => (i === at ? changed : f)),
          stage.requests,
        );
        after.forEach((trace, i) => {
          // with its matches gone the rule may catch what it did not: known is only that it may
          if (isCompatible(belief(before[i]!), belief(trace)) || isOpen(trace)) return;
          out.push(
            `${stage.scenario}/${stage.stage} ${stage.requests[i]!.from} -> ${stage.requests[i]!.to}, "${body}" changed (${how}): ${belief(before[i]!)} became ${belief(trace)}: ${trace.because}`,
          );
        });
      }
    }
  }
  return out;
}

describe('a match or target that nobody knows makes a verdict unknown at most', () => {
  it.each(stages.about.map((stage) => [`${stage.scenario}/${stage.stage}`, stage] as const))(
    '%s',
    async (_name, stage) => {
      expect(await objections(stage)).toEqual([]);
    },
  );
});
