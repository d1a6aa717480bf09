import type { Judgement } from '../engine/analysis.ts';
import type { Severity } from '../rule/index.ts';
import { worst } from '../rule/index.ts';
import { plural } from './names.ts';

/** The one sentence at the top: what, on how many nodes, what else, and how much was not checked. */
export function verdictOf(
  judgement: Omit<Judgement, 'topology'>,
  nodes: number,
  accepted: ReadonlySet<string>,
): { severity: Severity | 'none'; sentence: string } {
  const open = judgement.findings.filter((f) => !accepted.has(f.id));
  const causes = judgement.causes.filter((c) => open.some((f) => f.id === c.finding));
  const { undecided } = decided(judgement);
  const unchecked = undecided === 0 ? '' : ` ${plural(undecided, 'question')} could not be decided.`;
  const severity = worst(open);
  const first = causes[0];
  const top = open.find((f) => f.id === first?.finding);
  if (nodes === 0) return { severity: 'none', sentence: 'No bundle could be read, so nothing was checked.' };
  if (first === undefined || top === undefined) {
    const checked = Object.values(judgement.verdicts).filter((v) => v.pass + v.notApplicable > 0).length;
    const notes = open.length === 0 ? '' : ` ${plural(open.length, 'note')}.`;
    return {
      severity,
      sentence: `No fault found by ${plural(checked, 'rule')} on ${plural(nodes, 'node')}.${notes}${unchecked}`,
    };
  }
  const also = first.alsoOn.length === 0 ? '' : ` (the same on ${plural(first.alsoOn.length, 'further node')})`;
  const more = causes.length === 1 ? '' : ` ${plural(causes.length - 1, 'further probable cause')}.`;
  return { severity, sentence: `${top.message}${also}.${more}${unchecked}` };
}

/** Rule-node pairs that were answered, and those that were not; pairs that do not apply are in neither. */
export function decided(judgement: Pick<Judgement, 'verdicts'>): { decided: number; undecided: number } {
  let yes = 0;
  let no = 0;
  for (const v of Object.values(judgement.verdicts)) {
    yes += v.findings + v.pass;
    no += v.unknown + v.missing + v.error;
  }
  return { decided: yes, undecided: no };
}
