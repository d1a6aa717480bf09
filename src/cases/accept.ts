import type { AnyRule } from '../rule/index.ts';
import { isDate } from './dates.ts';
import { Failure } from './failure.ts';
import { judgeCase } from './judge.ts';
import { clock, openForWriting } from './open.ts';
import { latestAnalysis } from './place.ts';

export interface Acceptance {
  readonly caseFile: string;
  readonly finding: string;
  readonly because: string;
  /** A date (its whole day counts) or a time in UTC; null: for ever. */
  readonly until: string | null;
  readonly rules: readonly AnyRule[];
}

/** Records that somebody lives with a finding, with the reason; returns the verdict that is left. It survives the next collection, and expires. */
export async function accept({ caseFile, finding, because, until, rules }: Acceptance): Promise<string> {
  if (because.trim() === '') throw new Failure('usage', 'an acceptance needs a reason: --because TEXT');
  if (until !== null && !isDate(until))
    throw new Failure('usage', `--until ${until} is no date; write it as 2027-03-31 or 2027-03-31T12:00:00Z`);
  if (until !== null && clock().slice(0, until.length) > until)
    throw new Failure('usage', `--until ${until} has passed already; give a later date, or leave it out`);
  const store = openForWriting(caseFile, false);
  try {
    const { analysis } = latestAnalysis(store);
    if (!analysis.findings.some((f) => f.id === finding)) {
      const near = analysis.findings.filter((f) => f.id.includes(finding)).map((f) => `"${f.id}"`);
      const hint = near.length > 0 ? `did you mean ${near.slice(0, 3).join(', ')}?` : 'netcase findings lists them';
      throw new Failure('usage', `there is no finding ${finding} in the newest analysis; ${hint}`);
    }
    const known = store.accepted()[finding];
    // the same once more is no new act; a changed one is, even when it goes back to an earlier text
    if (known?.because !== because || known.until !== until) {
      const key = `accept ${store.head().position} ${finding}`;
      store.append({ type: 'finding.accepted', key, payload: { finding, because, until } });
    }
    return (await judgeCase(store, rules)).analysis.verdict.sentence;
  } finally {
    store.close();
  }
}
