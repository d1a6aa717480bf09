import { describe, expect, it } from 'vitest';
import type { AnalysisFinding, Corner, UnknownAnswer } from '../../src/engine/index.ts';
import { diffJudgements } from '../../src/engine/index.ts';

const finding = (node: string, key = 'k', more: Partial<AnalysisFinding> = {}): AnalysisFinding => ({
  id: `rule/${node}:${key}`,
  rule: 'rule',
  key: `${node}:${key}`,
  group: key,
  severity: 'high',
  confidence: 'proven',
  nodes: node.split('+') as [string, ...string[]],
  message: `${key} is wrong`,
  cites: [{ kind: 'absent', node, evidence: 'ip.addr', path: 'host/ip/addr.txt', absent: key }],
  ...more,
});

const open = (node: string, because = 'ip.addr was not collected'): UnknownAnswer => ({
  rule: 'rule',
  nodes: [node],
  because,
  evidence: ['ip.addr'],
  kind: 'unknown',
});

type Kind = Corner['matrix'][string][string];

function corner(
  answers: Record<string, Kind>,
  findings: readonly AnalysisFinding[] = [],
  unknown: readonly UnknownAnswer[] = [],
): Corner {
  return { nodes: Object.keys(answers), matrix: { rule: answers }, findings, unknown };
}

const ids = (list: readonly { readonly finding: AnalysisFinding }[]) => list.map((d) => d.finding.id);

