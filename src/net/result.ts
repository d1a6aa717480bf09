import { percent } from '../core/percent.ts';
import type * as Traced from '../core/trace.ts';
import type { TraceAbsence, TraceLines } from '../core/trace.ts';
import { formatAddr } from './addr.ts';
import type { Answer, Outcome } from './answer.ts';
import type { NetCluster } from './cluster.ts';
import { clusterOf } from './cluster.ts';
import type { Absence, Cite, Reason } from './doubt.ts';
import type { NetNode } from './model.ts';
import { formatPort, type Packet, protocolName } from './packet.ts';
import type { Space } from './space.ts';
import type { Step } from './step.ts';
import { follow, type TraceRequest } from './trace.ts';
import { type End, stepsOf } from './way.ts';

/** What a step cites. Whether its line is one of a file or of an assumed change, and what stands there, is for the reader to look up. */
export type TraceCite = TraceLines | TraceAbsence;
export type TraceHop = Traced.TraceHop<TraceCite>;
export type TraceHalf = Traced.TraceHalf<TraceCite>;
export type TraceWay = Traced.TraceWay<TraceCite>;
/** The Trace JSON as far as the walk knows it. */
export type TraceResult = Omit<Traced.TraceJson<TraceCite>, 'assuming'>;

/** Follows a packet and its answer over the evidence. Throws PlaceError for a place that names nothing. */
export function trace(nodes: NetCluster | readonly NetNode[], request: TraceRequest): TraceResult {
  const cluster = 'owners' in nodes ? nodes : clusterOf(nodes);
  const { answer, packet } = follow(cluster, request);
  return resultOf({ ...answer, reasons: withNodes(answer) }, packet);
}

/** A reason of a trace over several nodes says on which of them; one reason of several nodes is said once. */
function withNodes({ reasons, shown }: Answer): readonly Reason[] {
  const ends = shown.reply === null ? [shown.request] : [shown.request, shown.reply];
  const passed = new Set(ends.flatMap((e) => stepsOf(e.way).map((s) => s.space.node.id)));
  for (const { node } of reasons) if (node !== undefined) passed.add(node);
  if (passed.size < 2) return reasons;
  return [...Map.groupBy(reasons, (r) => r.because).values()].map((same) => {
    const [first] = same as [Reason, ...Reason[]];
    const nodes = [...new Set(same.flatMap((r) => r.node ?? []))].filter((node) => !names(first.because, node));
    const evidence = [...new Set(same.flatMap((r) => r.evidence))];
    return { because: nodes.length === 0 ? first.because : `${nodes.join(', ')}: ${first.because}`, evidence };
  });
}

/** Does the text name the node as a word? */
const names = (text: string, node: string): boolean => text.split(/[^\w.-]+/).some((word) => word === node);

export function resultOf(answer: Answer, asked: Packet): TraceResult {
  const { shown } = answer;
  const whole = outcomeJson(shown, asked, answer.arrived);
  const reply = shown.reply === null ? null : replyJson(shown, answer);
  return {
    schemaVersion: 1,
    ...whole,
    verdict: answer.verdict,
    because: becauseOf(answer),
    reply: answer.verdict === 'delivered' ? reply : null,
    missing:
      answer.verdict === 'unknown' || answer.replyVerdict === 'unknown'
        ? answer.reasons.map(({ because, evidence }) => ({ because, evidence }))
        : [],
    branches: answer.branches.map(({ outcome, probability }) => ({
      probability: probability === null ? null : resultShare(probability),
      ...outcomeJson(outcome, asked, true),
    })),
  };
}

/** As JSON gives it: finer than what a report makes of it. */
export const resultShare = (probability: number): number => Math.round(probability * 1e6) / 1e6;

function replyJson(shown: Outcome, answer: Answer): TraceHalf | null {
  if (shown.reply === null) return null;
  const json = half(shown.reply);
  const stands = answer.replyVerdict === null || answer.replyVerdict === json.verdict;
  if (stands && (json.verdict !== 'unknown' || answer.reasons.length === 0)) return json;
  return { ...json, verdict: answer.replyVerdict ?? json.verdict, because: sentence(answer.reasons) };
}

function becauseOf(answer: Answer): string {
  const { verdict, shown, branches, reasons } = answer;
  if (branches.length > 0) {
    return branches
      .map(
        ({ outcome, probability }) =>
          `${probability === null ? 'some' : percent(probability)}: ${outcome.request.because}`,
      )
      .join('; ');
  }
  return verdict === 'unknown' && reasons.length > 0 ? sentence(reasons) : shown.request.because;
}

const sentence = (reasons: readonly Reason[]): string => {
  const said = [...new Set(reasons.map((r) => r.because))];
  return said.length <= 3 ? said.join('; ') : `${said.slice(0, 3).join('; ')}; and ${said.length - 3} more questions`;
};

function outcomeJson(o: Outcome, asked: Packet, arrived: boolean): TraceWay {
  const leg = o.request.way.legs[0];
  const sent = leg === undefined ? asked : leg.sent;
  return {
    ...half(o.request),
    packet: {
      src: leg?.named === false ? '' : formatAddr(sent.src),
      dst: formatAddr(sent.dst),
      proto: protocolName(sent.proto),
      sport: typeof sent.sport === 'number' ? sent.sport : null,
      dport: typeof sent.dport === 'number' ? sent.dport : null,
    },
    arrived: o.request.verdict === 'delivered' && arrived ? arrivedJson(o.request) : null,
    reply: o.reply === null ? null : half(o.reply),
    missing: [],
  };
}

function arrivedJson({ packet, space }: End): TraceWay['arrived'] {
  return {
    node: space === null ? 'outside' : space.node.id,
    at: space === null ? formatAddr(packet.dst) : placeName(space),
    src: formatAddr(packet.src),
    dst: formatAddr(packet.dst),
    dport: formatPort(packet.dport) === null || typeof packet.dport !== 'number' ? null : packet.dport,
  };
}

const placeName = (space: Space): string => (space.inode === null ? 'host' : `pod ${atOf(space)}`);
const atOf = (space: Space): string => (space.inode === null ? 'host' : (space.label.split(' ')[0] as string));

const half = (e: End): TraceHalf => ({ verdict: e.verdict, because: e.because, hops: stepsOf(e.way).map(hopJson) });

function hopJson(s: Step): TraceHop {
  return {
    node: s.space.node.id,
    at: atOf(s.space),
    place: s.place,
    action: s.action,
    text: s.text,
    cites: s.cites.map((c) => citeJson(c)),
  };
}

export function citeJson(c: Cite | Absence): TraceCite {
  if ('absent' in c) return { node: c.node, evidence: c.evidence, path: c.path, absent: c.absent };
  return {
    node: c.fact.node,
    evidence: c.fact.evidence,
    path: c.fact.path,
    line: c.line,
    endLine: c.endLine ?? c.line,
    ...(c.text === undefined ? {} : { text: c.text }),
  };
}
