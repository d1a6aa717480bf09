import { describe, expect, test } from 'vitest';
import { readPriority } from '../../src/parsers/nft-priority.ts';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

describe('nft text', () => {
  test.each(['handles', 'plain'])('%s: lines and names', (name) => {
    const text = sample('fw.nft', name);
    const value = parse('nftText', text);
    expect(value.tables.map((t) => `${t.family} ${t.name}`)).toEqual([
      'ip mangle',
      'ip filter',
      'ip nat',
      'ip6 filter',
      'inet filter',
      'ip mynat',
      'bridge br',
      'netdev nd',
      'arp a',
    ]);
    for (const table of value.tables) {
      expect(lineOf(text, table.line)).toMatch(`table ${table.family} ${table.name} {`);
      expect(lineOf(text, table.endLine!)).toBe('}');
    }
    for (const chain of value.chains) {
      expect(lineOf(text, chain.line)).toMatch(`chain ${chain.name} {`);
      expect(lineOf(text, chain.endLine!)).toBe('}');
      if (chain.hookLine !== undefined)
        expect(lineOf(text, chain.hookLine)).toMatch(`type ${chain.type} hook ${chain.hook} `);
    }
    for (const rule of value.rules) {
      const cited = text
        .split('\n')
        .slice(rule.line - 1, rule.endLine ?? rule.line)
        .map((l) => l.trim())
        .join(' ');
      expect(cited).toBe(name === 'handles' ? `${rule.text} # handle ${rule.handle}` : rule.text);
    }
    expect(value.rules.filter((r) => r.table === 'filter' && r.family === 'inet').map((r) => r.chain)).toEqual([
      'web',
      'input',
      'input',
      'input',
      'input',
      'input',
      'fw',
    ]);
  });

  test('handles and verdict words agree with the JSON of the same ruleset', () => {
    const json = parse('nftJson', sample('fw.nft-json', 'ruleset'));
    const { chains, rules } = parse('nftText', sample('fw.nft', 'handles'));
    const key = (c: { family: string; table: string; name: string; handle?: number }) => [
      c.family,
      c.table,
      c.name,
      c.handle,
    ];
    const hooks = (list: readonly { hook?: string; type?: string; policy?: string; priority?: number }[]) =>
      list.map((c) => [c.type, c.hook, c.policy, c.priority]);
    expect(chains.map(key)).toEqual(json.chains.map(key));
    expect(hooks(chains)).toEqual(hooks(json.chains));
    expect(rules.map((r) => [r.family, r.table, r.chain, r.handle])).toEqual(
      json.rules.map((r) => [r.family, r.table, r.chain, r.handle]),
    );
    expect(json.sets.map((s) => [s.name, s.map, s.flags, s.elements.length])).toEqual([
      ['blocked', false, ['interval'], 7],
      ['portmap', true, [], 2],
    ]);
  });

  test('a rule over several lines, a cut end, a merged warning', () => {
    const text =
      '# Warning: table ip nat is managed by iptables-nft, do not touch!\ntable ip t {\n\tchain c {\n\t\tip saddr { 10.0.0.1,\n\t\t\t 10.0.0.2 } drop # handle 4\n\t\taccept';
    // the braces that are missing tell that more may have followed
    const { rules, chains } = parse('nftText', text, [6]);
    expect(rules.map((r) => [r.line, r.endLine, r.text, r.handle])).toEqual([
      [4, 5, 'ip saddr { 10.0.0.1, 10.0.0.2 } drop', 4],
      [6, undefined, 'accept', undefined],
    ]);
    expect(chains).toMatchObject([{ name: 'c', line: 3, endLine: 6 }]);
    expect(parserOf('nftText').parse('sh: nft: not found')).toMatchObject({ ok: false });
    parse('nftText', 'netlink: Error\ntable ip t {\n}\n', [1]);
  });

  test.each([
    ['filter', 'ip', 0],
    ['filter + 10', 'inet', 10],
    ['dstnat - 1', 'bridge', -301],
    ['out', 'bridge', 100],
    ['out', 'ip', null],
    ['srcnat', 'ip', 100],
    ['raw', 'ip6', -300],
    ['-5', 'ip', -5],
    ['filter - 5', 'inet', -5],
    ['foo', 'ip', null],
  ])('priority %s of %s', (text, family, value) => {
    expect(readPriority(text, family)).toBe(value);
  });

  test('JSON that is none', () => {
    expect(parserOf('nftJson').parse('{"nftables": [')).toMatchObject({ ok: false });
    expect(parserOf('nftJson').parse('[]')).toMatchObject({ ok: false });
    parse('nftJson', '{"nftables":[{"metainfo":{}},{"new thing":{}},{"rule":{"family":"ip"}}]}', [1, 1]);
  });
});

