import { describe, it } from 'vitest';
import type { Fact } from '../../src/facts/index.ts';
import type { NodeVerdict } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, findings, isClosed, pass } from '../../src/rule/index.ts';

const text = {
  id: 'x',
  title: { bad: '', good: '' },
  severity: 'low',
  explanation: '',
  remediation: [{ step: '' }],
  references: ['https://example.org'],
} as const;

/** The law of rules as types: each expected error below is a way to claim something without proof. */
describe('a rule cannot claim without proof', () => {
  it('accepts an honest rule', () => {
    defineNodeRule({
      ...text,
      needs: ['routes4'],
      wants: ['fdb'],
      evaluate({ facts, wants }): NodeVerdict {
        const [first] = facts.routes4.value.routes;
        if (first !== undefined) return pass(cite(facts.routes4, first));
        if (!wants.fdb.missing && isClosed(wants.fdb)) return pass(absent(wants.fdb, 'anything'));
        return { kind: 'unknown', unknown: [{ nodes: ['n'], because: '', evidence: [] }] };
      },
    });
  });

  it('refuses empty needs', () => {
    // @ts-expect-error a rule without needs would pass on an empty bundle
    defineNodeRule({
      ...text,
      needs: [],
      wants: [],
      evaluate: (): NodeVerdict => ({ kind: 'not-applicable', because: '', cites: [] }),
    });
  });

  it('refuses a fact that was not declared', () => {
    defineNodeRule({
      ...text,
      needs: ['routes4'],
      wants: [],
      evaluate({ facts }): NodeVerdict {
        // @ts-expect-error fdb is neither needed nor wanted
        void facts.fdb;
        return { kind: 'not-applicable', because: '', cites: [] };
      },
    });
  });

  it('refuses a want that was not asked whether it is missing', () => {
    defineNodeRule({
      ...text,
      needs: ['routes4'],
      wants: ['fdb'],
      evaluate({ wants }): NodeVerdict {
        // @ts-expect-error fdb may be missing
        void wants.fdb.value;
        return { kind: 'not-applicable', because: '', cites: [] };
      },
    });
  });

  it('refuses findings and passes without a cite', () => {
    // @ts-expect-error a pass is proved too
    pass();
    // @ts-expect-error a finding needs at least one cite
    findings([{ key: 'k', severity: 'low', confidence: 'proven', nodes: ['n'], message: '', cites: [] }]);
    // @ts-expect-error no finding is not "findings"
    findings([]);
    const finding = { key: 'k', severity: 'low', confidence: 'proven', message: '' } as const;
    const cites = [{ kind: 'absent', node: 'n', evidence: 'e', path: 'p', absent: 'x' }] as const;
    // @ts-expect-error a finding names its nodes
    findings([{ ...finding, nodes: [], cites }]);
  });

  it('refuses an absence in a file that was not collected whole', () => {
    const fact = {} as Fact<'fdb'>;
    // @ts-expect-error only a closed fact proves an absence
    absent(fact, 'x');
  });
});
