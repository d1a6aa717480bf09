import { formatAddr } from './addr.ts';
import { type Decider, decidersOf, MAX_WAYS, packetOf, type Sample, tracked } from './ask.ts';
import { runHook } from './hook.ts';
import type { NetNode } from './model.ts';

/** Where a new connection goes that comes to the host. */
interface Destination {
  /** `172.17.0.2:9000`; as it was asked for where no rule gives it another one; null: it is dropped there. */
  readonly to: string | null;
  /** The rule that gave it this destination, or dropped it. */
  readonly decider: Decider | null;
  /** Of one that keeps its destination: the rule that kept it from those behind (ACCEPT in nat, NOTRACK in raw); null: none matched. */
  readonly keeper: Decider | null;
  /** Of new connections, 0 to 1, where rules choose by chance. */
  readonly share: number;
}

interface DestinationAnswer {
  /** One: it is decided. More: by what is not known, or by chance. Empty: it could not be followed. */
  readonly outcomes: readonly Destination[];
  readonly because: string;
  readonly evidence: readonly string[];
}

/** What PREROUTING of every ruleset that is live makes of the destination of a packet from outside. */
export function askDestination(node: NetNode, sample: Omit<Sample, 'oif'>): DestinationAnswer {
  const packet = packetOf({ ...sample, oif: '' });
  if (packet === null) return { outcomes: [], because: 'the packet has no readable addresses', evidence: [] };
  const ways = runHook(node.host, 'prerouting', packet, [], { track: tracked, tellsNat: true, maxWays: MAX_WAYS });
  const doubts = ways.flatMap((w) => w.doubts);
  const because = [...new Set(doubts.map((d) => d.because))].slice(0, 3).join('; ');
  const evidence = [...new Set(doubts.flatMap((d) => d.evidence))];
  if (ways.some((w) => w.verdict === 'unknown')) return { outcomes: [], because, evidence };
  const found = new Map<string | null, Destination>();
  for (const way of ways) {
    const { dst, dport } = way.packet;
    const to = way.verdict === 'accept' ? `${formatAddr(dst)}:${dport}` : null;
    const steps =
      way.verdict === 'accept' ? way.steps.filter((s) => s.action === 'dnat' || s.action === 'redirect') : way.steps;
    const kept = way.steps.filter((s) => s.action === 'accept' || s.action === 'notrack');
    const known = found.get(to);
    found.set(to, {
      to,
      decider: known?.decider ?? decidersOf([{ ...way, steps }])[0] ?? null,
      keeper: steps.length > 0 ? null : (decidersOf([{ ...way, steps: kept }])[0] ?? null),
      share: (known?.share ?? 0) + way.probability,
    });
  }
  return { outcomes: [...found.values()], because, evidence };
}
