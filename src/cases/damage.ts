import type { BundleProblem } from '../bundle/index.ts';
import type { Prepared } from './prepare.ts';

type Bundle = Pick<Prepared['bundle'], 'source' | 'nodeName' | 'complete' | 'problems'>;

/** What is wrong with a bundle that is in the case all the same: what, where, and what to do, in one sentence; null: nothing that counts. */
export function damageOf({ source, nodeName, complete, problems }: Bundle): string | null {
  const grave = problems.filter((p) => p.severity === 'high' || p.severity === 'medium');
  const first = grave.find((p) => p.severity === 'high') ?? grave[0];
  if (first === undefined) return null;
  const others = grave.length - 1;
  const more = others === 0 ? '' : `, and ${others} more ${others === 1 ? 'problem' : 'problems'}`;
  const advice = complete
    ? 'netcase analyze says what that leaves open'
    : 'what is in it counts, what is not in it proves nothing: send it again or collect again';
  return `${source} of ${nodeName} is ${complete ? 'not as it was collected' : 'not whole'}: ${statement(first)}${more}; ${advice}`;
}

/** A problem's first sentence, without its full stop. */
const statement = ({ message }: BundleProblem): string =>
  (message.split(/\.(?: |$)/, 1)[0] ?? message).replace(/^The /, 'the ');
