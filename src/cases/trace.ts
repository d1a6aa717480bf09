import { commandFor } from '../core/evidence.ts';
import type { TraceCite, TraceHop, TraceJson } from '../core/trace.ts';
import { resolveCite } from '../engine/excerpt.ts';
import { PlaceError, type TraceRequest, type TraceResult, trace } from '../net/index.ts';
import { Failure } from './failure.ts';
import { type NetCase, withNetCase } from './net-case.ts';
import { commandAt, type NodeChange } from './what-if.ts';

export interface TraceAsk extends TraceRequest {
  readonly caseFile: string;
  /** Values of `--if`. */
  readonly changes: readonly string[];
}

/** One packet's path through a case: the Trace JSON with the text of every cited line. */
export function traceCase({ caseFile, changes: texts, ...request }: TraceAsk): TraceJson {
  return withNetCase(caseFile, texts, (net, changes) =>
    presented(
      asked(() => trace(net.cluster, request)),
      net,
      changes,
    ),
  );
}

/** A place that is none is the user's to mend. */
export function asked<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof PlaceError) throw new Failure('usage', error.message);
    throw error;
  }
}

/** The engine's answer with cites as people and programs read them. */
export function presented(result: TraceResult, net: NetCase, changes: readonly NodeChange[]): TraceJson {
  const cited = citer(net, changes);
  const hops = (list: TraceResult['hops']): TraceHop[] => list.map((h) => ({ ...h, cites: h.cites.map(cited) }));
  const half = <H extends TraceResult['reply']>(h: H) => (h === null ? null : { ...h, hops: hops(h.hops) });
  const way = <W extends Omit<TraceResult, 'schemaVersion' | 'branches'>>(w: W) => ({
    ...w,
    hops: hops(w.hops),
    reply: half(w.reply),
    missing: w.missing.map((m) => ({ ...m, collect: commandsOf(m.evidence) })),
  });
  const { branches, ...main } = result;
  return {
    ...way(main),
    branches: branches.map(way),
    ...assumed(changes),
  };
}

/** What was assumed, when something was. */
export function assumed(changes: readonly NodeChange[]): Pick<TraceJson, 'assuming'> {
  if (changes.length === 0) return {};
  return { assuming: changes.map(({ node, change }) => ({ node, command: change.text })) };
}

/** Commands of the collector that would give evidence. */
function commandsOf(evidence: readonly string[]): readonly string[] {
  return [...new Set(evidence.flatMap((id) => commandFor(id) ?? []))];
}

type EngineCite = TraceResult['hops'][number]['cites'][number];

export function citer(net: NetCase, changes: readonly NodeChange[]): (cite: EngineCite) => TraceCite {
  const texts = new Map<string, string>();
  return (cite) => {
    if ('absent' in cite) return cite;
    const { node, evidence, path, line, endLine, text } = cite;
    // what an assumed change made stands in no file
    if (line < 1) return { node, evidence, path, whatIf: commandAt(changes, line) ?? '' };
    const key = `${node} ${path} ${line} ${endLine}`;
    let known = texts.get(key);
    if (known === undefined) {
      const resolved = resolveCite({ kind: 'lines', node, evidence, path, line, endLine }, net.textAt);
      known = resolved.excerpt?.text ?? text ?? '';
      texts.set(key, known);
    }
    return { node, evidence, path, line, endLine, text: known };
  };
}
