import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FACT_SOURCES } from '../../src/facts/index.ts';
import { PARSERS } from '../../src/parsers/index.ts';
import { growth, LINEAR } from '../support/linear.ts';
import { parserOf, samplesOf } from './firewall-docker-samples.ts';
import { accounted, NETWORK_KINDS, placesOf } from './network-samples.ts';

const words = fc.constantFrom(
  ...'{ } [ ] " \' \\ , : = @ % / * - 1: 2: <UP> lo: inet inet6 link/ether valid_lft vxlan bridge_slave nexthop default via dev metric lock encap table from all lookup not fwmark users:(( [::]:80 tcp LISTEN UNCONN __proto__ constructor -1 4294967296 0x0 2/1 {"ifname":"a" "ifindex":1 Mask: addr: 8000.000000000000 yes'.split(
    ' ',
  ),
  ' ',
  '\n',
  '\t',
  '    ',
  '\\    ',
  '\n    ',
  '\r\n',
  '\u0000',
  '\uFEFF',
  '\uD800',
);

const samplesBy = (kind: (typeof NETWORK_KINDS)[number]) => {
  // text forms of the host stand for the same command in a namespace
  const ids = new Set(
    [kind, ...PARSERS.filter((p) => p.parse === parserOf(kind).parse).map((p) => p.fact)].flatMap((k) => [
      ...FACT_SOURCES[k],
    ]),
  );
  const sameForm = kind.startsWith('netns') ? kind.slice(5, 6).toLowerCase() + kind.slice(6) : kind;
  for (const id of FACT_SOURCES[sameForm as typeof kind] ?? []) ids.add(id);
  return [...ids].flatMap((id) => samplesOf(id)).filter((text) => text !== '');
};

test('every source of these facts has a parser', () => {
  const read = new Set(PARSERS.flatMap((p) => p.evidence.map((id) => `${p.fact} ${id}`)));
  for (const kind of NETWORK_KINDS) for (const id of FACT_SOURCES[kind]) expect(read).toContain(`${kind} ${id}`);
});

describe.each(NETWORK_KINDS)('%s', (kind) => {
  const texts = samplesBy(kind);

  test('every line of every sample is in the value or skipped', () => {
    expect(texts.length).toBeGreaterThan(0);
    const read = texts.map((text) => accounted(kind, text));
    expect(read.some((r) => r !== null)).toBe(true);
  });

  test('never throws, places stay inside the text, no line is lost', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => void accounted(kind, text)),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 40 }), fc.constantFrom(' ', '\n', ''), (parts, glue) => {
        accounted(kind, parts.join(glue));
      }),
      { numRuns: 300 },
    );
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(20), words), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.constantFrom(...texts), changes, fc.nat(), (text, list, cut) => {
        let mutated = text;
        for (const [at, length, word] of list) {
          const from = at % (mutated.length + 1);
          mutated = mutated.slice(0, from) + word + mutated.slice(from + length);
        }
        accounted(kind, cut % 3 === 0 ? mutated.slice(0, cut % (mutated.length + 1)) : mutated);
      }),
      { numRuns: 200 },
    );
  });

  // facts that share a reader share its speed
  if (NETWORK_KINDS.find((k) => parserOf(k).parse === parserOf(kind).parse) !== kind) return;
  test('takes twice the time for twice the text', () => {
    const seeds = [
      ...texts.slice(0, 3),
      ...'{ [ " : \\ ( 1: <'.split(' '),
      ' ',
      '\r',
      '\t\n',
      ' a',
      '1: a: <',
      '1: a: <UP> \\    inet 1.2.3.4/8 ',
      '    inet 10.0.0.1/8 a\n',
      '    inet addr:10.0.0.1  Mask:255.0.0.0\n',
      'eth0:1    Link encap:Ethernet\n',
      '\n1',
      '\t\t\ta\n',
      '\tnexthop via 1.1.1.1 dev a\n',
      'via inet6 ',
      'encap ',
      'a 1.2.3.4 ',
      '{"a":',
      '[{},',
      ',{"ifindex":1,"ifname":"a"}',
      '("a",',
      'users:((',
      '=:',
      'not from ',
    ];
    const heads = [
      '',
      '1: a: <UP> mtu 1\n',
      '10.0.0.0/8 ',
      'eth0      Link encap:Ethernet\n',
      'br0\t8000.000000000000\tno\n',
      'IP address HW type \n',
      '[{"ifindex":1,"ifname":"b"}',
      'tcp LISTEN 0 0 *:1 *:* users:((',
    ];
    const parser = parserOf(kind);
    for (const seed of seeds)
      for (const head of heads) {
        const build = (size: number) => head + seed.repeat(Math.max(1, Math.ceil(size / seed.length)));
        const ratio = growth((text) => parser.parse(text), build);
        expect(ratio, `${kind}: ${JSON.stringify((head + seed).slice(0, 40))}`).toBeLessThan(LINEAR);
      }
  }, 180_000);
});

test('many lines that are not read do not fill the stack', () => {
  for (const kind of NETWORK_KINDS)
    for (const text of [
      `[{"a":1},{"a":${'\n'.repeat(300_000)}1}]`,
      `[{"a":1}${'\nx'.repeat(300_000)}`,
      'x\n'.repeat(300_000),
    ])
      expect(parserOf(kind).parse(text)).toHaveProperty('ok');
});

test('a broken text cites nothing', () => {
  for (const kind of NETWORK_KINDS) {
    const parsed = parserOf(kind).parse('[{"a":1},');
    if (parsed.ok) for (const { line } of placesOf(parsed.value)) expect(line).toBe(1);
  }
});
