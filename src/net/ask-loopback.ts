import { formatAddr } from './addr.ts';
import { type Decider, decidersOf, MAX_WAYS, packetOf, type Sample, tracked } from './ask.ts';
import type { Cite } from './doubt.ts';
import { runHook } from './hook.ts';
import type { NetNode } from './model.ts';
import { keyTo } from './policy.ts';

/** What becomes of a connection that the host makes to its own loopback. */
export interface LoopbackWay {
  /** `172.17.0.2:9000`; as it was asked for where no rule gives it another one; null: it is dropped. */
  readonly to: string | null;
  readonly decider: Decider | null;
  /** Of one that leaves by a device: it may, with a source of 127.0.0.0/8 (route_localnet); null: not known. */
  readonly mayLeave: boolean | null;
  /** Its source is translated then; null: not known. */
  readonly translated: boolean | null;
  readonly dev: string | null;
  readonly setting: Cite | null;
}

export interface LoopbackAnswer {
  /** Empty: it could not be followed. */
  readonly ways: readonly LoopbackWay[];
  readonly because: string;
  readonly evidence: readonly string[];
}

/**
 * OUTPUT, the route that a new destination takes, and POSTROUTING. The kernel routes a loopback source to another device only where
 * route_localnet of that device or of `all` is on (__mkroute_output), and nobody answers it unless it is translated [V49].
 */
export function askLoopback(node: NetNode, sample: Pick<Sample, 'dst' | 'proto' | 'dport'>): LoopbackAnswer {
  const asked = packetOf({ ...sample, src: '127.0.0.1', iif: '', oif: 'lo' });
  if (asked === null) return { ways: [], because: 'it has no readable addresses', evidence: [] };
  const context = { track: tracked, maxWays: MAX_WAYS };
  const found = runHook(node.host, 'output', { ...asked, oif: 'lo' }, [], context);
  const doubts = found.flatMap((w) => w.doubts);
  const because = [...new Set(doubts.map((d) => d.because))].slice(0, 3).join('; ');
  const evidence = [...new Set(doubts.flatMap((d) => d.evidence))];
  if (found.some((w) => w.verdict === 'unknown')) return { ways: [], because, evidence };
  const ways = found.map((way): LoopbackWay => {
    const { packet } = way;
    const changed = packet.dst !== asked.dst || packet.dport !== asked.dport;
    const steps = changed ? way.steps.filter((s) => s.action === 'dnat' || s.action === 'redirect') : way.steps;
    const decider = decidersOf([{ ...way, steps }])[0] ?? null;
    const stays = { mayLeave: null, translated: null, dev: null, setting: null };
    if (way.verdict !== 'accept') return { to: null, decider, ...stays };
    const to = `${formatAddr(packet.dst)}:${packet.dport}`;
    const [route] = node.host.routing(4).lookup({ ...keyTo(packet.dst), proto: packet.proto, mark: packet.mark });
    if (!changed || route?.type !== 'unicast') return { to, decider, ...stays };
    const { dev, via } = route;
    const settings = [dev, 'all'].map((name) => node.host.sysctl(`net/ipv4/conf/${name}/route_localnet`));
    const on = settings.some((s) => s.value === 1);
    const left = runHook(node.host, 'postrouting', { ...packet, oif: dev, nexthop: via ?? packet.dst }, way.doubts, {
      ...context,
      tellsNat: true,
    });
    const snat = left.map((w) =>
      w.verdict === 'unknown' ? null : w.packet.src !== packet.src || w.packet.ct?.snat === true,
    );
    return {
      to,
      decider,
      mayLeave: on ? true : settings.some((s) => s.value === null) ? null : false,
      translated: snat.every((s) => s === true) ? true : snat.every((s) => s === false) ? false : null,
      dev,
      setting: settings[0]?.cite ?? null,
    };
  });
  return { ways, because, evidence };
}