describe('old evidence, old analyzer; old evidence, this analyzer; now', () => {
  it('gone in the new evidence only, and the rule passes: by the evidence', () => {
    const replayed = corner({ a: 'findings' }, [finding('a')]);
    const diff = diffJudgements({ recorded: replayed, replayed, now: corner({ a: 'pass' }) });
    expect(diff.gone).toMatchObject([{ by: 'evidence', because: 'now, the rule passes on a' }]);
    expect(diff).toMatchObject({ appeared: [], changed: [], unproven: [], undecided: [], same: 0 });
  });

  it('gone in the old evidence already: by the analyzer', () => {
    const diff = diffJudgements({
      recorded: { findings: [finding('a')] },
      replayed: corner({ a: 'pass' }),
      now: corner({ a: 'pass' }),
    });
    expect(diff.gone).toMatchObject([
      { by: 'analyzer', because: 'today’s rules do not find it in the evidence of then' },
    ]);
  });

  it('its question is open now: unproven, never gone', () => {
    const replayed = corner({ a: 'findings' }, [finding('a')]);
    const now = corner({ a: 'unknown' }, [], [open('a')]);
    const diff = diffJudgements({ recorded: null, replayed, now });
    expect(diff.gone).toEqual([]);
    expect(diff.unproven).toMatchObject([{ because: 'ip.addr was not collected', evidence: ['ip.addr'] }]);
    // said once
    expect(diff.undecided).toEqual([]);
  });

  it('a rule that finds something else there has still an open question: unproven', () => {
    const replayed = corner({ a: 'findings' }, [finding('a'), finding('a', 'other')]);
    const now = corner({ a: 'findings' }, [finding('a', 'other')], [open('a', 'whether k')]);
    const diff = diffJudgements({ recorded: null, replayed, now });
    expect(ids(diff.unproven)).toEqual(['rule/a:k']);
    expect(diff.gone).toEqual([]);
  });

  it('no bundle of one of its nodes now: unproven', () => {
    const replayed = corner({ a: 'findings', b: 'findings' }, [finding('a+b')]);
    const diff = diffJudgements({ recorded: null, replayed, now: corner({ a: 'pass' }) });
    expect(diff.unproven).toMatchObject([{ because: 'there is no bundle of b' }]);
    expect(diff.gone).toEqual([]);
  });

  it('today’s rules cannot decide what the analyzer of then called a finding: unproven by the analyzer', () => {
    const diff = diffJudgements({
      recorded: { findings: [finding('a')] },
      replayed: corner({ a: 'unknown' }, [], [open('a')]),
      now: corner({ a: 'pass' }),
    });
    expect(diff.unproven).toMatchObject([{ by: 'analyzer', because: 'ip.addr was not collected' }]);
    expect(diff.gone).toEqual([]);
  });

  it('the rule is no longer there: gone by the analyzer', () => {
    const old = finding('a', 'k', { id: 'old/a:k', rule: 'old' });
    const diff = diffJudgements({
      recorded: { findings: [old] },
      replayed: corner({ a: 'pass' }),
      now: corner({ a: 'pass' }),
    });
    expect(diff.gone).toMatchObject([{ by: 'analyzer' }]);
  });

  it('new: says what the rule answered before', () => {
    const now = corner({ a: 'findings' }, [finding('a')]);
    const because = (replayed: Corner) => diffJudgements({ recorded: null, replayed, now }).appeared[0]?.because;
    expect(because(corner({ a: 'pass' }))).toBe('before, the rule passed on a');
    expect(because(corner({ a: 'not-applicable' }))).toBe('before, the rule did not apply on a');
    expect(because(corner({}))).toBe('the first bundle of a: it may have been so before');
    expect(because(corner({ a: 'unknown' }, [], [open('a')]))).toBe(
      'it could not be decided before (ip.addr was not collected): it may have been so then',
    );
  });

  it('in the old evidence too, but not in the analysis of then: by the analyzer', () => {
    const both = corner({ a: 'findings' }, [finding('a')]);
    const diff = diffJudgements({ recorded: { findings: [] }, replayed: both, now: both });
    expect(diff.appeared).toMatchObject([{ by: 'analyzer' }]);
  });

  it('changed: by what', () => {
    const [low, high] = [finding('a', 'k', { severity: 'low' }), finding('a')];
    const of = (f: AnalysisFinding) => corner({ a: 'findings' }, [f]);
    const by = (recorded: AnalysisFinding, replayed: Corner, now: AnalysisFinding) =>
      diffJudgements({ recorded: of(recorded), replayed, now: of(now) }).changed;
    expect(by(low, of(low), high)).toMatchObject([
      { by: 'evidence', changes: [{ what: 'severity', from: 'low', to: 'high' }] },
    ]);
    expect(by(low, of(high), high)).toMatchObject([{ by: 'analyzer' }]);
    expect(by(low, corner({ a: 'pass' }), high)).toMatchObject([{ by: 'both' }]);
    expect(by(low, of(low), low)).toEqual([]);
  });

  it('the same fault on one node more is one change', () => {
    const replayed = corner({ a: 'findings', b: 'findings', c: 'pass' }, [finding('a+b')]);
    const now = corner({ a: 'findings', b: 'findings', c: 'findings' }, [finding('a+b+c')]);
    const diff = diffJudgements({ recorded: null, replayed, now });
    expect(diff).toMatchObject({ appeared: [], gone: [] });
    expect(diff.changed).toMatchObject([{ changes: [{ what: 'nodes', from: 'a, b', to: 'a, b, c' }] }]);
  });

  it('the same nodes in another order are the same', () => {
    const of = (f: AnalysisFinding) => corner({ a: 'findings', b: 'findings' }, [f]);
    const diff = diffJudgements({ recorded: null, replayed: of(finding('a+b')), now: of(finding('b+a')) });
    expect(diff).toMatchObject({ appeared: [], gone: [], changed: [], same: 1 });
  });

  it('the same key on another node is another fault', () => {
    const replayed = corner({ a: 'findings', b: 'pass' }, [finding('a')]);
    const now = corner({ a: 'pass', b: 'findings' }, [finding('b')]);
    const diff = diffJudgements({ recorded: null, replayed, now });
    expect([ids(diff.appeared), ids(diff.gone), diff.changed]).toEqual([['rule/b:k'], ['rule/a:k'], []]);
  });

  it('an answer that was given and cannot be given now is said', () => {
    const now = corner({ a: 'unknown', b: 'unknown' }, [], [{ ...open('a'), nodes: ['a', 'b'] }]);
    const diff = diffJudgements({ recorded: null, replayed: corner({ a: 'pass', b: 'unknown' }), now });
    expect(diff.undecided).toEqual([
      { rule: 'rule', nodes: ['a'], because: 'ip.addr was not collected', evidence: ['ip.addr'] },
    ]);
  });
});
