import { percent } from '../core/percent.ts';
import type { TraceHalf, TraceHop, TraceJson, TraceWay } from '../core/trace.ts';
import { wordOf } from './names.ts';
import { terminal } from './visible.ts';

/** A trace for a person at a terminal: the verdict first, then one line a hop with its proof, the hop that ends the packet marked. */
export function traceText(trace: TraceJson): string {
  const out: string[] = [verdictLine(trace), `packet: ${packetText(trace)}`];
  for (const { node, command } of trace.assuming ?? []) out.push(`assuming on ${terminal(node)}: ${terminal(command)}`);
  const { branches, missing } = trace;
  if (branches.length > 0) {
    out.push('', `The rules choose between ${branches.length} ways by chance:`);
    branches.forEach((branch, i) => {
      const share = branch.probability === null ? 'a share that is not known' : percent(branch.probability);
      out.push('', `${i + 1}. ${share}: ${verdictLine(branch)}`);
      out.push(...wayLines(branch));
    });
  } else out.push('', ...wayLines(trace));
  if (missing.length > 0) {
    out.push('', 'What would decide it:');
    const asked = missing.map((m) =>
      [`  - ${m.because}`, ...(m.collect ?? []).map((c) => `      collect: ${c}`)].map(terminal).join('\n'),
    );
    // one question may stand at several hops
    out.push(...new Set(asked));
  }
  return `${out.join('\n')}\n`;
}

/** The node that ends the packet stands in the verdict. */
function verdictLine(half: TraceHalf): string {
  const last = half.hops.at(-1);
  const ended = half.verdict === 'dropped' || half.verdict === 'rejected';
  const where =
    ended && last !== undefined && !wordOf(last.node).test(half.because) ? ` on ${terminal(last.node)}` : '';
  return `${half.verdict.toUpperCase()}${where}: ${terminal(half.because)}`;
}

/** `10.244.1.10 -> 10.244.2.10 port 80, tcp`. */
export function packetText({ packet }: Pick<TraceWay, 'packet'>): string {
  const { src, dst, proto, dport } = packet;
  const from = src === '' ? 'an address that the kernel would choose' : terminal(src);
  return `${from} -> ${terminal(dst)}${dport === null ? '' : ` port ${dport}`}, ${terminal(proto)}`;
}

function wayLines(way: TraceWay): string[] {
  const out = hopLines(way);
  const { arrived, reply } = way;
  if (arrived !== null) {
    const port = arrived.dport === null ? '' : ` port ${arrived.dport}`;
    const place =
      arrived.node === 'outside'
        ? `${terminal(arrived.at)} outside the evidence`
        : `${terminal(arrived.at)} on ${terminal(arrived.node)}`;
    out.push(`  arrives at ${place} as ${terminal(arrived.src)} -> ${terminal(arrived.dst)}${port}`);
  }
  if (reply !== null) out.push('', `reply ${verdictLine(reply)}`, ...hopLines(reply));
  return out;
}

/** `node-a  10.244.1.10  filter/FORWARD  accept  -A FORWARD ... -j ACCEPT  [host/fw/iptables-save.txt:7]`. */
function hopLines(half: TraceHalf): string[] {
  const ends = half.verdict === 'dropped' || half.verdict === 'rejected' || half.verdict === 'unknown';
  const cells = half.hops.map((hop, i) => {
    const last = ends && i === half.hops.length - 1;
    return [
      `${last ? '>' : ' '}${String(i + 1).padStart(2)}`,
      terminal(hop.at === 'host' ? hop.node : `${hop.node} ${hop.at}`),
      terminal(hop.place),
      terminal(last ? hop.action.toUpperCase() : hop.action),
      `${terminal(hop.text)}${citesText(hop)}`,
    ];
  });
  const widths = [0, 1, 2, 3].map((i) => Math.max(0, ...cells.map((row) => row[i]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, i) => (i === 4 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

function citesText(hop: TraceHop): string {
  const shown = [...new Set(hop.cites.map(citeText))].slice(0, 2);
  return shown.length === 0 ? '' : `  [${shown.join('; ')}]`;
}

/** What of a cite tells where it stands. */
type CitePlace =
  | { readonly path: string; readonly line: number; readonly endLine: number }
  | { readonly path: string; readonly absent: string }
  | { readonly whatIf: string };

/** `host/fw/iptables-save.txt:7`, or what the file does not hold, or the assumed command. */
export function citeText(cite: CitePlace): string {
  if ('whatIf' in cite) return `what-if: ${terminal(cite.whatIf)}`;
  if ('absent' in cite) return `${terminal(cite.path)} does not hold ${terminal(cite.absent)}`;
  const end = cite.endLine === cite.line ? '' : `-${cite.endLine}`;
  return `${terminal(cite.path)}:${cite.line}${end}`;
}
