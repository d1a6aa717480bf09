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

const describe = (trace: TraceJson): string => {
  const reply = trace.reply ? `, reply ${trace.reply.verdict}: ${trace.reply.because}` : '';
  return `${trace.verdict}: ${trace.because}${trace.arrived ? ` [server sees ${trace.arrived.src}]` : ''}${reply}`;
};

/**
 * Did the trace say what the kernel did? Where the rules balance one of its ways has to be the kernel's. How a packet is lost is not
 * compared: the kernel limits its own error messages.
 */
export function compare(kernel: ProbeResult, trace: TraceJson): Compared {
  const candidates = ways(trace).map((way): Comparison => {
    const state = overall(way);
    if (state === 'unknown') return 'unknown';
    if ((kernel.outcome === 'ok') !== (state === 'delivered')) return 'disagreement';
    const seen = kernel.seenSource;
    if (kernel.outcome !== 'ok' || seen === undefined || !way.arrived) return 'agreement';
    return way.arrived.src === seen ? 'agreement' : 'disagreement';
  });
  const order: readonly Comparison[] = trace.branches?.length
    ? ['agreement', 'unknown', 'disagreement']
    : ['disagreement', 'unknown', 'agreement'];
  return { comparison: order.find((c) => candidates.includes(c)) ?? 'unknown', said: describe(trace) };
}

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
