import type { TraceCite, TraceHalf, TraceJson, TraceWay } from '../core/trace.ts';
import { resolveCite } from './excerpt.ts';

/** A finding's traced packet with the text of every cited line; empty when it has none. */
export function tracedTexts(
  trace: TraceJson | undefined,
  textOf: (node: string, path: string) => string | null,
): { readonly trace?: TraceJson } {
  if (trace === undefined) return {};
  const cited = (cite: TraceCite): TraceCite => {
    if (!('line' in cite)) return cite;
    const { excerpt } = resolveCite({ kind: 'lines', ...cite }, textOf);
    return { ...cite, text: excerpt?.text ?? cite.text ?? '' };
  };
  const half = <H extends TraceHalf>(h: H): H => ({
    ...h,
    hops: h.hops.map((hop) => ({ ...hop, cites: hop.cites.map(cited) })),
  });
  const way = <W extends TraceWay>(w: W): W => ({ ...half(w), reply: w.reply === null ? null : half(w.reply) });
  return { trace: { ...way(trace), branches: trace.branches.map(way) } };
}
