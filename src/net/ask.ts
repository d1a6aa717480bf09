import { type Addr, parseAddr } from './addr.ts';
import type { AnyFact, Cite, Doubt } from './doubt.ts';
import { runHook } from './hook.ts';
import type { NetNode } from './model.ts';
import { type CtView, ICMP, inverse, makePacket, type Packet, TCP, tupleOf, UDP } from './packet.ts';
import type { HookContext, HookWay, Step } from './step.ts';
import { newConnection } from './way.ts';

/** A packet that the host forwards: what rules ask about, one hook at a time. */
export interface Sample {
  readonly src: string;
  readonly dst: string;
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly sport?: number;
  readonly dport?: number;
  readonly iif: string;
  readonly oif: string;
}

/** A line that decided, with the chain it stands in. */
export interface Decider {
  readonly fact: AnyFact;
  readonly line: number;
  readonly text: string;
  /** `filter/FORWARD > DOCKER-USER`. */
  readonly place: string;
}

export interface HookAnswer {
  readonly verdict: 'accept' | 'drop' | 'unknown';
  /** Why it is dropped or unknown. */
  readonly because: string;
  readonly deciders: readonly Decider[];
  /** Of unknown: which files would tell. */
  readonly evidence: readonly string[];
}

/** What the first packet becomes in POSTROUTING. */
export interface NatAnswer extends Omit<HookAnswer, 'verdict'> {
  readonly verdict: 'translated' | 'none' | 'unknown';
  /** A rule gave it another destination before it was routed: it is not what the sample stands for. */
  readonly redirected?: boolean;
}

/** `"-A FORWARD -j DROP"`, `policy DROP of FORWARD`. */
export function decidedBy(decider: Decider): string {
  const policy = /^:(\S+) (\S+)/.exec(decider.text);
  return policy === null ? `"${decider.text}"` : `policy ${policy[2]} of ${policy[1]}`;
}

const PROTO = { tcp: TCP, udp: UDP, icmp: ICMP } as const;
export const MAX_WAYS = 32;
const UNCOUNTED = { because: 'how far the packet has come, and with which TTL, is not known', evidence: [] };

export function packetOf(sample: Sample): Packet | null {
  const src = parseAddr(sample.src);
  const dst = parseAddr(sample.dst);
  if (src === null || dst === null) return null;
  const ports = sample.proto !== 'icmp';
  return makePacket({
    src,
    dst,
    proto: PROTO[sample.proto],
    sport: ports ? (sample.sport ?? [32768, 60999]) : null,
    dport: ports ? (sample.dport ?? 80) : null,
    iif: sample.iif,
    ttlGap: UNCOUNTED,
  });
}

const bad = (what: string): HookAnswer => ({ verdict: 'unknown', because: what, deciders: [], evidence: [] });

/**
 * Does the host's netfilter let a forwarded packet through, in PREROUTING (raw, mangle) and in FORWARD of every ruleset that is live?
 * `reply`: the sample is the request, asked is its answer, on a tracked connection.
 */
export function askForward(node: NetNode, sample: Sample, direction: 'request' | 'reply' = 'request'): HookAnswer {
  const request = packetOf(sample);
  if (request === null) return bad('the packet has no readable addresses');
  if (direction === 'request')
    return hookAnswer(forwarded(node, request, sample.iif, sample.oif, [], { track: tracked, maxWays: MAX_WAYS }));
  const { iif: oif, oif: iif } = sample;
  if (isUntracked(node, request)) {
    // the answer of a connection that was not recorded begins one, or is none
    const track = (p: Packet): Packet => {
      const fresh = newConnection(p);
      return { ...p, ct: p.ct ?? (p.proto === UDP ? fresh : { ...fresh, state: 'INVALID' }) };
    };
    const answer = answerOf(request, sample);
    return hookAnswer(forwarded(node, answer, iif, oif, [], { track, maxWays: MAX_WAYS }));
  }
  return hookAnswer(sentAs(node, request, sample).flatMap((sent) => answerWays(node, request, sample, sent)));
}

/** PREROUTING, then FORWARD for what it lets through. */
function forwarded(
  node: NetNode,
  packet: Packet,
  iif: string,
  oif: string,
  doubts: readonly Doubt[],
  context: HookContext,
  early: (w: HookWay) => HookWay = (w) => w,
): readonly HookWay[] {
  return runHook(node.host, 'prerouting', { ...packet, iif }, doubts, context).flatMap((w): readonly HookWay[] => {
    if (w.verdict !== 'accept') return [early(w)];
    const going = { ...w.packet, iif, oif, nexthop: w.packet.dst };
    const next = runHook(node.host, 'forward', going, w.doubts, context);
    return next.map((f) => ({ ...f, probability: f.probability * w.probability, steps: [...w.steps, ...f.steps] }));
  });
}

