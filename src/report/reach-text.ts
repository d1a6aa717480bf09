import type { ReachGroup, ReachJson } from '../core/trace.ts';
import { names, plural, thousands, wordOf } from './names.ts';
import { citeText } from './path-text.ts';
import { terminal } from './visible.ts';

/** Blocks of a group that are shown; the rest are in the JSON. */
const MOST = 8;

/** Who reaches whom, for a person at a terminal: worst first, pairs that behave alike in one place. */
export function reachText({ pods, skipped, groups, assuming }: ReachJson): string {
  const pairs = groups.reduce((sum, g) => sum + g.pairs, 0);
  const counts = ['dropped', 'rejected', 'unknown', 'delivered'].flatMap((verdict) => {
    const n = groups.filter((g) => g.verdict === verdict).reduce((sum, g) => sum + g.pairs, 0);
    return n === 0 ? [] : [`${thousands(n)} ${verdict}`];
  });
  const out = [
    pairs === 0
      ? `No pair of nodes could be followed: ${plural(pods.length, 'node')} with a pod in the evidence.`
      : `${plural(pairs, 'pair')} of ${plural(pods.length, 'node')}: ${counts.join(', ')}`,
  ];
  for (const { node, command } of assuming ?? []) out.push(`assuming on ${terminal(node)}: ${terminal(command)}`);
  for (const group of groups) out.push('', ...groupLines(group));
  if (skipped.length > 0) {
    out.push('', 'Not followed:');
    const byReason = new Map<string, string[]>();
    for (const { node, because } of skipped) {
      // the same reason of many nodes is one line
      const reason = because.replaceAll(wordOf(node), 'it');
      byReason.set(reason, [...(byReason.get(reason) ?? []), node]);
    }
    for (const [because, nodes] of byReason) out.push(`  ${terminal(names(nodes))}: ${terminal(because)}`);
  }
  return `${out.join('\n')}\n`;
}

function groupLines({ verdict, because, pairs, blocks, cites, example }: ReachGroup): string[] {
  const works = verdict === 'delivered';
  const proof = works ? [] : cites.slice(0, 2).map((c) => `${terminal(c.node)} ${citeText(c)}`);
  const shown = proof.length === 0 ? '' : `  [${proof.join('; ')}]`;
  const out = [
    `${verdict.toUpperCase()}, ${plural(pairs, 'pair')}${works ? ', one of them' : ''}: ${terminal(because)}${shown}`,
  ];
  for (const b of blocks.slice(0, MOST)) out.push(`  ${blockText(b)}`);
  if (blocks.length > MOST) out.push(`  and ${blocks.length - MOST} more blocks, in --format json`);
  if (!works && example !== null)
    out.push(`  hop by hop: netcase trace --from ${terminal(example.packet.src)} --to ${terminal(example.packet.dst)}`);
  return out;
}

/** A block holds every node of `from` to every other one of `to`. */
function blockText({ from, to }: ReachGroup['blocks'][number]): string {
  const list = (nodes: readonly string[]) => terminal(names(nodes, 6));
  const ends = new Set(to);
  const shared = from.filter((node) => ends.has(node)).length;
  if (shared === from.length && shared === ends.size) return `between any two of ${list(from)}`;
  if (from.length === 1) return `from ${list(from)} to ${list(to.filter((node) => node !== from[0]))}`;
  if (ends.size === 1) return `from ${list(from.filter((node) => !ends.has(node)))} to ${list(to)}`;
  return `from ${list(from)} to ${list(to)}${shared > 0 ? ', none to itself' : ''}`;
}
