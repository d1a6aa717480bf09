import type { Listing } from '../cases/tables.ts';
import type { CaseFile } from '../store/index.ts';
import { caseFlag, jsonFlag, NetcaseCommand, table } from './base.ts';

/** A command that prints one table of a case. */
function listing(
  id: string,
  summary: string,
  pick: (tables: typeof import('../cases/tables.ts')) => (store: CaseFile) => Listing,
) {
  return class extends NetcaseCommand {
    static override id = id;
    static override summary = summary;
    static override examples = [
      `<%= config.bin %> ${id} --case acme.netcase`,
      `<%= config.bin %> ${id} --case acme.netcase --json`,
    ];
    static override flags = { case: caseFlag, json: jsonFlag };

    async run(): Promise<void> {
      const { flags } = await this.parse(
        this.ctor as typeof NetcaseCommand & { flags: { case: typeof caseFlag; json: typeof jsonFlag } },
      );
      const [{ openForReading }, tables] = await Promise.all([
        import('../cases/open.ts'),
        import('../cases/tables.ts'),
      ]);
      const store = openForReading(flags['case'] as string);
      try {
        const { head, rows, data } = pick(tables)(store);
        this.out(flags['json'] === true ? JSON.stringify(data, null, 2) : table(head, rows));
      } finally {
        store.close();
      }
    }
  };
}

export const Findings = listing('findings', 'List the findings of the newest analysis.', (t) => t.listFindings);
export const Nodes = listing('nodes', 'List nodes and bundles, and peers without a bundle.', (t) => t.listNodes);
export const Coverage = listing(
  'coverage',
  'What was decided on how many nodes, and what could not be.',
  (t) => t.listCoverage,
);
export const History = listing('history', 'The event log: what happened to this case.', (t) => t.listHistory);
