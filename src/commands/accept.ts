import { Args, Flags } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import { terminal } from '../report/visible.ts';
import { caseFlag, NetcaseCommand } from './base.ts';

export class Accept extends NetcaseCommand {
  static override id = 'accept';
  static override summary =
    'Live with a finding, for a reason: it stays in the report, marked, and no longer fails the run.';
  static override examples = [
    '<%= config.bin %> accept "egress-masquerade-missing/node-a:cni0 10.244.1.0/24" --because "the gateway does it" --until 2027-03-31',
  ];
  static override args = {
    finding: Args.string({ description: 'finding id, as netcase findings lists it', required: true }),
  };
  static override flags = {
    because: Flags.string({ required: true, description: 'the reason', helpValue: 'TEXT' }),
    until: Flags.string({ description: 'when it expires; without it, never', helpValue: 'DATE' }),
    case: caseFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Accept);
    const { accept } = await import('../cases/accept.ts');
    const { finding } = args;
    const verdict = await accept({
      caseFile: flags.case,
      finding,
      because: flags.because,
      until: flags.until ?? null,
      rules: RULES,
    });
    this.out(`accepted ${terminal(finding)}${flags.until === undefined ? '' : ` until ${flags.until}`}`);
    this.out(terminal(verdict));
  }
}
