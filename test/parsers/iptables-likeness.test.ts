import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IptTable } from '../../src/facts/firewall.ts';
import { indexRuleset } from '../../src/parsers/iptables-index.ts';
import { Likeness } from '../../src/parsers/iptables-likeness.ts';
import { all, edited, edits, ruleset } from '../support/iptables-texts.ts';

function modelOf(text: string): Likeness {
  const { parsed, tables } = indexRuleset(text, 'unknown');
  if (!parsed.ok) throw new Error(parsed.why);
  expect(Likeness.suits(text, parsed.value, tables)).toBe(true);
  return new Likeness(text, 'unknown', parsed.value, tables);
}

/** What the model tells of a text must be what reading says, also of chains that the text has no longer. */
function expectSame(model: Likeness, modelText: string, text: string): 'told' | 'read' {
  const read = indexRuleset(text, 'unknown');
  const told = model.tell(text, 'unknown', () => indexRuleset(text, 'unknown').tables);
  if (told === null) return 'read';
  expect(read.parsed.ok && read.parsed.skipped).toEqual([]);
  if (!read.parsed.ok) return 'read';
  const before = indexRuleset(modelText, 'unknown').tables;
  const names = (t: IptTable) =>
    new Set([...(read.tables.get(t.name)?.chains.keys() ?? []), ...(before.get(t.name)?.chains.keys() ?? [])]);
  expect(all(told, names)).toEqual(all(read.parsed.value, names));
  for (const [name, table] of told.tables)
    expect([...table.chains.keys()]).toEqual([...(read.tables.get(name)?.chains.keys() ?? [])]);
  return 'told';
}

describe('a ruleset told by one that it resembles', () => {
  const text = ruleset(400, 1);
  const model = modelOf(text);

  it('tells other nodes of the cluster, whatever chains they have for themselves', () => {
    for (const [node, pods] of [
      [2, 3],
      [3, 0],
      [4, 9],
      [5, 1],
    ] as const)
      expect(expectSame(model, text, ruleset(400, node, pods))).toBe('told');
  });

  it('reads rules that stand further down only once', () => {
    const chain = (node: number) =>
      model
        .tell(ruleset(400, node, node), 'unknown', () => new Map())
        ?.tables.get('nat')
        ?.chains.get('KUBE-SERVICES');
    expect(chain(7)?.shared().length).toBe(400);
    expect(chain(7)?.shared()).toBe(chain(8)?.shared());
    expect(chain(7)?.rule(5).line).toBe((chain(8)?.rule(5).line ?? 0) - 2);
  });

  it('gives up on the ruleset of another cluster, a cut one, counters of rules and other programs', () => {
    const tell = (t: string) => model.tell(t, 'unknown', () => new Map());
    expect(tell(ruleset(400, 2).replaceAll('KUBE-SVC-', 'KUBE-SEP-'))).toBeNull();
    expect(tell(ruleset(400, 2).slice(0, 9000))).toBeNull();
    expect(tell(ruleset(400, 2).replace(/^-A /gm, '[1:60] -A '))).toBeNull();
    expect(tell(ruleset(400, 2).replaceAll('v1.8.9', 'v1.8.7'))).toBeNull();
    expect(tell(ruleset(400, 2).replaceAll('COMMIT\n# Completed', '# Completed'))).toBeNull();
  });

  it('says of any edited text what reading says', () => {
    let told = 0;
    fc.assert(
      fc.property(edits, fc.nat(9), (list, node) => {
        const lines = ruleset(400, node, node).split('\n');
        for (const one of list) edited(lines, one);
        if (expectSame(model, text, lines.join('\n')) === 'told') told += 1;
      }),
      { numRuns: 250 },
    );
    expect(told).toBeGreaterThan(50);
  });
});
