import { describe, expect, test } from 'vitest';
import type { PolicyRules, Route, Routes } from '../../src/facts/index.ts';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

const to = ({ routes }: Routes, dst: string, table = 'main'): Route =>
  routes.find((r) => r.dst === dst && r.table === table)!;

/** Without places; `mtu lock` is not in JSON. */
const plain = ({ routes }: Routes) => routes.map(({ line, endLine, col, length, mtuLock, ...r }) => r);
const plainRules = ({ rules }: PolicyRules) => rules.map(({ line, endLine, col, length, ...r }) => r);

describe('ip route', () => {
  const text = sample('ip.route4', 'lab');
  const routes = parse('routes4', text);

  test.each<[string, string, Partial<Route>]>([
    ['0.0.0.0/0', 'main', { type: 'unicast', via: '192.168.56.1', dev: 'uplink', proto: 'boot', metric: 0 }],
    ['0.0.0.0/0', '100', { via: '192.168.56.254' }],
    ['10.63.0.0/16', '100', { type: 'throw' }],
    ['10.60.0.0/16', 'main', { type: 'blackhole' }],
    ['10.61.0.0/16', 'main', { type: 'unreachable', metric: 4278198272 }],
    ['10.62.0.0/16', 'main', { type: 'prohibit' }],
    ['10.64.0.0/16', 'main', { mtu: 1400, mtuLock: true, advmss: 1300 }],
    ['10.65.0.0/16', 'main', { mtu: 1390, src: '192.168.56.11', metric: 50 }],
    ['10.66.0.0/16', 'main', { tos: '0x10', scope: 'link' }],
    ['10.67.0.0/16', 'main', { nhid: 7, via: '192.168.56.2' }],
    ['10.68.0.0/16', 'main', { via: 'fd00:56::1', dev: 'uplink' }],
    ['10.71.0.0/16', 'main', { encap: 'ip', via: '192.168.56.2', dev: 'uplink' }],
    ['10.244.1.0/24', 'main', { via: '10.244.1.0', dev: 'flannel.1', flags: ['onlink'] }],
    ['192.168.57.2/32', 'main', { src: '192.168.57.1' }],
    ['10.244.0.255/32', 'local', { type: 'broadcast', dev: 'cni0' }],
  ])('%s in %s', (dst, table, want) => {
    const route = to(routes, dst, table);
    expect(route).toMatchObject(want);
    expect(lineOf(text, route.line)).toContain(dst === '0.0.0.0/0' ? 'default' : dst.replace('/32', ' '));
  });

  test('a hop limit', () => {
    const [route] = parse('routes4', 'default via 192.168.56.1 dev uplink hoplimit 63 mtu 1400\n').routes;
    expect(route).toMatchObject({ hopLimit: 63, mtu: 1400 });
    const json = [{ dst: 'default', gateway: '192.168.56.1', dev: 'uplink', flags: [], metrics: [{ hoplimit: 63 }] }];
    expect(parse('routes4', JSON.stringify(json)).routes).toMatchObject([{ hopLimit: 63 }]);
  });

  test('several next hops', () => {
    const route = to(routes, '10.50.0.0/16');
    expect(route.nexthops).toEqual([
      { via: '192.168.56.2', dev: 'uplink', weight: 1, flags: [] },
      { via: '192.168.56.3', dev: 'uplink', weight: 3, flags: [] },
    ]);
    expect(lineOf(text, route.endLine!)).toBe('nexthop via 192.168.56.3 dev uplink weight 3');
  });

  test('text and JSON of the same host', () => {
    const json = parse('routes4', sample('ip.route4-json', 'lab'));
    expect(plain(json)).toEqual(plain(routes));
    expect([json.allTables, routes.allTables]).toEqual([true, true]);
    // the encapsulation's own dst, src and tos come after the route's
    expect(to(json, '10.71.0.0/16').tos).toBeUndefined();
    const six = parse('routes6', sample('ip.route6', 'lab'));
    expect(plain(parse('routes6', sample('ip.route6-json', 'lab')))).toEqual(plain(six));
    expect(to(six, 'fd00:77::/64')).toMatchObject({ metric: 1024, nexthops: [{ weight: 1 }, { weight: 2 }] });
    expect(to(six, 'fd00:88::/64')).toMatchObject({ type: 'blackhole', dev: 'lo' });
  });

  test('ip route alone shows main only', () => {
    const main = parse('routes4', sample('ip.route4', 'main-only'));
    expect(main.allTables).toBe(false);
    expect(main.routes.map((r) => r.dst)).toEqual(routes.routes.filter((r) => r.table === 'main').map((r) => r.dst));
    expect(parse('routes4', '')).toEqual({ routes: [], allTables: true });
  });

  test('busybox: what it drops stays unknown', () => {
    const text4 = sample('ip.route4', 'busybox');
    const busybox = parse('routes4', text4, [4]);
    expect(lineOf(text4, 4)).toBe('10.50.0.0/16');
    expect(to(busybox, '10.61.0.0/16').metric).toBe(4278198272);
    expect(busybox.allTables).toBe(true);
    const six = parse('routes6', sample('ip.route6', 'busybox'), [2]);
    expect(to(six, 'fd00:88::/64').type).toBe('blackhole');
  });

  test('lines that are no routes', () => {
    const text =
      'garbage here\ndefault via 10.0.0.1 dev a table main\n  nexthop via 1.1.1.1 dev b weight 2\n10.0.0.0/8 dev a metric x\nfd00::/8 dev a\ndefault via fd00::1 dev a\n';
    const read = parse('routes4', text, [1, 4, 5, 6]);
    expect(read.routes).toMatchObject([{ via: '10.0.0.1', nexthops: [{ dev: 'b' }], line: 2, endLine: 3 }]);
    expect(parserOf('routes4').parse('\tnexthop via 1.1.1.1 dev b\n').ok).toBe(false);
    expect(parserOf('routes4').parse('[').ok).toBe(false);
  });

  test('a cut JSON keeps what is whole', () => {
    const text = sample('ip.route4-json', 'lab').slice(0, 400);
    const parsed = parserOf('routes4').parse(text);
    expect(parsed.ok && parsed.value.routes.map((r) => r.dst)).toEqual(['0.0.0.0/0', '10.63.0.0/16', '0.0.0.0/0']);
    expect(parsed.ok && parsed.skipped).toMatchObject([{ line: 1 }]);
  });

  test.each([
    ['ip.route4', 'route-n'],
    ['ip.route4', 'busybox-route-n'],
    ['proc.route', 'lab'],
  ] as const)('%s %s: the main table only', (id, name) => {
    const text = sample(id, name);
    const line = text.split('\n').findIndex((l) => /^10\.68\.|\t0000440A\t/.test(l)) + 1;
    const main = parse('routes4', text, [line]);
    expect(main.allTables).toBe(false);
    expect(to(main, '0.0.0.0/0')).toMatchObject({ via: '192.168.56.1', dev: 'uplink' });
    expect(to(main, '10.61.0.0/16')).toMatchObject({ type: 'unreachable', metric: 4278198272 });
    expect(to(main, '10.60.0.0/16').type).toBe('blackhole');
    expect(to(main, '10.244.0.0/24')).toMatchObject({ dev: 'cni0', type: 'unicast' });
    expect(to(main, '10.244.0.0/24').via).toBeUndefined();
  });
});

