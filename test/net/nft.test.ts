import { describe, expect, it } from 'vitest';
import { formatAddr } from '../../src/net/addr.ts';
import { hostOf, packet, run, verdicts } from './hook-nodes.ts';

const POD = packet({ src: '10.244.1.10', dst: '10.244.2.10', iif: 'cni0', oif: 'eth0' });

const CHAIN = {
  family: 'inet',
  table: 't',
  name: 'c',
  handle: 1,
  type: 'filter',
  hook: 'forward',
  prio: 0,
  policy: 'accept',
};

/** One base chain of a native table with these rules, in front of nothing else. */
function table(rules: readonly (readonly object[])[], chain: object = {}, more: readonly object[] = []) {
  const base = { ...CHAIN, ...chain };
  const { family } = base;
  const objects = [
    { table: { family, name: 't', handle: 1 } },
    { chain: base },
    ...more,
    ...rules.map((expr, i) => ({ rule: { family, table: 't', chain: 'c', handle: 10 + i, expr } })),
  ];
  return hostOf({ 'fw.nft-json': JSON.stringify({ nftables: objects }) });
}

const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const meta = (key: string) => ({ meta: { key } });
const DROP = { drop: null };
const dropped = (...expr: object[]) => verdicts(run(table([[...expr, DROP]]), 'forward', POD));

