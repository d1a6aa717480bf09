import type { TraceCite, TraceHalf, TraceJson, TraceWay } from '../core/trace.ts';
import { resolveCite } from './excerpt.ts';

/** A finding's traced packet with the text of every cited line; empty when it has none. */
export function tracedTexts(
  trace: unknown,
  textOf: (node: string, path: string) => string | null,
): { readonly trace?: TraceJson } {
  if (trace === undefined) return {};
  const cited = (cite: TraceCite): TraceCite => {
    const { node, evidence, path, line, endLine } = cite;
    if (line === undefined) return cite;
    const resolved = resolveCite({ kind: 'lines', node, evidence, path, line, endLine: endLine ?? line }, textOf);
    return { ...cite, text: resolved.excerpt?.text ?? cite.text ?? '' };
  };
  const half = <H extends TraceHalf>(h: H): H => ({
    ...h,
    hops: h.hops.map((hop) => ({ ...hop, cites: hop.cites.map(cited) })),
  });
  const way = <W extends TraceWay>(w: W): W => ({ ...half(w), reply: w.reply === null ? null : half(w.reply) });
  const json = trace as TraceJson;
  return { trace: { ...way(json), branches: (json.branches ?? []).map(way) } };
}