test.each(['save', 'list'])('ipset %s', (name) => {
  const text = sample('fw.ipset-save', name);
  const { sets } = parse('ipsets', text);
  const bySet = new Map(sets.map((s) => [s.name, s]));
  expect(sets.map((s) => [s.name, s.type, s.family, s.entries.length]).sort()).toEqual([
    ['KUBE-CLUSTER-IP', 'hash:ip,port', 4, 2],
    ['all', 'list:set', 4, 1],
    ['cnt', 'hash:ip', 4, 1],
    ['nets', 'hash:net', 4, 2],
    ['ports', 'bitmap:port', 4, 1],
    ['six', 'hash:net', 6, 1],
  ]);
  expect(bySet.get('nets')!.entries).toMatchObject([
    { text: '10.0.0.0/8', nomatch: false, timeout: 99 },
    { text: '10.1.0.0/16', nomatch: true, timeout: 299 },
  ]);
  for (const set of sets) {
    expect(lineOf(text, set.line)).toContain(set.name);
    for (const entry of set.entries) expect(lineOf(text, entry.line)).toContain(entry.text);
  }
});

// the last lines of `ipset list` of a set with three members, cut with head
test('ipset list: fewer members than it says', () => {
  const list =
    'Name: blocked\nType: hash:ip\nRevision: 5\nHeader: family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1\nSize in memory: 352\nReferences: 0\nNumber of entries: 3\nMembers:\n192.0.2.1\n192.0.2.2\n';
  parse('ipsets', list, [10]);
  parse('ipsets', `${list}192.0.2.3\n`);
  // members with a timeout that is over are counted for a while
  parse('ipsets', list.replace('maxelem', 'timeout 60 maxelem'));
});

test('ipset: words of a comment are no options', () => {
  const { sets } = parse(
    'ipsets',
    'create a hash:net family inet\nadd a 10.0.0.0/8 comment "x nomatch timeout 5 "\nadd b 1.2.3.4\n',
    [3],
  );
  expect(sets[0]!.entries).toEqual([{ line: 2, text: '10.0.0.0/8', nomatch: false }]);
});

test.each([
  [sample('fw.iptables-version', 'debian-12'), 'nft', '1.8.9'],
  ['iptables v1.8.9 (legacy)\n', 'legacy', '1.8.9'],
  ['iptables v1.4.21\n', 'legacy', '1.4.21'],
  ['iptables v1.8.0\n/usr/sbin/xtables-nft-multi\n', 'nft', '1.8.0'],
  ['iptables v1.8.0\n', 'unknown', '1.8.0'],
])('version %#', (text, backend, version) => {
  expect(parse('iptablesVersion', text)).toEqual({ backend, version, line: 1 });
});

test('names of legacy tables', () => {
  const { tables } = parse('legacyTables', sample('fw.ip-tables-names', 'three'));
  expect(tables).toEqual([
    { line: 1, name: 'nat' },
    { line: 2, name: 'filter' },
    { line: 3, name: 'mangle' },
  ]);
  expect(parse('legacyTables6', '')).toEqual({ tables: [] });
  expect(parserOf('legacyTables').parse('cat: no such file')).toMatchObject({ ok: false });
});