describe('nft expressions', () => {
  it.each([
    ['ip daddr', [match(payload('ip', 'daddr'), '10.244.2.10')], 'drop'],
    [
      'ip saddr != prefix',
      [match(payload('ip', 'saddr'), { prefix: { addr: '10.244.0.0', len: 16 } }, '!=')],
      'accept',
    ],
    ['ip6 saddr of an IPv4 packet', [match(payload('ip6', 'saddr'), '::1', '!=')], 'accept'],
    ['tcp dport in a set', [match(payload('tcp', 'dport'), { set: [22, { range: [79, 81] }] })], 'drop'],
    ['udp dport of a TCP packet', [match(payload('udp', 'dport'), 53, '!=')], 'accept'],
    ['iifname wildcard', [match(meta('iifname'), 'cni*')], 'drop'],
    ['mark bits', [match({ '&': [meta('mark'), 0x4000] }, 0x4000)], 'accept'],
    ['ct state in', [match({ ct: { key: 'state' } }, ['established', 'new'], 'in')], 'drop'],
    ['ct status dnat', [match({ ct: { key: 'status' } }, 'dnat', 'in')], 'accept'],
    ['tcp flags', [match({ '&': [payload('tcp', 'flags'), ['syn', 'ack']] }, 'syn')], 'drop'],
    ['fib daddr type', [match({ fib: { result: 'type', flags: ['daddr'] } }, 'local')], 'accept'],
    [
      'a concatenation',
      [
        match(
          { concat: [payload('ip', 'daddr'), payload('tcp', 'dport')] },
          { set: [{ concat: ['10.244.2.10', 80] }] },
        ),
      ],
      'drop',
    ],
    ['a source port that is not known', [match(payload('tcp', 'sport'), 40000)], 'accept|drop'],
    [
      'a source port that is not known, in a set',
      [match(payload('tcp', 'sport'), { set: [22, 40000] })],
      'accept|drop',
    ],
    ['a source port that cannot be one of a set', [match(payload('tcp', 'sport'), { set: [22, 80] })], 'accept'],
    ['an unknown statement', [{ whatever: {} }], 'accept|drop'],
    ['an unknown expression', [match({ osf: {} }, 'Linux')], 'accept|drop'],
    [
      'an unknown expression that another one excludes',
      [match({ osf: {} }, 'Linux'), match(payload('tcp', 'dport'), 81)],
      'accept',
    ],
    ['a limit at rest', [{ limit: { rate: 5, per: 'second' } }], 'drop'],
    ['over a limit at rest', [{ limit: { rate: 5, per: 'second', inv: true } }], 'accept'],
  ])('%s', (_, expr, expected) => {
    expect(dropped(...expr)).toBe(expected);
  });

  it.each([
    ['5 a second', { rate: 5, per: 'second' }, 'accept|drop'],
    ['more than a container sends', { rate: 5000, per: 'second' }, 'accept'],
    ['over 5 a second', { rate: 5, per: 'second', inv: true }, 'drop'],
  ])('lets through what keeps a limit, and drops the rest: %s', (_, limit, expected) => {
    expect(verdicts(run(table([[{ limit }, { accept: null }], [DROP]]), 'forward', POD))).toBe(expected);
  });

  it('does not call the chains of a dormant table', () => {
    const objects = (flags: object) => [
      { table: { family: 'ip', name: 't', handle: 1, ...flags } },
      { chain: { ...CHAIN, family: 'ip', policy: 'drop' } },
    ];
    const of = (flags: object) => hostOf({ 'fw.nft-json': JSON.stringify({ nftables: objects(flags) }) });
    expect(verdicts(run(of({}), 'forward', POD))).toBe('drop');
    expect(verdicts(run(of({ flags: ['owner'] }), 'forward', POD))).toBe('drop');
    expect(verdicts(run(of({ flags: ['dormant'] }), 'forward', POD))).toBe('accept');
  });

  it('asks the text form where nft 1.0.6 wrote a word of its memory in place of the flag', () => {
    const json = JSON.stringify({
      nftables: [
        { table: { family: 'ip', name: 't', handle: 1, flags: 't' } },
        { chain: { ...CHAIN, family: 'ip', policy: 'drop' } },
      ],
    });
    const text = (flag: string) =>
      `table ip t { # handle 1\n\tflags ${flag}\n\n\tchain ${CHAIN.name} { # handle 1\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n`;
    const of = (files: Record<string, string>) => run(hostOf({ 'fw.nft-json': json, ...files }), 'forward', POD);
    expect(verdicts(of({ 'fw.nft': text('dormant') }))).toBe('accept');
    expect(verdicts(of({ 'fw.nft': text('owner').replace('{ # handle', '{ # progname nft # handle') }))).toBe('drop');
    expect(JSON.stringify(of({}).map((w) => w.doubts))).toContain('whether nft table ip t is dormant is not known');
  });

  it('follows a verdict map of a kube-proxy', () => {
    const more = [
      { chain: { family: 'ip', table: 't', name: 'svc', handle: 2 } },
      { chain: { family: 'ip', table: 't', name: 'ep-a', handle: 3 } },
      { chain: { family: 'ip', table: 't', name: 'ep-b', handle: 4 } },
      {
        map: {
          family: 'ip',
          table: 't',
          name: 'service-ips',
          type: ['ipv4_addr', 'inet_proto', 'inet_service'],
          map: 'verdict',
          handle: 5,
          elem: [[{ concat: ['10.96.0.10', 'tcp', 80] }, { goto: { target: 'svc' } }]],
        },
      },
      {
        rule: {
          family: 'ip',
          table: 't',
          chain: 'svc',
          handle: 20,
          expr: [
            {
              vmap: {
                key: { numgen: { mode: 'random', mod: 2, offset: 0 } },
                data: {
                  set: [
                    [0, { goto: { target: 'ep-a' } }],
                    [1, { goto: { target: 'ep-b' } }],
                  ],
                },
              },
            },
          ],
        },
      },
      {
        rule: {
          family: 'ip',
          table: 't',
          chain: 'ep-a',
          handle: 21,
          expr: [
            match(payload('ip', 'saddr'), '10.244.1.10'),
            { mangle: { key: meta('mark'), value: { '|': [meta('mark'), 16384] } } },
          ],
        },
      },
      {
        rule: {
          family: 'ip',
          table: 't',
          chain: 'ep-a',
          handle: 22,
          expr: [{ dnat: { addr: '10.244.1.10', port: 8080 } }],
        },
      },
      {
        rule: {
          family: 'ip',
          table: 't',
          chain: 'ep-b',
          handle: 23,
          expr: [{ dnat: { addr: '10.244.2.10', port: 8080 } }],
        },
      },
    ];
    const key = { concat: [payload('ip', 'daddr'), meta('l4proto'), payload('th', 'dport')] };
    const space = table(
      [[{ vmap: { key, data: '@service-ips' } }]],
      { family: 'ip', type: 'nat', hook: 'prerouting', prio: -100 },
      more,
    );
    const ways = run(space, 'prerouting', { ...POD, dst: 0x0a60000a, oif: '' });
    expect(ways.map((w) => [formatAddr(w.packet.dst), w.packet.dport, w.packet.mark, w.probability])).toEqual([
      ['10.244.1.10', 8080, 0x4000, 0.5],
      ['10.244.2.10', 8080, 0, 0.5],
    ]);
    const other = run(space, 'prerouting', { ...POD, oif: '' });
    expect(other.map((w) => formatAddr(w.packet.dst))).toEqual(['10.244.2.10']);
  });
});
