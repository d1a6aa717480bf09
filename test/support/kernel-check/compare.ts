import type { ProbeResult } from '../lab/index.ts';
import type { HopKind } from './scenario.ts';
import type { TraceHop, TraceJson } from './tracer.ts';

export type Comparison = 'agreement' | 'unknown' | 'disagreement';

export interface Compared {
  readonly comparison: Comparison;
  /** What the trace said, in a few words. */
  readonly said: string;
}

/** Request and answer together: what a probe sees. */
export type Overall = 'delivered' | 'lost' | 'unknown';

export function overall(trace: Pick<TraceJson, 'verdict' | 'reply'>): Overall {
  const halves = [trace.verdict, ...(trace.reply ? [trace.reply.verdict] : [])];
  if (halves.some((v) => v === 'dropped' || v === 'rejected')) return 'lost';
  return halves.includes('unknown') ? 'unknown' : 'delivered';
}

/** The trace, or where it balances, every way it can go. */
export function ways(trace: TraceJson): readonly TraceJson[] {
  return trace.branches === undefined || trace.branches.length === 0 ? [trace] : trace.branches.flatMap(ways);
}

/** What a reader of the trace would believe; the reply's half and the address that the server sees included. */
export const belief = (trace: TraceJson): string =>
  ways(trace)
    .map((way) => `${overall(way)} ${overall(way) === 'delivered' ? way.arrived?.src : ''}`)
    .sort()
    .join(' | ');

const describe = (trace: TraceJson): string => {
  const reply = trace.reply ? `, reply ${trace.reply.verdict}: ${trace.reply.because}` : '';
  const arrived = trace.arrived ? ` [${trace.arrived.at} on ${trace.arrived.node} sees ${trace.arrived.src}]` : '';
  return `${trace.verdict}: ${trace.because}${arrived}${reply}`;
};

/** `ok from 10.244.1.10 at 10.244.2.10:80`, `timeout`; every different one of several tries once. */
export function kernelWords(results: readonly ProbeResult[]): string {
  const words = results.map(({ outcome, seenSource, answeredBy }) =>
    outcome === 'ok' && seenSource !== undefined
      ? `ok from ${seenSource} at ${answeredBy?.ip}:${answeredBy?.port} (${answeredBy?.place})`
      : outcome,
  );
  return [...new Set(words)].sort().join(' | ');
}

/** Every place of a lab answers these; elsewhere nobody listens. */
const SERVED: Readonly<Record<string, number>> = { tcp: 80, udp: 53 };

/** Did one probe go the way that the trace describes? How a packet is lost is not compared: the kernel limits its own error messages. */
function matches(kernel: ProbeResult, way: TraceJson, proto: string): Comparison {
  const state = overall(way);
  if (state === 'unknown') return 'unknown';
  // nobody listens: the packet arrived, and the refusal came back
  const port = way.arrived?.dport;
  if (
    state === 'delivered' &&
    port !== undefined &&
    port !== null &&
    SERVED[proto] !== undefined &&
    port !== SERVED[proto]
  ) {
    if (kernel.outcome === 'refused') return 'agreement';
    if (kernel.outcome === 'timeout' && proto === 'udp') return 'agreement';
  }
  if ((kernel.outcome === 'ok') !== (state === 'delivered')) return 'disagreement';
  if (kernel.outcome !== 'ok' || !way.arrived) return 'agreement';
  // it went to a node that was not collected: what that one does with addresses nobody can know
  const beyond = way.arrived.at === way.arrived.dst;
  if (beyond && kernel.answeredBy?.place !== 'outside') return 'agreement';
  if (kernel.seenSource !== undefined && way.arrived.src !== kernel.seenSource) return 'disagreement';
  const { answeredBy } = kernel;
  if (answeredBy === undefined) return 'agreement';
  if (way.arrived.dport !== null && way.arrived.dport !== answeredBy.port) return 'disagreement';
  return way.arrived.dst === answeredBy.ip ? 'agreement' : 'disagreement';
}

/** Did the trace say what the kernel did? Where the rules balance one of its ways has to be the kernel's. */
export function compare(kernel: ProbeResult, trace: TraceJson, proto = 'tcp'): Compared {
  const candidates = ways(trace).map((way) => matches(kernel, way, proto));
  const order: readonly Comparison[] = trace.branches?.length
    ? ['agreement', 'unknown', 'disagreement']
    : ['disagreement', 'unknown', 'agreement'];
  return { comparison: order.find((c) => candidates.includes(c)) ?? 'unknown', said: describe(trace) };
}

/** As compare, over several tries of one probe: the worst of them. `because`: why the trace is unknown. */
export function compareAll(
  results: readonly ProbeResult[],
  trace: TraceJson,
  probe: { readonly proto: string },
): Compared & { readonly because?: string } {
  const each = results.map((result) => compare(result, trace, probe.proto).comparison);
  const comparison = (['disagreement', 'unknown', 'agreement'] as const).find((c) => each.includes(c)) ?? 'unknown';
  const said = ways(trace).map(describe).slice(0, 4).join(' | ');
  if (comparison !== 'unknown') return { comparison, said };
  const open = ways(trace).find((way) => overall(way) === 'unknown') ?? trace;
  const because = open.verdict === 'unknown' ? open.because : `reply: ${open.reply?.because ?? ''}`;
  return { comparison, said, because };
}

/** Is this the reason of a packet that went where nobody collected? */
export const leavesEvidence = (because: string): boolean =>
  /not in the evidence|was not collected|belongs to no collected|no collected node/i.test(because);

/** What the place, action or text of a last hop has to mention to be of a kind. */
const KIND: Readonly<Record<HopKind, RegExp>> = {
  firewall: /raw|mangle|nat|filter|security|iptables|nft|FORWARD|INPUT|OUTPUT|PREROUTING|POSTROUTING/i,
  forwarding: /forward/i,
  'rp-filter': /rp_?-?filter|reverse|source.valid/i,
  'vxlan-fdb': /fdb|forwarding.(entry|database)|vxlan/i,
  'vxlan-neighbour': /neigh|arp|vxlan/i,
  'vxlan-vni': /vni|vxlan/i,
  'vxlan-mac': /mac|other.?host|vxlan/i,
  neighbour: /neigh|arp/i,
  socket: /socket|listen|port/i,
  route: /rout|blackhole|unreachable|prohibit/i,
  mtu: /mtu|frag|size/i,
  ttl: /ttl|loop/i,
  bridge: /bridge|hairpin|isolated|port/i,
  link: /link|veth|device|mtu|port/i,
  source: /source|rout|return|private|tuple|address/i,
  client: /client|tuple|address|expect|dial|asked/i,
};

/** Is the hop where a trace ends of one of these kinds? */
export function isKind(hop: TraceHop, because: string, kinds: readonly HopKind[]): boolean {
  const text = `${hop.place} ${hop.action} ${hop.text ?? ''} ${because}`;
  return kinds.some((kind) => KIND[kind].test(text));
}
