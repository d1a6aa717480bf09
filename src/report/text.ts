import type { Analysis, LogPlace } from './analysis.ts';
import { names, plural } from './names.ts';
import { decided } from './verdict.ts';
import { terminal } from './visible.ts';

const MARKS: Record<string, string> = {
  critical: '[CRIT]',
  high: '[HIGH]',
  medium: '[MED] ',
  low: '[LOW] ',
  info: '[NOTE]',
  none: '[OK]  ',
};

/** Plain text at 78 columns, ASCII marks: what `analyze` prints. */
export function renderText(analysis: Analysis, place: LogPlace): string {
  const out: string[] = [];
  const { decided: answered, undecided: open } = decided(analysis);
  // [OK] only when something was checked and nothing was left open
  const mark =
    analysis.verdict.severity === 'none' && (answered === 0 || open > 0) ? '[ ?? ]' : MARKS[analysis.verdict.severity];
  out.push(...wrap(`${mark} ${terminal(analysis.verdict.sentence)}`, '', '       '));
  const byId = new Map(analysis.findings.map((f) => [f.id, f]));
  for (const cause of analysis.causes) {
    const f = byId.get(cause.finding);
    if (f === undefined) continue;
    out.push('');
    out.push(...wrap(`${cause.rank}. ${MARKS[f.severity]} ${terminal(f.message)}`, '', '   '));
    out.push(
      `   ${f.confidence}, ${terminal(f.rule)}${cause.alsoOn.length > 0 ? `, the same on ${plural(cause.alsoOn.length, 'further node')}` : ''}`,
    );
    for (const c of f.cites.slice(0, 4)) {
      if (c.kind === 'absent')
        out.push(
          ...wrap(`${terminal(c.node)} ${terminal(c.path)} does not hold: ${terminal(c.absent)}`, '   ', '     '),
        );
      else
        out.push(
          `   ${terminal(c.node)} ${terminal(c.path)}:${c.line}  ${terminal(firstLine(c.excerpt?.text).slice(0, 120))}`,
        );
    }
    // one line, to be copied; the report has all steps, with how to verify and to undo them
    const [step] = f.remediation ?? [];
    if (step !== undefined) out.push(...wrap(`-> ${terminal(step.step)}`, '   ', '      '));
    if (step?.run !== undefined) out.push(`      $ ${terminal(step.run)}`);
  }
  const undecided = analysis.unknown.length;
  out.push('');
  out.push(
    undecided === 0
      ? analysis.bundles.length === 0
        ? 'Nothing was checked.'
        : 'Every rule that applies could be decided.'
      : open === undecided
        ? `${plural(open, 'question')} could not be decided:`
        : `${plural(open, 'question')} could not be decided, for ${plural(undecided, 'reason')}:`,
  );
  for (const u of analysis.unknown.slice(0, 8))
    out.push(...wrap(`? ${u.rule} on ${terminal(names(u.nodes))}: ${terminal(u.because)}`, '   ', '     '));
  if (undecided > 8) out.push(`   and ${undecided - 8} more; see the report or netcase coverage`);
  for (const p of analysis.problems.slice(0, 8))
    out.push(...wrap(`! ${terminal(p.source)}: ${terminal(p.message)}`, '', '  '));
  for (const m of analysis.missingNodes.slice(0, 5))
    out.push(`   no bundle of ${terminal(m.node)} (${terminal(m.because)})`);
  out.push('', `log position ${place.position}, head ${place.head.slice(0, 12)}`);
  return `${out.join('\n')}\n`;
}

/** Of a device that is cited as a block, the line that names it. */
const firstLine = (text = '') => text.trim().split('\n', 1)[0] ?? '';

function wrap(text: string, first: string, rest: string): string[] {
  const lines: string[] = [];
  let line = first;
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > 78 && line.trim() !== '') {
      lines.push(line.trimEnd());
      line = rest;
    }
    line += line === first || line === rest ? word : ` ${word}`;
  }
  lines.push(line.trimEnd());
  return lines;
}
