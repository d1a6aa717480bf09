import type { XfrmPolicy } from '../facts/index.ts';
import { type Addr, contains, type Net, parseNet } from './addr.ts';
import { type Cite, cite, type Reason, type Truth } from './doubt.ts';
import { hasPorts, ICMP, ICMP6, inverse, type Packet, portIn, protocolNumber, type Tuple, tupleOf } from './packet.ts';
import { end, flowOf, lost, type Run } from './run.ts';
import type { Space } from './space.ts';
import type { Hook } from './step.ts';
import { type End, fork, type Way } from './way.ts';

/** Where the kernel asks: what it receives, forwards and sends. */
type Direction = 'in' | 'fwd' | 'out';

interface Policy {
  readonly policy: XfrmPolicy;
  readonly src: Net | null;
  readonly dst: Net | null;
  readonly cite: Cite;
}

interface Policies {
  /** The lowest priority first. */
  readonly list: readonly Policy[];
  /** Set: there may be others. */
  readonly gap: Reason | null;
}

/** What becomes of a packet: `protect` wants IPsec, of which nothing is collected but the policies. */
type Outcome = 'pass' | 'block' | 'protect';
interface Found {
  readonly outcome: Outcome;
  readonly by: Policy | null;
}

const HOOK: Readonly<Record<Direction, Hook>> = { in: 'input', fwd: 'forward', out: 'output' };

/**
 * Goes on past the policies of IPsec (`ip xfrm policy`), which drop what they block without a rule of any firewall: __xfrm_policy_check for
 * what comes in by `dev`, xfrm_lookup for what leaves by it.
 */
export function passPolicies(
  run: Run,
  way: Way,
  space: Space,
  packet: Packet,
  direction: Direction,
  dev: string,
  next: (way: Way) => readonly End[],
): readonly End[] {
  const policies = policiesOf(space);
  const family = typeof packet.dst === 'number' ? 4 : 6;
  if (policies === null || (family === 4 && exempt(space, direction, dev))) return next(way);
  const { list, gap } = policies;
  const mine = list.filter(
    (p) => p.policy.direction === direction && (p.src === null || typeof p.src.base === typeof packet.dst),
  );
  if (mine.length === 0 && gap === null) return next(way);
  const tuples = seenBy(way, space, packet, direction);
  const watch = run.watch?.(space, way.answering !== null, HOOK[direction], packet);
  for (const { src, dst } of watch === undefined ? [] : mine)
    for (const tuple of tuples) {
      if (src !== null) watch?.see(tuple.src, src);
      if (dst !== null) watch?.see(tuple.dst, dst);
    }
  const place = `xfrm ${direction}`;
  const found = tuples.flatMap((tuple) => decide(mine, { ...packet, ...tuple }));
  const [first] = found;
  if (first !== undefined && gap === null && found.every((f) => f.outcome === first.outcome)) {
    if (first.outcome === 'pass') return next(way);
    // of IPv6 the devices that are exempt are not collected
    if (first.outcome === 'block' && family === 4)
      return end(
        way,
        'dropped',
        blocked(direction, first),
        space,
        packet,
        place,
        first.by === null ? [] : [first.by.cite],
      );
  }
  const reason = openReason(space, direction, found, gap);
  if (found.some((f) => f.outcome === 'protect')) return lost(way, reason, space, packet, place);
  const key = `xfrm ${space.id} ${direction} ${tuples.map((t) => `${t.src} ${t.dst} ${t.proto}`).join(' ')}`;
  const { holds, fails } = fork(way, space, key, reason);
  return [
    ...(holds === undefined ? [] : end(holds, 'dropped', reason.because, space, packet, place)),
    ...(fails === undefined ? [] : next(fails)),
  ];
}

function blocked(direction: Direction, { by }: Found): string {
  const which = by === null ? 'a policy of IPsec' : `the IPsec policy src ${by.policy.src} dst ${by.policy.dst}`;
  return `${which} blocks it (ip xfrm policy, dir ${direction})`;
}

function openReason(space: Space, direction: Direction, found: readonly Found[], gap: Reason | null): Reason {
  const by = found.find((f) => f.by !== null)?.by;
  if (by === undefined || by === null)
    return gap ?? { because: `which policy of IPsec applies on ${space.label} is not known`, evidence: [] };
  const { fact, line } = by.cite;
  const at = `${fact.path}:${line}`;
  const because = found.some((f) => f.outcome === 'protect')
    ? `a policy of IPsec on ${space.label} wants the packet protected (dir ${direction}, ${at}): what has its keys is not collected`
    : `whether a policy of IPsec on ${space.label} blocks the packet is not known (dir ${direction}, ${at})`;
  return { because, evidence: [fact.evidence] };
}