/** How the request leaves the node; where nothing lets it through, as it came. */
function sentAs(node: NetNode, request: Packet, sample: Sample): readonly HookWay[] {
  const context = { track: tracked, maxWays: MAX_WAYS };
  const ways = forwarded(node, request, sample.iif, sample.oif, [], context).flatMap((w) =>
    w.verdict === 'accept'
      ? runHook(node.host, 'postrouting', w.packet, w.doubts, context).map((p) => ({
          ...p,
          probability: p.probability * w.probability,
        }))
      : [],
  );
  const left = ways.filter((w) => w.verdict === 'accept' || w.verdict === 'unknown');
  if (left.length > 0) return left;
  const asIs = { ...request, ct: newConnection(request) };
  return [{ verdict: 'accept', packet: asIs, steps: [], probability: 1, doubts: [], because: '', reroute: false }];
}

/** The answer to a request that left like this: until nat PREROUTING it is for the address that the request had outside. */
function answerWays(node: NetNode, request: Packet, sample: Sample, sent: HookWay): readonly HookWay[] {
  const { snat, dnat } = sent.packet.ct ?? newConnection(request);
  const ct: CtView = {
    state: 'ESTABLISHED',
    reply: true,
    snat,
    dnat,
    orig: tupleOf(request),
    mark: 0,
    dstDone: true,
    srcDone: true,
  };
  const translate = (p: Packet): Packet => (snat ? { ...p, dst: request.src, dport: request.sport } : p);
  const context = { track: (p: Packet): Packet => ({ ...p, ct: p.ct ?? ct }), translate, maxWays: MAX_WAYS };
  const answer = answerOf(sent.packet, sample);
  // for which address the answer comes may not be known: then what drops it before it is translated back may never see it
  const early = (w: HookWay): HookWay => (sent.verdict === 'unknown' ? { ...w, verdict: 'unknown' } : w);
  return forwarded(node, answer, sample.oif, sample.iif, sent.doubts, context, early).map((w) => ({
    ...w,
    probability: w.probability * sent.probability,
  }));
}

/** Does a new connection from outside get to a socket of the host: PREROUTING and INPUT of every ruleset that is live? */
export function askInput(node: NetNode, sample: Omit<Sample, 'oif'>): HookAnswer {
  const packet = packetOf({ ...sample, oif: '' });
  if (packet === null) return bad('the packet has no readable addresses');
  const context = { track: tracked, maxWays: MAX_WAYS };
  const ways = runHook(node.host, 'prerouting', packet, [], context).flatMap((w): readonly HookWay[] => {
    if (w.verdict !== 'accept') return [w];
    const next = runHook(node.host, 'input', { ...w.packet, iif: sample.iif }, w.doubts, context);
    return next.map((i) => ({ ...i, probability: i.probability * w.probability, steps: [...w.steps, ...i.steps] }));
  });
  return hookAnswer(ways);
}

function answerOf(request: Packet, sample: Sample): Packet {
  const back = inverse(tupleOf(request));
  return makePacket({
    ...back,
    tcp: sample.proto === 'tcp' ? 'synack' : null,
    icmp: sample.proto === 'icmp' ? { type: 0, code: 0 } : null,
    ttlGap: UNCOUNTED,
  });
}

/** raw exempts the request (NOTRACK): its connection is never recorded. */
function isUntracked(node: NetNode, request: Packet): boolean {
  const ways = runHook(node.host, 'prerouting', request, [], { track: tracked, maxWays: MAX_WAYS });
  return ways.length > 0 && ways.every((w) => w.packet.ct?.state === 'UNTRACKED');
}

export const tracked = (p: Packet): Packet => ({ ...p, ct: p.ct ?? newConnection(p) });

/**
 * What nat POSTROUTING of the host does to the first packet of a connection that leaves by `oif` to `nexthop`, with the marks that the
 * hooks before it set; whether those let it through is askForward's question.
 */
export function askEgress(node: NetNode, sample: Sample, nexthop: Addr | null): NatAnswer {
  const asked = egresses.get(node) ?? new Map<string, NatAnswer>();
  egresses.set(node, asked);
  const { src, dst, proto, sport, dport, iif, oif } = sample;
  const key = `${src} ${sport} ${dst} ${dport} ${proto} ${iif} ${oif} ${nexthop}`;
  const known = asked.get(key) ?? egressOf(node, sample, nexthop);
  asked.set(key, known);
  return known;
}

