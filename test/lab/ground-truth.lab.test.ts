import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isKind, overall, ways } from '../support/kernel-check/compare.ts';
import { build, realProbe, SCENARIOS, type Stand } from '../support/kernel-check/ground-truth.ts';
import { type RecordedStage, writeRecording } from '../support/kernel-check/recording.ts';
import type { Expected, Scenario } from '../support/kernel-check/scenario.ts';
import { type TraceJson, type TraceRequest, traceAll } from '../support/kernel-check/tracer.ts';
import { dockerLabsAvailable, labsAvailable, type ProbeResult } from '../support/lab/index.ts';

let out: string;
beforeAll(() => {
  out = mkdtempSync(join(tmpdir(), 'nc-ground-truth-'));
});
afterAll(async () => {
  // how fixtures/kernel-check/scenarios.br is made: NETCASE_RECORD=FILE
  if (process.env.NETCASE_RECORD !== undefined)
    await writeRecording(process.env.NETCASE_RECORD, recordedStages(), bundlesOf());
  rmSync(out, { recursive: true, force: true });
}, 900_000);

const recorded: RecordedStage[] = [];
const inOrder = () => recorded.toSorted((a, b) => a.scenario.localeCompare(b.scenario) || a.stage - b.stage);
const bundlesOf = () => inOrder().flatMap((stage) => stage.bundles);
const recordedStages = (): RecordedStage[] =>
  inOrder().map((stage) => ({ ...stage, bundles: stage.bundles.map((path) => basename(path)) }));

const name = (row: Expected) =>
  `${row.from} -> ${row.to}${row.port === undefined ? '' : `:${row.port}`} ${row.proto}${row.size === undefined ? '' : ` ${row.size}`}`;

/** Outcomes by an ICMP error, which the kernel sends to nobody more often than once a second: then the client learns nothing. */
const isError = (outcome: string): boolean =>
  ['refused', 'hostunreach', 'emsgsize', 'ttlexceeded', 'lost'].includes(outcome);

/** What the kernel did, in the words of the table. */
function kernelLine(row: Expected, results: readonly ProbeResult[]): string {
  const oks = results.filter((r) => r.outcome === 'ok').length;
  if (row.tries !== undefined) return `${name(row)}: ${oks > 0 && oks < row.tries ? 'both' : `${oks} ok`}`;
  const [r] = results;
  const src = row.src === undefined ? '' : ` src=${r?.seenSource}`;
  if (isError(row.outcome) && (r?.outcome === 'timeout' || r?.outcome === 'lost' || isError(r?.outcome ?? '')))
    return `${name(row)}: ${row.outcome}${src}`;
  return `${name(row)}: ${r?.outcome}${src}${row.answeredPort === undefined ? '' : ` port=${r?.answeredBy?.port}`}`;
}

const recordedLine = (row: Expected): string =>
  row.tries === undefined
    ? `${name(row)}: ${row.outcome}${row.src === undefined ? '' : ` src=${row.src}`}${row.answeredPort === undefined ? '' : ` port=${row.answeredPort}`}`
    : `${name(row)}: both`;

/** What is wrong with a trace of this row; null: nothing. */
function objection(row: Expected, trace: TraceJson): string | null {
  const all = ways(trace);
  if (row.tries !== undefined) {
    const states = new Set(all.map(overall));
    return states.has('delivered') && states.has('lost') ? null : `one way only: ${[...states].join()}`;
  }
  const [way = trace] = all;
  const state = overall(way);
  if (row.outcome === 'ok') {
    if (state !== 'delivered') return `${state}: ${way.because} ${way.reply?.because ?? ''}`;
    if (row.src !== undefined && way.arrived?.src !== row.src) return `the server sees ${way.arrived?.src}`;
    // which of two equal chains was registered last is in no evidence: then the trace names no port
    if (row.answeredPort !== undefined && way.arrived && way.arrived.dport !== row.answeredPort)
      return `port ${way.arrived?.dport}`;
    return null;
  }
  // a port without a listener was reached: the host refuses, nothing dropped
  if (row.outcome === 'refused' && row.dies?.kinds.includes('socket') && way.verdict === 'delivered') return null;
  if (state !== 'lost') return `${state}: ${way.because} ${way.reply?.because ?? ''}`;
  return row.dies === undefined ? null : wrongPlace(row.dies, way);
}

