import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ways } from '../support/kernel-check/compare.ts';
import { type RecordedStage, readRecording } from '../support/kernel-check/recording.ts';
import { sourcesOf, type TraceJson, type TraceRequest, traceOver } from '../support/kernel-check/tracer.ts';

const stages = readRecording<RecordedStage[]>(join(import.meta.dirname, '../../fixtures/kernel-check/scenarios.br'));

/** Other names and addresses for the same things; each way round. */
const NAMES: readonly (readonly [RegExp, string])[] = [
  [/\bcni0\b/g, 'brpods'],
  [/\bflannel\.1\b/g, 'overlay7'],
  [/\bdocker0\b/g, 'containers'],
  [/\bFLANNEL-FWD\b/g, 'SOMETHING'],
];
const ADDRESSES: readonly (readonly [RegExp, string])[] = [
  [/\b10\.244\./g, '10.33.'],
  [/\b192\.168\.50\./g, '172.28.7.'],
  [/\b10\.96\./g, '10.171.'],
];
const rewriter =
  (pairs: readonly (readonly [RegExp, string])[]) =>
  (text: string): string =>
    pairs.reduce((t, [from, to]) => t.replace(from, to), text);

const end = (trace: TraceJson, rewrite: (text: string) => string): unknown =>
  ways(trace).map((way) => ({
    verdict: way.verdict,
    node: way.arrived?.node,
    src: rewrite(way.arrived?.src ?? ''),
    dst: rewrite(way.arrived?.dst ?? ''),
    hops: way.hops.map((h) => `${h.node} ${h.action}`),
    reply: way.reply?.verdict,
    back: way.reply?.hops.map((h) => `${h.node} ${h.action}`),
  }));

async function check(stage: RecordedStage, rewrite: (text: string) => string): Promise<void> {
  const inputs = stages.bundles.filter((b) => stage.bundles.includes(b.name));
  const sources = (await Promise.all(inputs.map(sourcesOf))).flat();
  const renamed: TraceRequest[] = stage.requests.map((r) => ({ ...r, from: rewrite(r.from), to: rewrite(r.to) }));
  const before = await traceOver(
    sources.map((s) => s.facts()),
    stage.requests,
  );
  const after = await traceOver(
    sources.map((s) => s.facts(undefined, rewrite)),
    renamed,
  );
  expect(after.map((t) => end(t, (text) => text))).toEqual(before.map((t) => end(t, rewrite)));
}

describe('a trace follows what things are, not what they are called', () => {
  const named = stages.about.map((stage) => [`${stage.scenario}/${stage.stage}`, stage] as const);
  it.each(named)('%s with other device and chain names', async (_name, stage) => {
    await check(stage, rewriter(NAMES));
  });
  it.each(named)('%s with other addresses', async (_name, stage) => {
    await check(stage, rewriter(ADDRESSES));
  });
});
