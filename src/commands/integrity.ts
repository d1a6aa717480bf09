import { Args, Flags } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import { terminal } from '../report/visible.ts';
import { caseFlag, EXIT, jsonFlag, NetcaseCommand, table } from './base.ts';

export class Verify extends NetcaseCommand {
  static override id = 'verify';
  static override strict = false;
  static override summary =
    'Check the hash chain, the blobs and the projections; show that reports came from this log.';
  static override description =
    'Tamper-evident, not tamper-proof: whoever can write the file can write a new chain. A head hash noted in the ticket anchors it.';
  static override examples = [
    '<%= config.bin %> verify --case acme.netcase',
    '<%= config.bin %> verify --case acme.netcase incident.html',
  ];
  static override args = { report: Args.string({ description: 'report files', required: false }) };
  static override flags = { case: caseFlag };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Verify);
    const { verifyCase } = await import('../cases/verify.ts');
    const { problems, lines } = verifyCase(flags.case, argv as string[]);
    for (const line of lines) this.out(terminal(line));
    for (const problem of problems) this.say(`netcase: ${terminal(problem)}`);
    if (problems.length > 0) this.exit(EXIT.damaged);
  }
}

export class Replay extends NetcaseCommand {
  static override id = 'replay';
  static override summary = 'Rebuild every projection from the log and judge the old evidence by today’s rules.';
  static override examples = ['<%= config.bin %> replay --case acme.netcase'];
  static override flags = { case: caseFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Replay);
    const [{ openForWriting }, { judgeCase }] = await Promise.all([
      import('../cases/open.ts'),
      import('../cases/judge.ts'),
    ]);
    const store = openForWriting(flags.case, false);
    try {
      store.replay();
      if (store.bundles().length > 0) {
        const { analysis } = await judgeCase(store, RULES);
        this.out(terminal(analysis.verdict.sentence));
      }
      const { position, hash } = store.head();
      this.out(`replayed ${position} events, head ${hash}`);
    } finally {
      store.close();
    }
  }
}

export class Query extends NetcaseCommand {
  static override id = 'query';
  static override summary = 'Read-only SQL over the documented tables (docs/tables.md).';
  static override examples = ['<%= config.bin %> query "select node, rule, severity from finding" --case acme.netcase'];
  static override args = { sql: Args.string({ description: 'one SELECT statement', required: true }) };
  static override flags = {
    case: caseFlag,
    json: jsonFlag,
    csv: Flags.boolean({ description: 'comma-separated values, safe to open in a spreadsheet', exclusive: ['json'] }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Query);
    const [{ openForReading, asFailure }, { csv }, { Failure }] = await Promise.all([
      import('../cases/open.ts'),
      import('../report/csv.ts'),
      import('../cases/failure.ts'),
    ]);
    const store = openForReading(flags.case);
    try {
      const rows = store.query(args.sql);
      const head = Object.keys(rows[0] ?? {});
      if (flags.json) this.out(JSON.stringify(rows, null, 2));
      else if (flags.csv)
        this.out(
          csv(
            head,
            rows.map((r) => head.map((h) => r[h])),
          ),
        );
      else
        this.out(
          table(
            head,
            rows.map((r) => head.map((h) => r[h])),
          ),
        );
    } catch (error) {
      const known = asFailure(error);
      if (known !== error) throw known;
      throw new Failure(
        'usage',
        `the query was refused: ${(error as Error).message}; docs/tables.md lists tables and columns`,
      );
    } finally {
      store.close();
    }
  }
}
