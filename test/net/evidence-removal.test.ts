import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { NodeFacts } from '../../src/engine/index.ts';
import { belief, overall, ways } from '../support/kernel-check/compare.ts';
import { type RecordedStage, readRecording } from '../support/kernel-check/recording.ts';
import {
  type NodeSource,
  sourcesOf,
  type TraceJson,
  type TraceRequest,
  traceOver,
} from '../support/kernel-check/tracer.ts';

const stages = readRecording<RecordedStage[]>(join(import.meta.dirname, '../../fixtures/kernel-check/scenarios.br'));

/** Said to be open: the verdict, or whether anybody listens where the packet arrives. */
const isOpen = (trace: TraceJson): boolean =>
  ways(trace).some(
    (way) => overall(way) === 'unknown' || way.because.includes('whether something listens is not known'),
  );

/** One removal: what is taken from which node. */
interface Removal {
  readonly node: number;
  readonly paths: ReadonlySet<string>;
}

/** Every file that a trace may have read, alone; and with it every other form of the same thing. */
function removals(sources: readonly NodeSource[]): Removal[] {
  return sources.flatMap((source, node) => {
    const read = [...source.read].filter((path) => !/^(manifest|bundle)\.json$/.test(path));
    const stem = (path: string) => path.replace(/(\.json|\.txt)$/, '').replace(/-(nft-|legacy-)?save$/, '');
    const groups = Map.groupBy(read, stem);
    return [
      ...read.map((path) => ({ node, paths: new Set([path]) })),
      ...[...groups.values()].filter((g) => g.length > 1).map((g) => ({ node, paths: new Set(g) })),
    ];
  });
}

async function objections(stage: RecordedStage): Promise<string[]> {
  const inputs = stages.bundles.filter((b) => stage.bundles.includes(b.name));
  const sources = (await Promise.all(inputs.map(sourcesOf))).flat();
  const whole = sources.map((s) => s.facts());
  const out: string[] = [];
  for (const request of stage.requests as readonly TraceRequest[]) {
    for (const source of sources) source.read.clear();
    const [before] = await traceOver(
      sources.map((s) => s.facts()),
      [request],
    );
    for (const { node, paths } of removals(sources)) {
      const facts = whole.map((f, i): NodeFacts => (i === node ? sources[node]!.facts(paths) : f));
      const [after] = await traceOver(facts, [request]);
      if (belief(after!) === belief(before!)) continue;
      const what = `${stage.scenario}/${stage.stage} ${request.from} -> ${request.to} without ${[...paths]} of ${sources[node]!.id}`;
      if (!isOpen(after!)) out.push(`${what}: ${belief(before!)} became ${belief(after!)}: ${after!.because}`);
      else if (!after!.because && !after!.reply?.because) out.push(`${what}: unknown without a reason`);
    }
  }
  return out;
}

describe('one piece of evidence less turns no verdict into another', () => {
  let byScenario: Map<string, RecordedStage[]>;
  beforeAll(() => {
    byScenario = Map.groupBy(stages.about, (s) => s.scenario);
  });
  it.each([...new Set(stages.about.map((s) => s.scenario))])('%s', async (id) => {
    const found: string[] = [];
    for (const stage of byScenario.get(id)!) found.push(...(await objections(stage)));
    expect(found).toEqual([]);
  });
});
