import { Flags } from '@oclif/core';
import type { Filter, Listing } from '../cases/tables.ts';
import { SEVERITIES } from '../rule/index.ts';
import type { CaseFile } from '../store/index.ts';
import { caseFlag, jsonFlag, NetcaseCommand, table } from './base.ts';

type List = (store: CaseFile, filter: Filter) => Promise<Listing>;

/** A command that prints one table of a case. */
abstract class ListingCommand extends NetcaseCommand {
  protected async print(kase: string, json: boolean, load: () => Promise<List>, filter: Filter): Promise<void> {
    const [{ openForReading }, list] = await Promise.all([import('../cases/open.ts'), load()]);
    const store = openForReading(kase);
    try {
      const { head, rows, data } = await list(store, filter);
      this.out(json ? JSON.stringify(data, null, 2) : table(head, rows));
    } finally {
      store.close();
    }
  }
}

const examples = (id: string) => [
  `<%= config.bin %> ${id} --case acme.netcase`,
  `<%= config.bin %> ${id} --case acme.netcase --json`,
];

export class Findings extends ListingCommand {
  static override id = 'findings';
  static override summary = 'List the findings of the newest analysis.';
  static override examples = [...examples('findings'), '<%= config.bin %> findings --node node-a --severity critical'];
  static override flags = {
    case: caseFlag,
    json: jsonFlag,
    severity: Flags.option({ options: SEVERITIES, description: 'only this severity' })(),
    rule: Flags.string({ description: 'only of this rule', helpValue: 'RULE' }),
    node: Flags.string({ description: 'only on this node', helpValue: 'NODE' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Findings);
    const { severity, rule, node } = flags;
    await this.print(flags.case, flags.json, async () => (await import('../cases/tables.ts')).listFindings, {
      severity,
      rule,
      node,
    });
  }
}

export class Nodes extends ListingCommand {
  static override id = 'nodes';
  static override summary = 'List nodes and bundles, and peers without a bundle.';
  static override examples = examples('nodes');
  static override flags = { case: caseFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Nodes);
    await this.print(flags.case, flags.json, async () => (await import('../cases/tables.ts')).listNodes, {});
  }
}

export class Coverage extends ListingCommand {
  static override id = 'coverage';
  static override summary = 'What was decided on how many nodes, and what could not be.';
  static override examples = examples('coverage');
  static override flags = { case: caseFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Coverage);
    await this.print(flags.case, flags.json, async () => (await import('../cases/tables.ts')).listCoverage, {});
  }
}

export class History extends ListingCommand {
  static override id = 'history';
  static override summary = 'The event log: what happened to this case.';
  static override examples = examples('history');
  static override flags = {
    case: caseFlag,
    json: jsonFlag,
    type: Flags.string({ description: 'only events of this type, as bundle.ingested', helpValue: 'TYPE' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(History);
    await this.print(flags.case, flags.json, async () => (await import('../cases/tables.ts')).listHistory, {
      type: flags.type,
    });
  }
}
