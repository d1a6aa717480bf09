import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import type { IptRule, Ruleset } from '../../src/facts/firewall.ts';
import { readRuleset } from '../../src/parsers/iptables-index.ts';
import { printRule, printRuleset } from '../../src/parsers/iptables-print.ts';
import { lineOf, parse, sample } from './firewall-docker-samples.ts';

const withoutComments = (text: string) =>
  text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');

function read(text: string, skipped: readonly number[] = []): Ruleset {
  return parse('iptables', text, skipped);
}

function ruleOf(line: string): IptRule {
  return read(`*filter\n${line}\nCOMMIT\n`).tables.get('filter')!.chains.values().next().value!.rules()[0]!;
}

const rulesOf = (set: Ruleset) =>
  [...set.tables.values()].flatMap((t) => [...t.chains.values()].flatMap((c) => c.rules()));

describe('real samples', () => {
  const samples = [
    ['fw.iptables-nft-save', 'rare-matches', 'nft'],
    ['fw.iptables-nft-save', 'rare-matches-plain', 'nft'],
    ['fw.iptables-legacy-save', 'rare-matches', 'legacy'],
    ['fw.iptables-legacy-save', 'rare-matches-plain', 'legacy'],
    ['fw.iptables-legacy-save', 'kube-flannel-ufw', 'legacy'],
    ['fw.iptables-save', 'docker-20.10', 'nft'],
    ['fw.iptables-save', 'incompatible', 'nft'],
    ['fw.ip6tables-nft-save', 'six', 'nft'],
    ['fw.ip6tables-legacy-save', 'six', 'legacy'],
  ] as const;
  test.each(samples)('%s/%s is printed as it was saved', (evidence, name, backend) => {
    const text = sample(evidence, name);
    const set = read(text);
    expect(set).toMatchObject({ backend, version: '1.8.9' });
    expect(printRuleset(set)).toBe(withoutComments(text));
    for (const rule of rulesOf(set)) {
      expect(rule.unplaced).toBeUndefined();
      expect(lineOf(text, rule.line)).toContain(rule.text);
    }
    for (const table of set.tables.values()) {
      expect(lineOf(text, table.line)).toBe(`*${table.name}`);
      expect(lineOf(text, table.commitLine!)).toBe('COMMIT');
      for (const chain of table.chains.values()) {
        expect(lineOf(text, chain.line)).toMatch(`:${chain.name} ${chain.policy ?? '-'} `);
        expect(chain.rules()).toHaveLength(chain.ruleCount);
      }
    }
  });

  test('markers of what the text does not show', () => {
    const text = sample('fw.iptables-save', 'incompatible');
    const { markers } = read(text);
    expect(markers.map((m) => [m.kind, m.table])).toEqual([
      ['legacy-tables-present', undefined],
      ['incompatible-table', 'nat'],
    ]);
    for (const marker of markers) expect(lineOf(text, marker.line)).toBe(marker.text);
  });

  test('a warning of stderr that tears a rule', () => {
    const text = sample('fw.iptables-nft-save', 'kube-flannel-ufw-torn');
    const set = read(text);
    expect(set.markers.map((m) => [m.kind, lineOf(text, m.line - 1).endsWith(m.text)])).toEqual([
      ['legacy-tables-present', true],
    ]);
    const rule = rulesOf(set).find((r) => r.destination?.value === '10.96.0.1/32')!;
    expect(printRule(rule)).toBe(
      '-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y',
    );
  });
});

const tools = (() => {
  try {
    execFileSync('unshare', ['-n', 'iptables-legacy-save', '-V']);
    return true;
  } catch (error) {
    if (process.env.CI)
      throw new Error('this is CI, and iptables-legacy does not run in a namespace', { cause: error });
    console.warn('skipped: no kernel to load printed rules into (root, unshare, iptables-legacy)');
    return false;
  }
})();

