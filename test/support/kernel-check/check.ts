import { mkdirSync, rmSync } from 'node:fs';
import type { ProbeResult } from '../lab/index.ts';
import { type Comparison, compareAll, kernelWords, leavesEvidence, ways } from './compare.ts';
import { ip6Of, OUTSIDE_IP6 } from './ipv6.ts';
import { OUTSIDE_IP, type Plan, type PlannedPlace, type PlannedProbe, placesOf, secondIp } from './plan.ts';
import { PlannedLab } from './run-lab.ts';
import { type TraceJson, type TraceRequest, traceAll } from './tracer.ts';

/** outside: unknown, as it has to be, for the packet leaves the evidence. unstable: the kernel did not do the same twice. */
export type Judged = Comparison | 'outside' | 'unstable';

export interface Judgement<P> {
  readonly probe: P;
  readonly judged: Judged;
  readonly results: readonly ProbeResult[];
  /** What the kernel did and what the trace said, in a few words. */
  readonly kernel: string;
  readonly trace: string;
  /** Why the trace is unknown. */
  readonly because?: string;
}

export type Checked = Judgement<PlannedProbe>;

export interface LabResult {
  readonly seed: number;
  readonly checked: readonly Checked[];
  readonly bundles: readonly string[];
  /** Milliseconds for building, probing, collecting, tracing. */
  readonly ms: { readonly build: number; readonly probe: number; readonly collect: number; readonly trace: number };
  readonly complaints: readonly string[];
}

/** Payload bytes that the lab's probes send when nobody says how many. */
const PAYLOAD: Readonly<Record<string, number | undefined>> = { icmp: 56, udp: 16 };

/** What to ask the trace for a probe of a plan. */
export function requestOf(plan: Plan, probe: PlannedProbe): TraceRequest {
  const place = placesOf(plan).find((p) => p.id === probe.from);
  return {
    from: place === undefined ? probe.from : fromOf(plan, place, probe.to.includes(':')),
    to: probe.to,
    proto: probe.proto,
    port: probe.port,
    size: probe.size ?? PAYLOAD[probe.proto],
    df: probe.df,
  };
}

/** A node by its name; a pod or container as the namespace with its address; a host that nobody collected by its address. */
function fromOf(plan: Plan, place: PlannedPlace, six: boolean): string {
  const ip = (six ? ip6Of(plan, place) : null) ?? place.ip;
  const node = plan.nodes.find((n) => n.name === place.node);
  const collected = node === undefined ? plan.outsideCollected : node.collected;
  if (!collected) return ip;
  return place.kind === 'node' || place.kind === 'outside' ? place.id : `${place.node}/${place.ip}`;
}

/** Places and addresses of nodes that nobody collected. */
function uncollected(plan: Plan): Set<string> {
  const names = plan.nodes.filter((n) => !n.collected);
  return new Set([
    ...names.map(secondIp),
    ...placesOf(plan)
      .filter((place) => names.some((n) => n.name === place.node))
      .flatMap((place) => [place.id, place.ip, ip6Of(plan, place) ?? place.ip]),
  ]);
}

/** Does the probe start or end where nobody collected? */
function touchesOutside(plan: Plan, probe: PlannedProbe): boolean {
  const dark = new Set<string>(plan.outsideCollected ? [] : ['outside', OUTSIDE_IP, OUTSIDE_IP6]);
  for (const name of uncollected(plan)) dark.add(name);
  return dark.has(probe.from) || dark.has(probe.to);
}

/** One probe's results against its trace; `dark`: it may end where nobody collected. */
export function judgeProbe<P extends { readonly proto: string }>(
  probe: P,
  results: readonly ProbeResult[],
  trace: TraceJson,
  dark: 'yes' | 'perhaps',
): Judgement<P> {
  const { comparison, said, because } = compareAll(results, trace, probe);
  const outside = comparison === 'unknown' && (dark === 'yes' || leavesEvidence(because ?? ''));
  return {
    probe,
    judged: outside ? 'outside' : comparison,
    results,
    kernel: kernelWords(results),
    trace: said,
    ...(because === undefined ? {} : { because }),
  };
}

function judge(plan: Plan, probe: PlannedProbe, results: readonly ProbeResult[], trace: TraceJson): Checked {
  const judged = judgeProbe(probe, results, trace, touchesOutside(plan, probe) ? 'yes' : 'perhaps');
  // the packet reaches a node without bundle as it would reach any host: what that one does with it is not the trace's to say
  const handedOver = ways(trace).every((way) => way.arrived != null && way.arrived.at === way.arrived.dst);
  return judged.judged === 'disagreement' && handedOver && uncollected(plan).has(probe.to)
    ? { ...judged, judged: 'outside' }
    : judged;
}

/** Builds the lab, asks the kernel and the trace, and compares; the bundles stay in `dir`. */
export async function checkLab(plan: Plan, dir: string): Promise<LabResult> {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  let last = performance.now();
  const lap = () => {
    const now = performance.now();
    const took = Math.round(now - last);
    last = now;
    return took;
  };
  const lab = await PlannedLab.build(plan);
  const ms = { build: lap(), probe: 0, collect: 0, trace: 0 };
  try {
    const early = plan.collectFirst ? await lab.collect(dir) : [];
    ms.collect += lap();
    const results = await lab.probeAll();
    ms.probe = lap();
    const bundles = plan.collectFirst ? early : await lab.collect(dir);
    ms.collect += lap();
    const traces = await traceAll(
      bundles,
      plan.probes.map((probe) => requestOf(plan, probe)),
    );
    ms.trace = lap();
    const checked = plan.probes.map((probe, i) => judge(plan, probe, results[i]!, traces[i]!));
    const steady = await confirm(lab, checked, traces);
    return { seed: plan.seed, checked: steady, bundles, ms, complaints: lab.complaints };
  } finally {
    await lab.destroy();
  }
}

/** Asks the kernel twice more where it and the trace differ: a lost packet can be bad luck. */
async function confirm(lab: PlannedLab, checked: readonly Checked[], traces: readonly TraceJson[]): Promise<Checked[]> {
  const doubtful = checked.flatMap((c, i) => (c.judged === 'disagreement' ? [i] : []));
  if (doubtful.length === 0) return [...checked];
  const out = [...checked];
  const probes = doubtful.map((i) => checked[i]!.probe);
  for (let round = 0; round < 2; round++) {
    const again = await lab.probeAll(probes, 1.2);
    doubtful.forEach((at, k) => {
      const old = out[at]!;
      if (old.judged !== 'disagreement') return;
      const now = judge(lab.plan, old.probe, again[k]!, traces[at]!);
      if (
        now.judged !== 'disagreement' ||
        (now.kernel.startsWith('ok') !== old.kernel.startsWith('ok') && old.probe.tries === undefined)
      )
        out[at] = { ...old, judged: 'unstable', kernel: `${old.kernel}, then ${now.kernel}` };
    });
  }
  return out;
}
