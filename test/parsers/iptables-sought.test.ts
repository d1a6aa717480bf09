import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IptTable } from '../../src/facts/firewall.ts';
import { indexRuleset } from '../../src/parsers/iptables-index.ts';
import { seekRuleset } from '../../src/parsers/iptables-sought.ts';
import { recordedFacts, recordedLabs } from '../support/bundle-nodes.ts';
import { all, edited, edits, ruleset } from '../support/iptables-texts.ts';

const seek = (text: string) => seekRuleset(text, 'unknown', () => indexRuleset(text, 'unknown').tables);

/** What is sought must be what reading line by line finds, also of chains that are not there. */
function expectSame(text: string): 'sought' | 'read' {
  const found = seek(text);
  if (found === null) return 'read';
  const { parsed, tables } = indexRuleset(text, 'unknown');
  if (!parsed.ok) throw new Error(`sought in what cannot be read: ${parsed.why}`);
  expect(parsed.skipped).toEqual([]);
  const names = (t: IptTable) => new Set([...(tables.get(t.name)?.chains.keys() ?? []), 'NEW', 'ZZZ', 'KUBE-SVC-RS']);
  expect(all(found, names)).toEqual(all(parsed.value, names));
  for (const [name, table] of found.tables)
    expect([...table.chains.keys()]).toEqual([...(tables.get(name)?.chains.keys() ?? [])]);
  return 'sought';
}

describe('a ruleset whose chains are looked for', () => {
  it('is found as reading finds it, with and without counters', () => {
    expect(expectSame(ruleset(400, 1))).toBe('sought');
    expect(expectSame(ruleset(400, 2).replace(/^-A /gm, '[12:3456] -A '))).toBe('sought');
    expect(expectSame(ruleset(400, 1).replace('-A PREROUTING -j', '[1:60] -A PREROUTING -j'))).toBe('sought');
  });

  it('is sought in what the programs wrote', () => {
    const root = new URL('../../fixtures/evidence/', import.meta.url).pathname;
    for (const item of ['fw.iptables-save', 'fw.iptables-nft-save', 'fw.iptables-legacy-save']) {
      const results = readdirSync(join(root, item)).map((name) =>
        expectSame(readFileSync(join(root, item, name), 'latin1')),
      );
      expect(results, item).toContain('sought');
    }
  });

  it('is sought in what the collector took from labs', async () => {
    const kinds = [
      'iptables',
      'iptablesNft',
      'iptablesLegacy',
      'ip6tables',
      'ip6tablesNft',
      'ip6tablesLegacy',
    ] as const;
    let sought = 0;
    for (const lab of recordedLabs()) {
      const texts: string[] = [];
      const facts = await recordedFacts(lab, (_node, path, text) => {
        if (/tables.*save/.test(path)) texts.push(text);
        return text;
      });
      for (const node of facts) for (const kind of kinds) node.get(kind);
      for (const text of texts) if (expectSame(text) === 'sought') sought += 1;
    }
    expect(sought).toBeGreaterThan(30);
  });

  it('gives up on what is out of the ordinary', () => {
    const text = ruleset(40, 1);
    expect(seek(text.slice(0, -40))).toBeNull();
    expect(seek(text.replaceAll('\n', '\r\n'))).toBeNull();
    expect(seek(`# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n${text}`)).toBeNull();
    expect(seek(text.replace(':KUBE-SERVICES - [0:0]', ':KUBE-SERVICES - [0:0]\n:KUBE-SERVICES - [1:60]'))).toBeNull();
    expect(seek(`${text}*nat\nCOMMIT\n`)).toBeNull();
    expect(seek('')).toBeNull();
    const [first = '', ...rest] = text.split('\n').filter((l) => l.startsWith('-A KUBE-SERVICES'));
    const torn = text
      .replace(`${first}\n`, '')
      .replace(`${rest.at(-1)}\n`, `${rest.at(-1)}\n-A KUBE-NEW -j DROP\n${first}\n`);
    expect(seek(torn)).toBeNull();
  });

  it('reads the rules of a long chain once for all nodes that have the same', () => {
    const chain = (node: number, change = (text: string) => text) =>
      seek(change(ruleset(400, node, node)))
        ?.tables.get('nat')
        ?.chains.get('KUBE-SERVICES');
    const [seven, eight] = [chain(7), chain(8)];
    expect(seven?.ruleCount).toBe(400);
    expect(seven?.texts()).toBe(eight?.texts());
    expect(seven?.shared()).toBe(eight?.shared());
    expect(seven?.rule(5).line).toBe((eight?.rule(5).line ?? 0) - 2);
    const other = chain(9, (text) => text.replace('-d 10.96.0.5/32', '-d 10.96.0.5/31'));
    expect(other?.rule(5).destination?.value).toBe('10.96.0.5/31');
    expect(chain(9)?.rule(5).destination?.value).toBe('10.96.0.5/32');
  });

  it('finds in any edited text what reading finds', () => {
    let sought = 0;
    fc.assert(
      fc.property(edits, fc.nat(9), (list, node) => {
        const lines = ruleset(60, node, node).split('\n');
        for (const one of list) edited(lines, one);
        if (expectSame(lines.join('\n')) === 'sought') sought += 1;
      }),
      { numRuns: 400 },
    );
    expect(sought).toBeGreaterThan(100);
  });
});
