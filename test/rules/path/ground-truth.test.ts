import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rule } from '../../../rules/path/trace-pod-to-pod.ts';
import { readInput } from '../../../src/bundle/index.ts';
import { decodeEvidence } from '../../../src/cases/evidence-text.ts';
import { nodeInfo } from '../../../src/cases/prepare.ts';
import type { TraceJson } from '../../../src/core/trace.ts';
import type { NodeEvidence } from '../../../src/engine/index.ts';
import { type MemoryBundle, type RecordedStage, readRecording } from '../../support/kernel-check/recording.ts';
import { judgeEvidence } from '../../support/rule-table.ts';

const recorded = readRecording<RecordedStage[]>(
  join(import.meta.dirname, '../../../fixtures/kernel-check/scenarios.br'),
);

async function evidenceOf({ name, bytes }: MemoryBundle): Promise<readonly (readonly [string, NodeEvidence])[]> {
  return (await readInput(bytes, { name })).map((result) => {
    if (!result.ok) throw new Error(`${name}: ${result.problem.message}`);
    const { bundle } = result;
    const textAt = (path: string) => {
      const member = bundle.members.get(path);
      return member === undefined ? null : decodeEvidence(member.bytes);
    };
    return [bundle.nodeName, { info: nodeInfo(bundle, bundle.nodeName, bundle.evidence), textAt }] as const;
  });
}

/** From one pod of the cluster to another, small and without a service between them. */
const isPath = (place: string) => /^10\.244\.\d+\.\d+$/.test(place);

/** What a rule says of a stage against what the kernel did there. */
async function objections(stage: RecordedStage): Promise<string[]> {
  const bundles = recorded.bundles.filter((b) => stage.bundles.includes(b.name));
  const evidence = new Map((await Promise.all(bundles.map(evidenceOf))).flat());
  const { findings, matrix, unknown } = judgeEvidence([rule], evidence);
  const open = unknown.filter((u) => u.kind === 'error').map((u) => `the rule failed: ${u.because}`);
  const said = findings.map((f) => (f.trace as TraceJson).packet);
  const against = stage.rows.flatMap((row, i): string[] => {
    const request = stage.requests[i];
    if (request === undefined || !isPath(request.from) || !isPath(request.to) || row.tries !== undefined) return [];
    // refused: by a rule, or because nothing listens, which is no fault of the path
    if (row.size !== undefined || row.outcome === 'refused') return [];
    const what = `${request.from} -> ${request.to} ${request.proto}: the kernel says ${row.outcome}`;
    const named = said.some((p) => p.src === request.from && p.dst === request.to && p.proto === request.proto);
    if (row.outcome === 'ok') return named ? [`${what}, the rule found it broken`] : [];
    const answers = Object.values(matrix[rule.id] ?? {});
    return answers.includes('findings') || answers.includes('unknown') ? [] : [`${what}, the rule answers ${answers}`];
  });
  return [...open, ...against];
}

describe('trace-pod-to-pod says what the kernel did', () => {
  let byScenario: Map<string, RecordedStage[]>;
  beforeAll(() => {
    byScenario = Map.groupBy(recorded.about, (s) => s.scenario);
  });
  it.each([...new Set(recorded.about.map((s) => s.scenario))])('%s', async (id) => {
    const found: string[] = [];
    for (const stage of byScenario.get(id) ?? [])
      found.push(...(await objections(stage)).map((o) => `stage ${stage.stage}: ${o}`));
    expect(found).toEqual([]);
  });
});