/** Several rules ask the same of a node. */
const egresses = new WeakMap<NetNode, Map<string, NatAnswer>>();

function egressOf(node: NetNode, sample: Sample, nexthop: Addr | null): NatAnswer {
  const packet = packetOf(sample);
  if (packet === null) return { ...bad('the packet has no readable addresses'), verdict: 'unknown' };
  const context = { track: tracked, maxWays: MAX_WAYS };
  const first = runHook(node.host, 'prerouting', packet, [], context);
  const ways = first.flatMap((w): readonly HookWay[] => {
    if (w.verdict !== 'accept') return [{ ...w, verdict: 'unknown' }];
    const going = { ...w.packet, oif: sample.oif, nexthop: nexthop ?? packet.dst };
    const notrack = w.steps.filter((s) => s.action === 'notrack');
    return runHook(node.host, 'forward', going, w.doubts, context).flatMap((f) =>
      runHook(node.host, 'postrouting', f.packet, f.doubts, { ...context, tellsNat: true }).map((p) => ({
        ...p,
        steps: [...notrack, ...p.steps],
        probability: p.probability * f.probability * w.probability,
      })),
    );
  });
  if (first.every((w) => w.verdict === 'drop' || w.verdict === 'reject'))
    return { ...openAnswer(first), because: 'the packet is dropped before it is routed', verdict: 'unknown' };
  const lost = ways.filter((w) => w.verdict === 'unknown');
  const passed = ways.filter((w) => w.verdict === 'accept');
  const [dropped] = ways;
  if (dropped !== undefined && lost.length === 0 && passed.length === 0)
    return { ...hookAnswer(ways), because: `it is dropped on its way out (${dropped.because})`, verdict: 'unknown' };
  const translated = passed.filter((w) => w.packet.src !== packet.src || w.packet.ct?.snat === true);
  const deciders = decidersOf(translated.length > 0 ? translated : passed);
  const redirected = passed.some((w) => w.packet.dst !== packet.dst);
  if (lost.length === 0 && translated.length === passed.length && passed.length > 0)
    return { verdict: 'translated', because: '', deciders, evidence: [], redirected };
  if (lost.length === 0 && translated.length === 0)
    return { verdict: 'none', because: '', deciders, evidence: [], redirected };
  return { ...openAnswer(ways), verdict: 'unknown' };
}

export function hookAnswer(ways: readonly HookWay[]): HookAnswer {
  const dropped = ways.filter((w) => w.verdict === 'drop' || w.verdict === 'reject');
  const accepted = ways.filter((w) => w.verdict === 'accept');
  if (dropped.length === ways.length && dropped[0] !== undefined) {
    // the surest way is the one to show: a drop by a ruleset that was not collected has no line
    const shown =
      [...dropped].sort((a, b) => a.doubts.length - b.doubts.length).find((w) => w.steps.length > 0) ?? dropped[0];
    return { verdict: 'drop', because: shown.because, deciders: decidersOf([shown]), evidence: [] };
  }
  if (accepted.length === ways.length)
    return { verdict: 'accept', because: '', deciders: decidersOf(accepted), evidence: [] };
  return openAnswer(ways);
}

function openAnswer(ways: readonly HookWay[]): HookAnswer {
  const doubts: Doubt[] = ways.flatMap((w) => w.doubts);
  const because = [...new Set(doubts.map((d) => d.because))];
  const chance = ways.some((w) => w.probability < 1) && doubts.length === 0;
  return {
    verdict: 'unknown',
    because: chance ? 'the rules decide by chance' : because.slice(0, 3).join('; '),
    deciders: decidersOf(ways),
    evidence: [...new Set(doubts.flatMap((d) => d.evidence))],
  };
}

export function decidersOf(ways: readonly HookWay[]): Decider[] {
  const found = new Map<string, Decider>();
  for (const w of ways)
    for (const s of w.steps) for (const d of stepDeciders(s)) found.set(`${d.fact.path} ${d.line}`, d);
  // the last line is the one that ended it
  return [...found.values()].reverse();
}

function stepDeciders(s: Step): Decider[] {
  const cites = s.cites.filter((c): c is Cite => 'fact' in c);
  return cites.slice(0, 1).map((c) => ({ fact: c.fact, line: c.line, text: s.text, place: s.place }));
}