test.skipIf(!tools).each(['nft', 'legacy'])('a kernel takes the print and saves it back (%s)', (backend) => {
  const text = sample(backend === 'nft' ? 'fw.iptables-nft-save' : 'fw.iptables-legacy-save', 'rare-matches-plain');
  const printed = printRuleset(read(text));
  const script = `ipset create foo hash:ip,port && iptables-${backend}-restore && iptables-${backend}-save`;
  const saved = execFileSync('unshare', ['-n', 'sh', '-c', script], {
    input: printed,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  expect(read(saved).tables.size).toBe(4);
  // a restore may list the tables in another order, and each reading of a rate or a quota may round: compare rule by rule
  const sorted = (set: Ruleset) => rulesOf(set).map(printRule).sort();
  expect(sorted(read(saved))).toEqual(sorted(read(printed)));
});

describe('rules', () => {
  test('every part', () => {
    const line =
      '[3:180] -A FORWARD ! -s 10.0.0.0/8 -d 1.2.3.4/32 ! -i docker0 -o br+ -p tcp -f -m comment --comment "a \\"b\\" \\\\ -j DROP" -m tcp ! --tcp-flags FIN,SYN SYN -m conntrack --ctstate NEW -j DNAT --to-destination 10.0.0.1:80 --persistent';
    expect(ruleOf(line)).toEqual({
      line: 2,
      chain: 'FORWARD',
      text: line.slice(8),
      packets: 3,
      bytes: 180,
      source: { negated: true, value: '10.0.0.0/8' },
      destination: { negated: false, value: '1.2.3.4/32' },
      inDevice: { negated: true, value: 'docker0' },
      outDevice: { negated: false, value: 'br+' },
      protocol: { negated: false, value: 'tcp' },
      fragment: { negated: false, value: true },
      matches: [
        { name: 'comment', options: [{ flag: '--comment', negated: false, values: ['a "b" \\ -j DROP'] }] },
        { name: 'tcp', options: [{ flag: '--tcp-flags', negated: true, values: ['FIN,SYN', 'SYN'] }] },
        { name: 'conntrack', options: [{ flag: '--ctstate', negated: false, values: ['NEW'] }] },
      ],
      target: {
        kind: 'jump',
        name: 'DNAT',
        options: [
          { flag: '--to-destination', negated: false, values: ['10.0.0.1:80'] },
          { flag: '--persistent', negated: false, values: [] },
        ],
      },
      comment: 'a "b" \\ -j DROP',
    });
  });

  const forms: [string, string][] = [
    ['-A X -i ! docker0 -j DROP', '-A X ! -i docker0 -j DROP'],
    ['-A X -p tcp -m tcp --dport ! 80 -j DROP', '-A X -p tcp -m tcp ! --dport 80 -j DROP'],
    ['-A X -p tcp --dport 80 -j ACCEPT', '-A X -p tcp -m tcp --dport 80 -j ACCEPT'],
    ['-A X -p tcp -j ACCEPT --dport 80', '-A X -p tcp -m tcp --dport 80 -j ACCEPT'],
    ['-A X --source 10.0.0.1 --jump C', '-A X -s 10.0.0.1 -j C'],
    ['-A X -j C -m comment --comment after', '-A X -m comment --comment after -j C'],
    ['-A X -g C', '-A X -g C'],
    ['-A X', '-A X'],
    ['-A X -c 5 300 -j C', '-A X -j C'],
    ['-A X -m comment --comment -j -j C', '-A X -m comment --comment -j -j C'],
    ['-A X -m comment --comment "it\'s" -j C', '-A X -m comment --comment "it\'s" -j C'],
    ['-A X -m comment --comment "\\\'q\\\'" -j C', '-A X -m comment --comment "\\\'q\\\'" -j C'],
    ['-A X -m policy --dir in --pol ipsec --proto esp -j C', '-A X -m policy --dir in --pol ipsec --proto esp -j C'],
    [
      '-A X -m rateest --rateest-delta --rateest-bps1 -5 -j C',
      '-A X -m rateest --rateest-delta --rateest-bps1 -5 -j C',
    ],
  ];
  test.each(forms)('%s', (line, printed) => {
    const rule = ruleOf(line);
    expect(rule.unplaced).toBeUndefined();
    expect(printRule(rule)).toBe(printed);
  });

  const odd: [string, string[]][] = [
    ['-A X stray -j C', ['stray']],
    ['-A X -m foo [unsupported revision] -j C', ['[unsupported', 'revision]']],
    ['-A X -j A -j B', ['-j', 'B']],
    ['-A X -j C !', ['!']],
    ['-A X ! ! -i lo -j C', ['!']],
    ['-A X --dport 80 -j C', ['--dport', '80']],
    ['-A X -p tcp -m tcp --dport 80 81 -j C', ['81']],
    ['-A X -i', ['-i']],
    ['-A X -m comment --comment "open', ['"']],
  ];
  test.each(odd)('%s is not understood whole', (line, unplaced) => {
    expect(ruleOf(line).unplaced).toEqual(unplaced);
  });
});

describe('files', () => {
  const header = (line: string) => read(`${line}\n*filter\nCOMMIT\n`);
  test.each([
    ['# Generated by iptables-save v1.8.9 (nf_tables) on x', 'nft', '1.8.9'],
    ['# Generated by iptables-nft-save v1.8.9 (nf_tables) on x', 'nft', '1.8.9'],
    ['# Generated by iptables-save v1.8.9 (legacy) on x', 'legacy', '1.8.9'],
    ['# Generated by iptables-save v1.8.9 on x', 'legacy', '1.8.9'],
    ['# Generated by iptables-save v1.4.21 on x', 'legacy', '1.4.21'],
    ['# Generated by xtables-save v1.8.2 on x', 'nft', '1.8.2'],
    ['# Generated by iptables-nft-save v1.8.7 on x', 'nft', '1.8.7'],
    // Ubuntu 22.04 and Debian 11: of nft as of legacy
    ['# Generated by iptables-save v1.8.7 on x', 'unknown', '1.8.7'],
    // RHEL 8
    ['# Generated by iptables-save v1.8.4 on x', 'unknown', '1.8.4'],
    ['# no header', 'unknown', undefined],
  ])('%s', (line, backend, version) => {
    const set = header(line);
    expect([set.backend, set.version]).toEqual([backend, version]);
  });

  test('without a header that names one the evidence kind says the backend', () => {
    const ubuntu = '# Generated by iptables-save v1.8.7 on x\n*filter\nCOMMIT\n';
    expect(parse('iptablesLegacy', ubuntu).backend).toBe('legacy');
    expect(parse('iptablesNft', ubuntu).backend).toBe('nft');
    expect(parse('iptablesNft', '*filter\nCOMMIT\n').backend).toBe('nft');
    expect(parse('netnsIptablesLegacy', '*filter\nCOMMIT\n').backend).toBe('legacy');
    expect(parse('iptablesLegacy', '')).toMatchObject({ backend: 'legacy', markers: [] });
  });

  test('rules of a chain may be scattered, lines may end in CR, tables may be cut', () => {
    const set = read('*nat\r\n:A - [1:2]\r\n-A A -j X\r\n-A B -j Y\r\n[1:2] -A A -j Z', [5]);
    const nat = set.tables.get('nat')!;
    // a cut table is said: nothing that is absent from it proves anything
    expect(nat.commitLine).toBeNull();
    expect(nat.chains.get('A')).toMatchObject({ ruleCount: 2, packets: 1, bytes: 2 });
    expect(
      nat.chains
        .get('A')!
        .rules()
        .map((r) => [r.line, r.text]),
    ).toEqual([
      [3, '-A A -j X'],
      [5, '-A A -j Z'],
    ]);
    expect(nat.chains.get('B')).toMatchObject({ policy: null, line: 4 });
  });

  test('names of chains that begin alike', () => {
    const chains = read('*nat\n-A KUBE-SVC -j X\n-A KUBE -j X\n-A KUBE-SVC-2 -j X\nCOMMIT\n').tables.get('nat')!.chains;
    expect([...chains].map(([name, c]) => [name, c.ruleCount])).toEqual([
      ['KUBE-SVC', 1],
      ['KUBE', 1],
      ['KUBE-SVC-2', 1],
    ]);
  });

  test('what is no line of iptables-save is named', () => {
    read('modprobe: FATAL\n*filter\n:A\nfoo\nCOMMIT\n-A A -j B\n', [1, 3, 4, 6]);
    expect(readRuleset('sh: iptables-save: not found\n', 'unknown')).toEqual({
      ok: false,
      why: 'no line of iptables-save form',
    });
  });

  test('a second block of a table is left out, and said so', () => {
    const set = read('*nat\n:A - [0:0]\nCOMMIT\n*nat\n:B - [0:0]\n-A B -j C\nCOMMIT\n', [4, 5, 6, 7]);
    expect([...set.tables.get('nat')!.chains.keys()]).toEqual(['A']);
    expect(set.markers).toMatchObject([{ kind: 'other', table: 'nat', line: 4 }]);
  });
});

test('20,000 rules are indexed at once', () => {
  const lines = ['*nat'];
  for (let i = 0; i < 6666; i += 1) lines.push(`:KUBE-SVC-${i} - [0:0]`);
  for (let i = 0; i < 6666; i += 1) {
    lines.push(`-A KUBE-SVC-${i} -d 10.96.${i >> 8}.${i & 255}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ`);
    lines.push(
      `-A KUBE-SVC-${i} -m statistic --mode random --probability 0.5 -j KUBE-SEP-${i}`,
      `-A KUBE-SVC-${i} -j KUBE-SEP-${i + 1}`,
    );
  }
  const text = Buffer.from(`${lines.join('\n')}\nCOMMIT\n`, 'latin1').toString('latin1');
  const times: number[] = [];
  for (let n = 0; n < 9; n += 1) {
    const before = process.threadCpuUsage();
    const parsed = readRuleset(text, 'nft');
    const { user, system } = process.threadCpuUsage(before);
    times.push((user + system) / 1000);
    expect(parsed.ok && parsed.value.tables.get('nat')!.chains.size).toBe(6666);
  }
  times.sort((a, b) => a - b);
  console.log(`index of ${(text.length / 1e6).toFixed(1)} MB, 19,998 rules: ${times[4]!.toFixed(2)} ms`);
  expect(times[0]!).toBeLessThan(50);
});