function wrongPlace(dies: NonNullable<Expected['dies']>, way: TraceJson): string | null {
  const onRequest = way.verdict !== 'delivered';
  const half = onRequest ? 'request' : 'reply';
  if (half !== dies.half) return `the ${half} dies: ${onRequest ? way.because : way.reply?.because}`;
  const side = onRequest ? way : way.reply!;
  const hop = side.hops.at(-1);
  if (hop === undefined) return `no hop: ${side.because}`;
  if (dies.node !== null && hop.node !== dies.node) return `dies on ${hop.node} at ${hop.place}: ${side.because}`;
  return isKind(hop, side.because, dies.kinds) ? null : `dies at ${hop.place} (${hop.action}): ${side.because}`;
}

function requestOf(here: Stand, row: Expected): TraceRequest {
  const { from, to } = realProbe(here, row);
  const isNode =
    typeof from !== 'string' && (from === here.lab.outside || here.lab.nodes.some((node) => node.id === from.id));
  return {
    from: typeof from === 'string' ? from : isNode ? from.id : from.ip!,
    to: typeof to === 'string' ? to : to.ip!,
    proto: row.proto,
    port: row.port ?? (row.proto === 'tcp' ? 80 : row.proto === 'udp' ? 53 : undefined),
    size: row.size,
    df: row.df,
  };
}

/** Every row; again what did not come as recorded: the kernel limits its ICMP errors, and labs run side by side. */
async function probeStage(here: Stand, rows: readonly Expected[]): Promise<ProbeResult[][]> {
  const ask = (row: Expected) => here.lab.probeAll(Array.from({ length: row.tries ?? 1 }, () => realProbe(here, row)));
  const results = await Promise.all(rows.map(ask));
  for (let round = 0; round < 3; round++)
    for (const [at, row] of rows.entries()) {
      if (kernelLine(row, results[at]!) === recordedLine(row)) continue;
      await new Promise((resolve) => setTimeout(resolve, 500));
      results[at] = await ask(row);
    }
  return results;
}

async function check(scenario: Scenario): Promise<void> {
  let stand: Stand | undefined;
  try {
    for (const [i, stage] of scenario.stages.entries()) {
      if (stand === undefined || stage.fresh) {
        await stand?.destroy();
        stand = await build(scenario);
      }
      const here = stand;
      await stage.apply?.(here.lab);
      const results = await probeStage(here, stage.probes);
      expect(stage.probes.map((row, at) => kernelLine(row, results[at]!))).toEqual(stage.probes.map(recordedLine));
      const rows = stage.probes;
      const bundles = await here.lab.collectAll(join(out, `${scenario.id}-${i}`), ['--quick']);
      const requests = rows.map((row) => requestOf(here, row));
      recorded.push({ scenario: scenario.id, stage: i, rows, requests, bundles });
      const traces = await traceAll(bundles, requests);
      expect(
        rows.flatMap((row, at) => {
          const why = objection(row, traces[at]!);
          return why === null ? [] : [`${recordedLine(row)}, but the trace: ${why}`];
        }),
      ).toEqual([]);
    }
  } finally {
    await stand?.destroy();
  }
}

it('all scenarios are there', () => {
  expect(SCENARIOS.map((s) => s.id)).toEqual(
    Array.from({ length: 23 }, (_, i) => `S${String(i + 1).padStart(2, '0')}`),
  );
});

describe.skipIf(!labsAvailable())('the trace agrees with the kernel', () => {
  it.concurrent.each(SCENARIOS.filter((s) => !s.docker).map((s) => [`${s.id} ${s.title}`, s] as const))(
    '%s',
    async (_name, scenario) => {
      await check(scenario);
    },
    900_000,
  );
});

describe.skipIf(!dockerLabsAvailable())('the trace agrees with the kernel, docker', () => {
  it.each(SCENARIOS.filter((s) => s.docker).map((s) => [`${s.id} ${s.title}`, s] as const))(
    '%s',
    async (_name, scenario) => {
      await check(scenario);
    },
    900_000,
  );
});
