import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EvidenceId } from '../../src/core/evidence.ts';
import type { FactKind } from '../../src/facts/index.ts';
import type { AnyParser } from '../../src/facts/parser.ts';
import { PARSERS } from '../../src/parsers/index.ts';
import { growth, LINEAR } from '../support/linear.ts';
import { samplesOf } from './firewall-docker-samples.ts';

const KINDS: readonly FactKind[] = [
  'iptables',
  'legacyTables',
  'iptablesVersion',
  'nftJson',
  'nftText',
  'ipsets',
  'ipvs',
  'dockerVersion',
  'dockerInfo',
  'dockerNetworks',
  'dockerNetworkList',
  'dockerContainers',
  'daemonJson',
  'dockerUnit',
  'dockerDefault',
  'dockerdArgs',
  'dockerSocket',
  'dockerSocketMounts',
  'containerdConfig',
  'criInfo',
  'kubeletConfig',
  'staticPods',
  'flannelNetConf',
  'cniConf',
  'cniLeases',
];
const EXTRA: Partial<Record<FactKind, readonly string[]>> = {
  ipvs: [
    '-A -t 10.96.0.1:443 -s rr\n-a -t 10.96.0.1:443 -r 10.0.0.1:6443 -m -w 1\n',
    'Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  0A600001:01BB rr\n  -> 0A000001:192B      Masq    1      0          0\n',
    'FWM  12345678 IPv6 rr persistent 360\n  -> [fd00:1::11]:8080            Tunnel  1      0          0\n',
  ],
  daemonJson: ['{\n "exec-opts": ["native.cgroupdriver=systemd"],\n "mtu": 1450\n}\n'],
  dockerDefault: ['DOCKER_OPTS="--mtu 1400 \\\n --x"\n# c\nA=\'b\'\n'],
  criInfo: ['{"config":{"containerd":{"runtimes":{"runc":{"options":{"SystemdCgroup":true}}}}}}\n'],
  kubeletConfig: ['cgroupDriver: systemd\nclusterDNS:\n- 10.96.0.10\nauth: {a: [1, &x b], c: *x}\ntext: |\n  a\n  b\n'],
  staticPods: ['kube-apiserver.yaml\n    - --service-cluster-ip-range=10.96.0.0/12\n'],
  flannelNetConf: ['{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}\n'],
  cniConf: ['{"name":"cbr0","plugins":[{"type":"flannel","delegate":{"hairpinMode":true}},{"type":"portmap"}]}\n'],
  cniLeases: ['/var/lib/cni/networks/cbr0/10.244.0.5:abc\n/var/lib/cni/networks/cbr0/10.244.0.5:eth0\n'],
};

function run(parser: AnyParser, text: string): void {
  const parsed = parser.parse(text);
  const lines = text.split('\n').length;
  if (!parsed.ok) {
    expect(parsed.why).not.toBe('');
    return;
  }
  for (const { line, why } of parsed.skipped) {
    expect(line).toBeGreaterThanOrEqual(1);
    expect(line).toBeLessThanOrEqual(lines);
    expect(why).not.toBe('');
  }
  if (parser.fact === 'iptables') {
    for (const table of (
      parsed.value as unknown as {
        tables: Map<string, { chains: Map<string, { rules(): readonly { line: number }[] }> }>;
      }
    ).tables.values())
      for (const chain of table.chains.values())
        for (const rule of chain.rules()) expect(rule.line).toBeLessThanOrEqual(lines);
  }
}

const words = fc.constantFrom(
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  '\\',
  ' ',
  '\n',
  '\t',
  ',',
  ':',
  '=',
  '!',
  '-A X',
  '*nat',
  ':X - [0:0]',
  'COMMIT',
  '# Warning: iptables-legacy tables present',
  '-m',
  '-j',
  '--comment',
  '__proto__',
  'constructor',
  'chain c {',
  'table ip t {',
  '"""',
  '- ',
  '&a ',
  '*a',
  'create a hash:net',
  'add a 1.2.3.4',
  '\u0000',
  '\uFEFF',
  '\uD800',
);

describe.each(KINDS.map((kind) => [kind, PARSERS.find((p) => p.fact === kind)!] as const))('%s', (kind, parser) => {
  const texts = [...(EXTRA[kind] ?? []), ...parser.evidence.flatMap((id: EvidenceId) => samplesOf(id))];

  test('never throws', () => {
    expect(texts.length).toBeGreaterThan(0);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => run(parser, text)),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 40 }), (parts) => run(parser, parts.join(''))),
      { numRuns: 200 },
    );
    const places = fc.array(fc.tuple(fc.nat(), fc.nat(20), words), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.constantFrom(...texts), places, fc.nat(), (text, changes, cut) => {
        let mutated = text;
        for (const [at, length, word] of changes) {
          const from = at % (mutated.length + 1);
          mutated = mutated.slice(0, from) + word + mutated.slice(from + length);
        }
        run(parser, cut % 3 === 0 ? mutated.slice(0, cut % (mutated.length + 1)) : mutated);
      }),
      { numRuns: 100 },
    );
  });

  test('takes twice the time for twice the text', () => {
    const seeds = [
      ...texts.slice(0, 2),
      '{',
      '[',
      '"',
      '-A X -m a ! --b "c" ',
      '*a\n[',
      '[1:2',
      'priority a ',
      "'''\n",
      'a=[\n',
      '- a\n',
      '&a b: *a\n',
      '# Warning: ip',
      'add a b\n',
      '\\\n',
    ];
    for (const seed of seeds) {
      const build = (size: number) => seed.repeat(Math.max(1, Math.ceil(size / seed.length)));
      const ratio = growth((text) => parser.parse(text), build);
      expect(ratio, `${kind}: ${JSON.stringify(seed.slice(0, 30))}`).toBeLessThan(LINEAR);
    }
  }, 180_000);
});
