import { Args, Flags } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import { caseFlag, jsonFlag, NetcaseCommand } from './base.ts';

export class Why extends NetcaseCommand {
  static override id = 'why';
  static override summary =
    'Why a rule did or did not fire on a node: its answer, the proof, and every fact that it read.';
  static override examples = ['<%= config.bin %> why ip-forward-disabled --node node-a --case acme.netcase'];
  static override args = { rule: Args.string({ description: 'rule id', required: true }) };
  static override flags = {
    node: Flags.string({ required: true, description: 'node id', helpValue: 'NODE' }),
    case: caseFlag,
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Why);
    const [{ openForReading }, { whyAnswer }] = await Promise.all([
      import('../cases/open.ts'),
      import('../cases/why.ts'),
    ]);
    const store = openForReading(flags.case);
    try {
      const why = whyAnswer(store, RULES, args.rule, flags.node);
      if (flags.json) this.out(JSON.stringify(why, null, 2));
      else this.out((await import('../report/why-text.ts')).whyText(args.rule, flags.node, why));
    } finally {
      store.close();
    }
  }
}
