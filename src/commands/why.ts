import { Args, Flags } from '@oclif/core';
import type { ResolvedCite } from '../engine/index.ts';
import { terminal } from '../report/visible.ts';
import { caseFlag, jsonFlag, NetcaseCommand } from './base.ts';

export class Why extends NetcaseCommand {
  static override id = 'why';
  static override summary = 'Why a rule did or did not fire on a node.';
  static override examples = ['<%= config.bin %> why ip-forward-disabled --node node-a --case acme.netcase'];
  static override args = { rule: Args.string({ description: 'rule id', required: true }) };
  static override flags = {
    node: Flags.string({ required: true, description: 'node id', helpValue: 'NODE' }),
    case: caseFlag,
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Why);
    const [{ openForReading }, { explainAnswer }] = await Promise.all([
      import('../cases/open.ts'),
      import('../cases/tables.ts'),
    ]);
    const store = openForReading(flags.case);
    try {
      const why = explainAnswer(store, args.rule, flags.node);
      if (flags.json) {
        this.out(JSON.stringify(why, null, 2));
        return;
      }
      const lines = [`${args.rule} on ${terminal(flags.node)}: ${why.answer}`];
      if (why.because !== '') lines.push(`  because ${terminal(why.because)}`);
      for (const f of why.findings) lines.push(`  ${f.severity}: ${terminal(f.message)}`, ...f.cites.map(citeLine));
      lines.push(...(why.cites as readonly ResolvedCite[]).map(citeLine));
      this.out(lines.join('\n'));
    } finally {
      store.close();
    }
  }
}

function citeLine(cite: ResolvedCite): string {
  if (cite.kind === 'absent') return `    ${terminal(cite.path)} does not hold ${terminal(cite.absent)}`;
  return `    ${terminal(cite.path)}:${cite.line}  ${terminal((cite.excerpt?.text ?? '').split('\n')[0] ?? '')}`;
}
