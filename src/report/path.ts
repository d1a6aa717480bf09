import { percent } from '../core/percent.ts';
import type { TraceHalf, TraceHop, TraceJson } from '../core/trace.ts';
import { citeText, packetText } from './path-text.ts';

/** What a reader sees of one hop. */
export interface HopModel {
  /** Position in the whole path; 0: no hop, but hops that are left out or the destination that was not reached. */
  readonly number: number;
  readonly node: string;
  readonly place: string;
  readonly action: string;
  readonly text: string;
  /** `host/fw/iptables-save.txt:7`. */
  readonly where: string;
  readonly mark: 'ok' | 'stop' | 'unreached' | 'folded';
}

/** Hops in a row; `outer` names the tunnel when they carry the wrapped packet. */
export interface StripPart {
  readonly outer: string;
  readonly hops: readonly HopModel[];
}

export interface PathModel {
  readonly anchor: string;
  /** The finding that it proves. */
  readonly finding: string;
  readonly message: string;
  readonly packet: string;
  readonly verdict: string;
  readonly because: string;
  /** `the packet` or `its answer`: the half that is drawn. */
  readonly half: string;
  /** At most 9 hops. */
  readonly strip: readonly StripPart[];
  readonly hops: readonly HopModel[];
  /** One sentence about the answer, or ''. */
  readonly reply: string;
  readonly branches: readonly { readonly share: string; readonly verdict: string; readonly because: string }[];
}

const MOST = 9;
/** Paths that are drawn: a page each would bury the rest. */
const PATHS = 4;

/** The paths of findings, in their order; `pathOf` gives the anchor of one that is drawn, or ''. */
export function drawPaths(
  findings: readonly { readonly id: string; readonly anchor: string; readonly message: string }[],
  traceOf: (id: string) => TraceJson | undefined,
): { readonly paths: readonly PathModel[]; readonly hidden: number; readonly pathOf: (finding: string) => string } {
  const byTrace = new Map<string, string>();
  const copies = new Map<string, string>();
  const traced = findings.flatMap((f) => {
    const trace = traceOf(f.id);
    if (trace === undefined) return [];
    // a cause and its symptom may show the same packet: it is drawn once
    const text = JSON.stringify(trace);
    const first = byTrace.get(text);
    if (first !== undefined) {
      copies.set(f.anchor, first);
      return [];
    }
    byTrace.set(text, f.anchor);
    return [{ ...f, trace }];
  });
  const paths = traced.slice(0, PATHS).map((f) => pathModel(f.trace, `p-${f.anchor.slice(2)}`, f.anchor, f.message));
  const byFinding = new Map(paths.map((p) => [p.finding, p.anchor]));
  return {
    paths,
    hidden: traced.length - paths.length,
    pathOf: (finding) => byFinding.get(copies.get(finding) ?? finding) ?? '',
  };
}

/** The half that somebody has to look at: where the packet ends, or else its answer. */
export function pathModel(trace: TraceJson, anchor: string, finding: string, message: string): PathModel {
  const { reply } = trace;
  const answer = trace.verdict === 'delivered' && reply !== null && reply.verdict !== 'delivered';
  const half: TraceHalf = answer ? reply : trace;
  const to = answer ? trace.packet.src : trace.packet.dst;
  const hops = half.hops.map((hop, i) => hopModel(hop, i + 1, isEnd(half) && i === half.hops.length - 1));
  const unreached: readonly HopModel[] = isEnd(half)
    ? [{ number: 0, node: '', place: to, action: 'not reached', text: '', where: '', mark: 'unreached' }]
    : [];
  return {
    anchor,
    finding,
    message,
    packet: packetText(trace),
    verdict: half.verdict,
    because: half.because,
    half: answer ? 'its answer' : 'the packet',
    strip: parts([...shortened(hops, MOST - unreached.length), ...unreached]),
    hops: [...hops, ...unreached],
    reply: answer || reply === null ? '' : `The answer is ${reply.verdict}: ${reply.because}.`,
    branches: trace.branches.map((b) => ({
      share: b.probability === null ? 'share not known' : percent(b.probability),
      verdict: b.verdict,
      because: b.because,
    })),
  };
}

const isEnd = (half: TraceHalf) => half.verdict !== 'delivered';

/** The hops of the strip, for a place with little room. */
export function shortPath(path: PathModel): readonly HopModel[] {
  return path.strip.flatMap((p) => p.hops).filter((h) => h.mark !== 'folded');
}

function hopModel(hop: TraceHop, number: number, stop: boolean): HopModel {
  const inside = hop.at === 'host' ? '' : ` ${hop.at}`;
  const [cite] = hop.cites;
  return {
    number,
    node: `${hop.node}${inside}`,
    place: hop.place,
    action: stop ? `\u2715 ${WORDS[hop.action] ?? hop.action.toUpperCase()}` : hop.action,
    text: hop.text,
    where: cite === undefined ? '' : citeText(cite),
    mark: stop ? 'stop' : 'ok',
  };
}

const WORDS: Readonly<Record<string, string>> = {
  dropped: 'DROP',
  drop: 'DROP',
  rejected: 'REJECT',
  reject: 'REJECT',
  unknown: 'NOT KNOWN',
};

/** What a picture can do without goes first: resolved neighbours, then routes, then accepting rules. */
function weight(hop: HopModel, first: boolean): number {
  if (first || hop.mark === 'stop') return 9;
  if (/^(encapsulate|decapsulate)$/.test(hop.action)) return 8;
  if (/^(snat|dnat|masquerade|redirect|netmap|proxy|deliver)$/.test(hop.action)) return 7;
  if (hop.place.startsWith('filter/FORWARD')) return 6;
  if (hop.action === 'forward') return 5;
  if (/^filter|^nft/.test(hop.place)) return 3;
  return hop.action === 'send' || hop.action === 'local' ? 2 : 1;
}

/** At most `most` hops; runs of what was left out are one box without a number. */
function shortened(hops: readonly HopModel[], most: number): readonly HopModel[] {
  const order = hops.map((hop, i) => ({ i, weight: weight(hop, i === 0 || i === hops.length - 1) }));
  order.sort((a, b) => a.weight - b.weight || b.i - a.i);
  return folded(hops, new Set(order.slice(0, Math.max(0, hops.length - most)).map(({ i }) => i)));
}

function folded(hops: readonly HopModel[], gone: ReadonlySet<number>): readonly HopModel[] {
  const out: HopModel[] = [];
  let run = 0;
  const flush = () => {
    if (run > 0)
      out.push({ number: 0, node: '', place: `${run} more`, action: '', text: '', where: '', mark: 'folded' });
    run = 0;
  };
  hops.forEach((hop, i) => {
    if (gone.has(i)) run += 1;
    else {
      flush();
      out.push(hop);
    }
  });
  flush();
  return out;
}

/** From `encapsulate` to `decapsulate` the wrapped packet travels: a frame of its own. */
function parts(hops: readonly HopModel[]): readonly StripPart[] {
  const out: { outer: string; hops: HopModel[] }[] = [];
  let outer = '';
  for (const hop of hops) {
    if (hop.action === 'encapsulate') outer = hop.place;
    const leaves = hop.mark === 'unreached';
    const last = out.at(-1);
    const name = leaves ? '' : outer;
    if (last === undefined || last.outer !== name) out.push({ outer: name, hops: [hop] });
    else last.hops.push(hop);
    if (hop.action === 'decapsulate') outer = '';
  }
  return out;
}
