import { dirname, join } from 'node:path';
import { Args, Flags } from '@oclif/core';
import { AUDIT_FORMATS } from '../cases/audit-formats.ts';
import { type AuditUnit, isFault } from '../report/audit.ts';
import { names } from '../report/names.ts';
import { terminal } from '../report/visible.ts';
import { EXIT, failOnFlag, manyOutputsFlag, NetcaseCommand } from './base.ts';
import { reading, readingFlags } from './reading.ts';

export class Audit extends NetcaseCommand {
  static override id = 'audit';
  static override strict = false;
  static override summary = 'Read the bundles of a fleet, find its clusters, and write one roll-up.';
  static override description =
    'Takes folders of any depth (and whatever analyze takes), runs all rules, and says which clusters and single nodes have a fault, which were not checked to the end, and which fault is in many places. A cluster is what the nodes’ own tables tie together (flannel’s routes, neighbours and forwarding entries); other nodes stand alone. The case is a usual one: netcase report, trace or diff work on it. Without --format: audit.html beside the case, the roll-up on stdout.';
  static override examples = [
    '<%= config.bin %> audit customers/',
    '<%= config.bin %> audit customers/ --case fleet.netcase --format csv -o fleet.csv',
    '<%= config.bin %> audit customers/ --jobs 4 --format json --format metrics -o audit.json',
  ];
  static override args = { dir: Args.string({ description: 'folder, bundle, glob or @list', required: false }) };
  static override flags = {
    case: Flags.string({ description: 'case file', default: './audit.netcase', helpValue: 'FILE' }),
    format: Flags.option({
      options: AUDIT_FORMATS,
      multiple: true,
      description: 'output format; may be given more than once; metrics is OpenMetrics text',
    })(),
    output: manyOutputsFlag,
    'fail-on': failOnFlag,
    'max-unchecked': Flags.integer({
      default: 50,
      min: 0,
      max: 100,
      description:
        'exit 4 when of a cluster or single node without a fault more than this share of the questions (percent) could not be decided',
    }),
    ...readingFlags,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Audit);
    const { audit } = await import('../cases/audit.ts');
    const done = await reading(argv as string[], flags, (request) =>
      audit({
        ...request,
        caseFile: flags.case,
        formats: flags.format ?? [],
        output: flags.output ?? null,
        htmlBeside: join(dirname(flags.case), 'audit.html'),
      }),
    );
    this.tell(done, done.audit.verdict.severity, flags['fail-on']);
    const { units } = done.audit;
    const dark = units.filter((u) => !isFault(u.mark) && isDark(u, flags['max-unchecked'])).map((u) => u.name);
    if (units.length === 0 || dark.length > 0) {
      const what =
        units.length === 0 ? 'there is no bundle in the case' : `${terminal(names(dark))} (see --max-unchecked)`;
      this.say(`netcase: too incomplete to judge: ${what}`);
      this.exit(EXIT.incomplete);
    }
  }
}

function isDark({ decided, undecided }: AuditUnit, share: number): boolean {
  return decided === 0 || (100 * undecided) / (decided + undecided) > share;
}