describe('ip route that was cut', () => {
  test.each([
    '10.244.2.0/24 via 10.24',
    '10.244.2.0/24 via 10.244.2.0',
    '10.244.2.0/24 via 10.24 dev eth0 proto static ',
    '10.244.2.0/24',
  ])('%s', (last) => {
    const read = parserOf('routes4').parse(`default via 192.168.10.1 dev eth0 \n${last}`);
    expect(read.ok && read.value.routes.map((r) => r.dst)).toEqual(['0.0.0.0/0']);
    expect(read.ok && read.skipped.map((s) => s.line)).toEqual([2]);
  });
});

describe('ip rule', () => {
  const text = sample('ip.rule4', 'lab');
  const rules = parse('rules4', text);

  test.each([
    [0, { action: 'lookup', table: 'local', not: false }],
    [110, { fwmark: 0x4000, fwmask: 0x4000, table: '100' }],
    [111, { not: true, fwmark: 0xca6c, table: '51820' }],
    [112, { table: 'main', suppressPrefixLength: 0 }],
    [120, { to: '10.9.0.0/16', iif: 'uplink' }],
    [121, { from: '10.244.0.5', oif: 'uplink', tos: '0x10', action: 'prohibit' }],
    [122, { ipproto: 'tcp', sport: '5', dport: '80-90' }],
    [123, { uidrange: '1000-2000', action: 'unreachable' }],
    [124, { action: 'blackhole' }],
    [125, { action: 'goto', goto: 32766 }],
    [126, { action: 'nop' }],
    [127, { suppressIfgroup: 'default' }],
    [128, { unknown: ['tun_id 7'], table: '100' }],
    [129, { from: '10.1.0.0/16', table: '100' }],
    [1000, { l3mdev: true, action: 'lookup' }],
  ])('pref %i', (pref, want) => {
    const rule = rules.rules.find((r) => r.pref === pref)!;
    expect(rule).toMatchObject(want);
    expect(lineOf(text, rule.line)).toMatch(new RegExp(`^${pref}:`));
  });

  test('text and JSON of the same host', () => {
    expect(plainRules(parse('rules4', sample('ip.rule4-json', 'lab')))).toEqual(plainRules(rules));
    expect(plainRules(parse('rules6', sample('ip.rule6-json', 'lab')))).toEqual(
      plainRules(parse('rules6', sample('ip.rule6', 'lab'))),
    );
  });

  test('busybox: wrong words for goto and nop stay unknown', () => {
    const busybox = parse('rules4', sample('ip.rule4', 'busybox'));
    const found = busybox.rules.map((r) => [r.pref, r.action, r.unknown]);
    expect(found).toContainEqual([124, 'blackhole', undefined]);
    expect(found).toContainEqual([125, 'unknown', ['local']]);
    expect(found).toContainEqual([1000, 'unknown', undefined]);
  });

  test('a mark that cannot be read', () => {
    expect(parse('rules4', '5:\tfrom all fwmark zz lookup main\n').rules[0]!.unknown).toEqual(['fwmark zz']);
    const json = '[{"priority":5,"src":"all","fwmark":"zz","table":"main"}]';
    expect(parse('rules4', json).rules[0]!.unknown).toEqual(['fwmark']);
  });
});