/** Policies of the host that mean more than one socket; null: none are known. Pods are not asked for theirs. */
function policiesOf(space: Space): Policies | null {
  if (space.inode !== null) return null;
  return space.once('xfrm', (): Policies | null => {
    const fact = space.node.facts.get('xfrmPolicies');
    if (fact.missing) return null;
    const list = fact.value.policies
      .filter((p) => p.direction !== 'socket')
      .map((policy): Policy => {
        const family = policy.src.includes(':') || policy.dst.includes(':') ? 6 : 4;
        return {
          policy,
          src: parseNet(policy.src, family),
          dst: parseNet(policy.dst, family),
          cite: cite(fact, policy),
        };
      })
      .sort((a, b) => a.policy.priority - b.policy.priority);
    const because = `${fact.path} was not collected whole: other policies of IPsec may block packets`;
    const gap = fact.closed ? null : { because, evidence: [fact.evidence] };
    return list.length === 0 && gap === null ? null : { list, gap };
  });
}

/** DST_NOPOLICY, DST_NOXFRM: disable_policy and disable_xfrm of the device or of all; of `lo` both are set from the beginning. Of IPv4. */
function exempt(space: Space, direction: Direction, dev: string): boolean {
  const name = direction === 'out' ? 'disable_xfrm' : 'disable_policy';
  const own = space.sysctl(`net/ipv4/conf/${dev}/${name}`).value;
  return (own ?? (dev === 'lo' ? 1 : 0)) !== 0 || space.sysctl(`net/ipv4/conf/all/${name}`).value === 1;
}

/** For what is received the kernel takes the addresses from before any translation (nf_nat_decode_session). */
function seenBy(way: Way, space: Space, packet: Packet, direction: Direction): readonly Tuple[] {
  const now = tupleOf(packet);
  const { ct } = packet;
  if (direction === 'out' || ct === null || !(ct.snat || ct.dnat)) return [now];
  const flow = flowOf(way, space, packet);
  if (!ct.reply) return [ct.orig];
  return flow === undefined ? [now, inverse(ct.orig)] : [flow.reply];
}

/** The policy of the lowest priority that applies; several where the evidence leaves that open. */
function decide(list: readonly Policy[], packet: Packet): readonly Found[] {
  const open: Found[] = [];
  for (let i = 0; i < list.length; ) {
    const { priority } = list[i]!.policy;
    const same: Found[] = [];
    let sure = false;
    for (; i < list.length && list[i]!.policy.priority === priority; i += 1) {
      const by = list[i]!;
      const match = selects(by, packet);
      if (match === 0) continue;
      sure ||= match === 1;
      same.push({ outcome: outcomeOf(by.policy), by });
    }
    open.push(...same);
    if (sure) return open;
  }
  return [...open, { outcome: 'pass', by: null }];
}

const outcomeOf = ({ action, templates }: XfrmPolicy): Outcome =>
  action === 'block' ? 'block' : templates > 0 ? 'protect' : 'pass';

/** xfrm_selector_match, mark and interface of the policy. */
function selects({ policy, src, dst }: Policy, packet: Packet): Truth {
  if (policy.ifId !== undefined && policy.ifId !== 0) return 0;
  const tests = [
    inside(src, packet.src),
    inside(dst, packet.dst),
    policy.proto === undefined ? 1 : sameProtocol(policy.proto, packet.proto),
    port(policy.sport, packet, 'sport'),
    port(policy.dport, packet, 'dport'),
    icmp(policy, packet),
    policy.mark === undefined || (packet.mark & policy.mark.mask) >>> 0 === policy.mark.value >>> 0 ? 1 : 0,
  ];
  if (tests.includes(0)) return 0;
  return tests.includes(null) || policy.unknown !== undefined ? null : 1;
}

const inside = (net: Net | null, addr: Addr): Truth => (net === null ? null : contains(net, addr) ? 1 : 0);

function sameProtocol(text: string, proto: number): Truth {
  const number = protocolNumber(text);
  return number === null ? null : number === proto ? 1 : 0;
}

function port(wanted: number | undefined, packet: Packet, which: 'sport' | 'dport'): Truth {
  if (wanted === undefined) return 1;
  return hasPorts(packet.proto) ? portIn(packet[which], wanted, wanted) : 0;
}

function icmp({ type, code }: XfrmPolicy, packet: Packet): Truth {
  if (type === undefined && code === undefined) return 1;
  if (packet.proto !== ICMP && packet.proto !== ICMP6) return 0;
  if (packet.icmp === null) return null;
  return (type ?? packet.icmp.type) === packet.icmp.type && (code ?? packet.icmp.code) === packet.icmp.code ? 1 : 0;
}
