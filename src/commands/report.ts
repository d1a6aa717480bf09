import { Flags } from '@oclif/core';
import { FORMATS } from '../report/index.ts';
import { caseFlag, NetcaseCommand } from './base.ts';

export class Report extends NetcaseCommand {
  static override id = 'report';
  static override summary = 'Render the newest analysis again; same case position, same bytes.';
  static override examples = [
    '<%= config.bin %> report --case acme.netcase --format md -o -',
    '<%= config.bin %> report --case acme.netcase --format html -o incident.html',
  ];
  static override flags = {
    case: caseFlag,
    format: Flags.option({ options: FORMATS, default: 'html' as const, description: 'output format' })(),
    output: Flags.string({ char: 'o', default: '-', description: 'where to write; - is stdout', helpValue: 'FILE|-' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Report);
    const [{ renderAgain }, { writeOutput }] = await Promise.all([
      import('../cases/place.ts'),
      import('../cases/output.ts'),
    ]);
    const { text, recorded } = await renderAgain(flags.case, flags.format);
    if (flags.output === '-') this.out(text);
    else {
      writeOutput(flags.output, text);
      this.say(`wrote ${flags.output}`);
    }
    if (!recorded)
      this.say('netcase: the case may only be read: its log does not note this report, and verify will not know it');
  }
}
