import type { ProbeResult } from './agent.ts';
import type { Probe } from './lab.ts';

const ATTEMPTS = 3;

/**
 * Probes, and asks again those that got no answer at all: a busy machine may be too slow for one, a kernel that drops a packet drops it each
 * time. An error that came back is an answer.
 */
export async function probePatiently(
  lab: { probeAll(probes: readonly Probe[]): Promise<ProbeResult[]> },
  probes: readonly Probe[],
): Promise<ProbeResult[]> {
  const results = await lab.probeAll(probes);
  for (let attempt = 1; attempt < ATTEMPTS; attempt += 1) {
    const silent = results.flatMap(({ outcome }, i) => (outcome === 'lost' || outcome === 'timeout' ? [i] : []));
    if (silent.length === 0) break;
    const again = await lab.probeAll(silent.map((i) => probes[i] as Probe));
    for (const [at, i] of silent.entries()) results[i] = again[at] as ProbeResult;
  }
  return results;
}
