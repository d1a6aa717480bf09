import { Args, Flags } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import { caseFlag, EXIT, NetcaseCommand } from './base.ts';
import { Progress } from './progress.ts';

export class Ingest extends NetcaseCommand {
  static override id = 'ingest';
  static override strict = false;
  static override summary = 'Read bundles into a case without judging them.';
  static override examples = ['<%= config.bin %> ingest late.tar.gz --case acme.netcase'];
  static override args = { bundle: Args.string({ description: 'bundle, folder, glob, @list or -', required: true }) };
  static override flags = {
    case: caseFlag,
    node: Flags.string({ description: 'name of the node, for one input that does not say it', helpValue: 'NAME' }),
    jobs: Flags.integer({ default: 2, min: 1, max: 64, description: 'worker threads' }),
    quiet: Flags.boolean({ char: 'q', description: 'no progress on stderr' }),
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Ingest);
    const [{ openForWriting }, { ingestInto }] = await Promise.all([
      import('../cases/open.ts'),
      import('../cases/ingest.ts'),
    ]);
    const store = openForWriting(flags.case, true);
    try {
      let progress: Progress | undefined;
      const before = store.head().position;
      const refused = await ingestInto(
        store,
        {
          inputs: argv as string[],
          rules: RULES,
          jobs: flags.jobs,
          ...(flags.node === undefined ? {} : { node: flags.node }),
          onStart: (total) => {
            progress = new Progress('reading bundles', total, flags.quiet);
          },
          onBundle: () => progress?.step(),
        },
        false,
      );
      progress?.end();
      for (const { sentence } of refused) this.say(`netcase: ${sentence}`);
      const { position, hash } = store.head();
      this.out(`${position - before} events added, position ${position}, head ${hash}`);
      if (refused.length > 0) this.exit(EXIT.refused);
    } finally {
      store.close();
    }
  }
}
