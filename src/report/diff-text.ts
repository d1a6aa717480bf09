import type { DiffFinding, DiffJson, DiffSide } from './diff.ts';
import type { JsonCite } from './json.ts';
import { names, plural } from './names.ts';
import { citeText } from './path-text.ts';
import { terminal } from './visible.ts';

const BY = { evidence: 'the evidence', analyzer: 'the analyzer', both: 'the evidence and the analyzer' } as const;
/** Cites of one entry. */
const MOST_CITES = 2;

/** What two moments of a case differ in, for a person: what is new first, what cannot be said before what is as it was. */
export function diffText(diff: DiffJson): string {
  const { from, to, nodes, appeared, gone, changed, unproven, undecided, same, notes } = diff;
  const out = [sideLine('from', from), sideLine('to  ', to)];
  for (const [word, list] of [
    ['new', nodes.appeared],
    ['without a bundle now', nodes.gone],
    ['judged by another bundle', nodes.recollected],
  ] as const)
    if (list.length > 0) out.push(`${plural(list.length, 'node')} ${word}: ${terminal(names(list, 8))}`);

  section(out, 'APPEARED', appeared, ({ finding, by, because }) => [
    ...findingLines(finding),
    `    by ${BY[by]}: ${terminal(because)}`,
    ...citeLines(finding.cites),
  ]);
  section(out, 'CHANGED', changed, ({ finding, by, changes }) => [
    ...findingLines(finding),
    ...changes.map((c) => `    ${c.what}, by ${BY[by]}: ${terminal(c.from)} -> ${terminal(c.to)}`),
    ...citeLines(finding.cites),
  ]);
  section(out, 'UNPROVEN: found before, and not decided now', unproven, ({ finding, because }) => [
    ...findingLines(finding),
    `    ${terminal(because)}`,
  ]);
  section(out, 'GONE', gone, ({ finding, by, because, proof }) => [
    ...findingLines(finding),
    `    by ${BY[by]}: ${terminal(because)}`,
    ...citeLines(proof),
  ]);
  const questions = Map.groupBy(undecided, (u) => `${u.rule} on ${names(u.nodes, 8)}`);
  section(out, 'NOT DECIDED ANY MORE', [...questions], ([question, reasons]) => [
    `  ${terminal(question)}`,
    ...reasons.map((u) => `    ${terminal(u.because)}`),
  ]);
  out.push('', `${plural(same, 'finding')} as before.`);
  for (const note of notes) out.push(terminal(note));
  return `${out.join('\n')}\n`;
}

function sideLine(word: string, { case: place, nodes, verdict }: DiffSide): string {
  const at = `${terminal(place.file)} at position ${place.position}, ${terminal(place.at)}, ${plural(nodes, 'node')}`;
  return `${word} ${at}: ${verdict.severity === 'none' ? '' : `${verdict.severity}: `}${terminal(verdict.sentence)}`;
}

function section<T>(out: string[], title: string, list: readonly T[], lines: (item: T) => string[]): void {
  if (list.length === 0) return;
  out.push('', `${title} (${list.length})`);
  for (const item of list) out.push(...lines(item));
}

function findingLines({ id, severity, confidence, message, accepted }: DiffFinding): string[] {
  const open = accepted === null ? '' : `, accepted: ${terminal(accepted.because)}`;
  return [`  ${severity}, ${confidence}${open}: ${terminal(message)}`, `    ${terminal(id)}`];
}

function citeLines(cites: readonly JsonCite[]): string[] {
  return cites.slice(0, MOST_CITES).map((cite) => {
    const text = ('text' in cite ? (cite.text ?? '') : '').split('\n')[0] ?? '';
    return `    ${terminal(cite.node)} ${citeText(cite)}${text === '' ? '' : `  ${terminal(text.trim())}`}`;
  });
}
