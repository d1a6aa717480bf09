import { dirname, join } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { FORMATS } from '../report/index.ts';
import { caseFlag, EXIT, failOnFlag, manyOutputsFlag, NetcaseCommand } from './base.ts';
import { reading, readingFlags } from './reading.ts';

export class Analyze extends NetcaseCommand {
  static override id = 'analyze';
  static override strict = false;
  static override summary = 'Read bundles into a case, run every rule, write the report.';
  static override description =
    'Ingests bundles (files, folders of bundles, unpacked bundles, folders of loose evidence files, quoted globs, @list.txt, - for stdin), runs all rules over every bundle of the case and writes the report. Without --format: incident.html beside the case, the verdict on stdout.';
  static override examples = [
    '<%= config.bin %> analyze bundles/',
    "<%= config.bin %> analyze 'bundles/*.tar.gz' --case acme.netcase --format html --format md",
    'ssh node sh -s -- -o - < netcase-collect.sh | <%= config.bin %> analyze -',
    '<%= config.bin %> analyze pasted/ --node web-1 --format json -o -',
  ];
  static override args = { bundle: Args.string({ description: 'bundle, folder, glob, @list or -', required: false }) };
  static override flags = {
    case: caseFlag,
    format: Flags.option({
      options: FORMATS,
      multiple: true,
      description: 'output format; may be given more than once',
    })(),
    output: manyOutputsFlag,
    'fail-on': failOnFlag,
    'max-unchecked': Flags.integer({
      default: 50,
      min: 0,
      max: 100,
      description:
        'exit 4 when more than this share of the questions (percent) could not be decided and nothing was found',
    }),
    ...readingFlags,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Analyze);
    const { analyze } = await import('../cases/analyze.ts');
    const done = await reading(argv as string[], flags, (request) =>
      analyze({
        ...request,
        caseFile: flags.case,
        formats: flags.format ?? [],
        output: flags.output ?? null,
        htmlBeside: join(dirname(flags.case), 'incident.html'),
      }),
    );
    this.tell(done, done.worstOpen, flags['fail-on']);
    const questions = done.decided + done.undecided;
    if (done.nodes === 0 || (questions > 0 && (100 * done.undecided) / questions > flags['max-unchecked'])) {
      this.say(
        `netcase: too incomplete to judge: ${done.undecided} of ${questions} questions could not be decided (see --max-unchecked)`,
      );
      this.exit(EXIT.incomplete);
    }
  }
}
