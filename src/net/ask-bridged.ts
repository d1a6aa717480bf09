import { type HookAnswer, hookAnswer, MAX_WAYS, packetOf, type Sample, tracked } from './ask.ts';
import type { Cite } from './doubt.ts';
import { runHook } from './hook.ts';
import type { NetNode } from './model.ts';
import { bridgeCallsIptables } from './source.ts';

/** A frame from one port of a bridge to another. */
export interface BridgedSample extends Omit<Sample, 'iif' | 'oif'> {
  readonly bridge: string;
  readonly ports: readonly [from: string, to: string];
}

/** Does br_netfilter show IPv4 frames of this bridge to iptables? null: not known, and why. */
export function asksIptables(
  node: NetNode,
  bridge: string,
): {
  readonly on: boolean | null;
  readonly cites: readonly Cite[];
  readonly because: string;
  readonly evidence: readonly string[];
} {
  // the switch of all bridges is enough, and needs no list of devices
  const all = node.host.sysctl('net/bridge/bridge-nf-call-iptables');
  if (all.value === 1) return { on: true, cites: all.cite === null ? [] : [all.cite], because: '', evidence: [] };
  const { truth, cites, because, reason } = bridgeCallsIptables(node.host, bridge, 4);
  const present = cites.filter((c): c is Cite => 'fact' in c);
  return { on: truth === null ? null : truth === 1, cites: present, because, evidence: reason.evidence };
}

/** Where frames of a bridge are shown to iptables: does PREROUTING, does FORWARD let one stay on it? */
export function askBridged(node: NetNode, { bridge, ports: [physIn, physOut], ...sample }: BridgedSample): HookAnswer {
  const packet = packetOf({ ...sample, iif: bridge, oif: '' });
  if (packet === null)
    return { verdict: 'unknown', because: 'it has no readable addresses', deciders: [], evidence: [] };
  const context = { track: tracked, maxWays: MAX_WAYS };
  const ways = runHook(node.host, 'prerouting', { ...packet, physIn }, [], context).flatMap((w) => {
    if (w.verdict !== 'accept') return [w];
    const going = { ...w.packet, iif: bridge, oif: bridge, physIn, physOut, bridged: true };
    return runHook(node.host, 'forward', going, w.doubts, context).map((f) => ({
      ...f,
      probability: f.probability * w.probability,
      steps: [...w.steps, ...f.steps],
    }));
  });
  return hookAnswer(ways);
}
