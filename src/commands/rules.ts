import { Args } from '@oclif/core';
import { RULES } from '../../rules/index.ts';
import { Failure } from '../cases/failure.ts';
import type { AnyRule } from '../rule/index.ts';
import { jsonFlag, NetcaseCommand, table } from './base.ts';

const reads = (rule: AnyRule) =>
  rule.scope === 'collection'
    ? { needs: ['the bundle’s own records'], wants: [] }
    : { needs: [...rule.needs, ...(rule.needsAny ?? []).map((k: string) => `any of ${k}`)], wants: [...rule.wants] };

const data = (rule: AnyRule) => {
  const { id, title, severity, scope, explanation, remediation, references } = rule;
  return { id, title, severity, scope, explanation, ...reads(rule), remediation, references };
};

export class Rules extends NetcaseCommand {
  static override id = 'rules';
  static override summary = 'List the rules.';
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Rules);
    const rules = [...RULES].sort((a, b) => (a.id < b.id ? -1 : 1));
    this.out(
      flags.json
        ? JSON.stringify(rules.map(data), null, 2)
        : table(
            ['RULE', 'SEVERITY', 'SCOPE', 'FINDS'],
            rules.map((r) => [r.id, r.severity, r.scope, r.title.bad]),
          ),
    );
  }
}

export class Explain extends NetcaseCommand {
  static override id = 'explain';
  static override summary = 'What a rule finds, why it matters, what it reads and how to mend it. Offline.';
  static override examples = ['<%= config.bin %> explain vxlan-parameters-disagree'];
  static override args = { rule: Args.string({ description: 'rule id', required: true }) };
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Explain);
    const rule = RULES.find((r) => r.id === args.rule);
    if (rule === undefined) {
      const words = args.rule.split('-').filter((w) => w.length > 1);
      const alike = (id: string) => (id.includes(args.rule) ? 100 : 0) + words.filter((w) => id.includes(w)).length;
      const near = RULES.map((r) => r.id)
        .filter((id) => alike(id) > 0)
        .sort((a, b) => alike(b) - alike(a));
      throw new Failure(
        'usage',
        `there is no rule ${args.rule}${near.length > 0 ? `; did you mean ${near.slice(0, 3).join(', ')}?` : '; netcase rules lists them'}`,
      );
    }
    if (flags.json) {
      this.out(JSON.stringify(data(rule), null, 2));
      return;
    }
    const { needs, wants } = reads(rule);
    const lines = [
      rule.id,
      `  ${rule.title.bad}`,
      `  severity up to ${rule.severity}; scope ${rule.scope}`,
      '',
      rule.explanation,
      '',
      `Needs: ${needs.join(', ')}`,
    ];
    if (wants.length > 0) lines.push(`Uses when collected: ${wants.join(', ')}`);
    lines.push('', 'What to do:');
    for (const step of rule.remediation) {
      lines.push(`  - ${step.step}`);
      if (step.run !== undefined) lines.push(`      run:    ${step.run}`);
      if (step.verify !== undefined) lines.push(`      verify: ${step.verify}`);
      if (step.undo !== undefined) lines.push(`      undo:   ${step.undo}`);
      if (step.risk !== undefined) lines.push(`      risk:   ${step.risk}`);
    }
    lines.push('', 'References:', ...rule.references.map((r) => `  ${r}`));
    this.out(lines.join('\n'));
  }
}
