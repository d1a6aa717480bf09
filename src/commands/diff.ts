import { Args, Flags } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import type { DiffJson } from '../report/diff.ts';
import type { Severity } from '../rule/index.ts';
import { atLeast, compareSeverity, SEVERITIES, worst } from '../rule/index.ts';
import { EXIT, NetcaseCommand, outputFlag, textOrJsonFlag } from './base.ts';

export class Diff extends NetcaseCommand {
  static override id = 'diff';
  static override summary =
    'What appeared, went, changed or is unproven between two moments of a case, or two cases, and why.';
  static override description =
    'The evidence of both moments is judged by today’s rules, so that a better rule is not taken for a repair; nothing is written. POSITION: an event of netcase history. DATE (UTC): what was recorded until its end, or until 2026-11-27T09:30Z. A finding whose question cannot be answered now is unproven, never gone. Exit code 0: nothing of that severity appeared or got worse; 1: something did; 4: nothing did, but findings of that severity are unproven, or the question of a rule that finds such is open that was answered before.';
  static override examples = [
    '<%= config.bin %> diff --case acme.netcase --from 2026-11-20',
    '<%= config.bin %> diff --case acme.netcase --from 4 --to 9 --format json',
    '<%= config.bin %> diff before.netcase after.netcase',
  ];
  static override args = {
    before: Args.string({ description: 'case file of before', required: false }),
    after: Args.string({ description: 'case file of after', required: false }),
  };
  static override flags = {
    case: Flags.string({ description: 'case file', helpValue: 'FILE' }),
    from: Flags.string({ description: 'the earlier moment', helpValue: 'POSITION|DATE' }),
    to: Flags.string({ description: 'the later moment; by default now', helpValue: 'POSITION|DATE' }),
    'fail-on': Flags.option({
      options: SEVERITIES,
      default: 'high' as const,
      description: 'exit 1 when something at least this severe appeared or got worse',
    })(),
    format: textOrJsonFlag,
    output: outputFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Diff);
    const result = await this.#compare(args, flags);
    await this.writeResult(flags, result, async () => (await import('../report/diff-text.ts')).diffText(result));
    const code = codeOf(result, flags['fail-on']);
    if (code !== EXIT.clean) this.exit(code);
  }

  async #compare(
    { before, after }: { readonly before?: string | undefined; readonly after?: string | undefined },
    flags: { readonly case?: string | undefined; readonly from?: string | undefined; readonly to?: string | undefined },
  ): Promise<DiffJson> {
    const [{ diffCases, diffWithin }, { Failure }] = await Promise.all([
      import('../cases/diff.ts'),
      import('../cases/failure.ts'),
    ]);
    const two = before !== undefined && after !== undefined;
    if (two && flags.case === undefined && flags.from === undefined && flags.to === undefined)
      return diffCases(before, after, RULES);
    if (before === undefined && flags.from !== undefined)
      return diffWithin(flags.case ?? './incident.netcase', flags.from, flags.to, RULES);
    throw new Failure('usage', 'give two case files, or --case FILE and --from POSITION or DATE');
  }
}

function codeOf({ appeared, changed, unproven, undecided }: DiffJson, threshold: Severity): number {
  const open = ({ finding }: { readonly finding: { readonly accepted: unknown } }) => finding.accepted === null;
  const graver = changed.filter((c) =>
    c.changes.some((x) => x.what === 'severity' && compareSeverity(x.to as Severity, x.from as Severity) < 0),
  );
  const worse = [...appeared, ...graver].filter(open).map((d) => d.finding);
  if (atLeast(worst(worse), threshold)) return EXIT.findings;
  const unsettled = unproven.filter(open).map((d) => d.finding);
  const lost = RULES.filter((r) => undecided.some((u) => u.rule === r.id));
  return atLeast(worst([...unsettled, ...lost]), threshold) ? EXIT.incomplete : EXIT.clean;
}
