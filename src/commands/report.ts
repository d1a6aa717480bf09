import { Flags } from '@oclif/core';
import { FORMATS } from '../report/index.ts';
import { caseFlag, NetcaseCommand, outputFlag } from './base.ts';

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
    output: outputFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Report);
    const { renderAgain } = await import('../cases/place.ts');
    const { text, recorded } = await renderAgain(flags.case, flags.format);
    await this.write(flags.output, text);
    if (!recorded)
      this.say('netcase: the case may only be read: its log does not note this report, and verify will not know it');
  }
}
