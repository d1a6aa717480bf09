import { Args } from '@oclif/core';
import { terminal } from '../report/visible.ts';
import { caseFlag, EXIT, NetcaseCommand } from './base.ts';
import { reading, readingFlags } from './reading.ts';

export class Ingest extends NetcaseCommand {
  static override id = 'ingest';
  static override strict = false;
  static override summary = 'Read bundles into a case without judging them.';
  static override examples = ['<%= config.bin %> ingest late.tar.gz --case acme.netcase'];
  static override args = { bundle: Args.string({ description: 'bundle, folder, glob, @list or -', required: true }) };
  static override flags = {
    case: caseFlag,
    ...readingFlags,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Ingest);
    const [{ openForWriting }, { ingestInto }] = await Promise.all([
      import('../cases/open.ts'),
      import('../cases/ingest.ts'),
    ]);
    const store = openForWriting(flags.case, true);
    try {
      const before = store.head().position;
      const { refused, damaged } = await reading(argv as string[], flags, (request) =>
        ingestInto(store, request, false),
      );
      for (const sentence of damaged) this.say(`netcase: ${terminal(sentence)}`);
      for (const { sentence } of refused) this.say(`netcase: ${sentence}`);
      const { position, hash } = store.head();
      this.out(`${position - before} events added, position ${position}, head ${hash}`);
      if (refused.length > 0) this.exit(EXIT.refused);
    } finally {
      store.close();
    }
  }
}
