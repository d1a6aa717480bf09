import { describe, expect, test } from 'vitest';
import type { BridgePorts, Fdb, Neighbours } from '../../src/facts/index.ts';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

const bare = <T extends { line: number }>(list: readonly T[]) =>
  list.map(({ line, ...rest }) => {
    const { endLine: _e, col: _c, length: _l, ...values } = rest as Record<string, unknown>;
    return values;
  });

describe('neighbours', () => {
  const text = sample('ip.neigh', 'lab');
  const all = parse('neighbours', text);
  const of = (n: Neighbours, ip: string) => n.entries.find((e) => e.ip === ip);

  test('text and JSON', () => {
    expect(of(all, '10.244.1.0')).toMatchObject({ dev: 'flannel.1', mac: '0a:bb:cc:dd:ee:01', state: ['PERMANENT'] });
    expect(of(all, '192.168.56.9')).toMatchObject({ mac: '02:00:00:00:09:09', state: ['NOARP'] });
    expect(of(all, 'fd00:56::5')).toMatchObject({ state: ['STALE'] });
    expect(of(all, '192.168.56.222')?.mac).toBeUndefined();
    for (const e of all.entries) expect(lineOf(text, e.line).startsWith(`${e.ip} dev ${e.dev} `)).toBe(true);
    expect(bare(parse('neighbours', sample('ip.neigh-json', 'lab')).entries)).toEqual(bare(all.entries));
  });

  test.each(['plain', 'twice-s', 'busybox'])('%s', (name) => {
    const read = parse('neighbours', sample('ip.neigh', name));
    expect(of(read, '10.244.1.0')).toMatchObject({ mac: '0a:bb:cc:dd:ee:01', state: ['PERMANENT'] });
    expect(of(read, '10.244.2.0')).toMatchObject({ mac: '0a:bb:cc:dd:ee:02', state: ['REACHABLE'] });
    expect(of(read, '192.168.56.222')).toMatchObject({ dev: 'uplink', state: ['INCOMPLETE'] });
  });

  test.each([
    ['ip.neigh', 'arp-an'],
    ['ip.neigh', 'busybox-arp'],
    ['ip.neigh', 'arp-n'],
    ['proc.arp', 'lab'],
  ] as const)('%s %s: proxies are no neighbours', (id, name) => {
    const text = sample(id, name);
    const proxy = text.split('\n').findIndex((l) => l.includes('192.168.56.77')) + 1;
    const read = parse('neighbours', text, [proxy]);
    expect(of(read, '10.244.1.0')).toMatchObject({ dev: 'flannel.1', mac: '0a:bb:cc:dd:ee:01', state: ['PERMANENT'] });
    expect(of(read, '10.244.2.0')).toMatchObject({ mac: '0a:bb:cc:dd:ee:02', state: [] });
    expect(of(read, '192.168.56.222')).toMatchObject({ state: ['INCOMPLETE'] });
    expect(of(read, '192.168.56.222')?.mac).toBeUndefined();
  });

  test('none', () => {
    expect(parse('neighbours', '').entries).toEqual([]);
    expect(parse('neighbours', '[]\n').entries).toEqual([]);
    expect(parse('neighbours', '[ ]\n').entries).toEqual([]);
  });
});

describe('bridge fdb', () => {
  const text = sample('bridge.fdb', 'lab');
  const fdb = parse('fdb', text);
  const of = (f: Fdb, mac: string, dev: string) => f.entries.find((e) => e.mac === mac && e.dev === dev);

  test('text', () => {
    expect(of(fdb, '0a:bb:cc:dd:ee:01', 'flannel.1')).toMatchObject({
      dst: '192.168.56.21',
      self: true,
      permanent: true,
    });
    expect(of(fdb, '00:00:00:00:00:00', 'flannel.1')).toMatchObject({
      dst: '192.168.56.22',
      port: 4789,
      vni: 7,
      via: 'uplink',
    });
    expect(of(fdb, '02:00:00:00:00:01', 'veth0001')).toMatchObject({ master: 'cni0', state: 'static', self: false });
    expect(of(fdb, 'ce:32:53:3f:ee:f3', 'veth0001')).toMatchObject({ master: 'cni0', permanent: true });
    for (const e of fdb.entries) expect(lineOf(text, e.line).startsWith(`${e.mac} dev ${e.dev} `)).toBe(true);
  });

  test('plain, -t and JSON say the same', () => {
    for (const name of ['plain', 'timestamps'])
      expect(bare(parse('fdb', sample('bridge.fdb', name)).entries)).toEqual(bare(fdb.entries));
    const json = parse('fdb', sample('bridge.fdb-json', 'lab'));
    expect(bare(json.entries)).toEqual(bare(fdb.entries));
    const { col, length } = json.entries[4]!;
    expect(JSON.parse(sample('bridge.fdb-json', 'lab').slice(col! - 1, col! - 1 + length!)).ifname).toBe('flannel.1');
  });
});

describe('bridge link', () => {
  const of = (p: BridgePorts, name: string) => p.ports.find((x) => x.name === name);
  const text = sample('bridge.link', 'lab');

  test('text and JSON', () => {
    const ports = parse('bridgePorts', text);
    expect(of(ports, 'veth0001')).toMatchObject({
      master: 'cni0',
      state: 'forwarding',
      hairpin: true,
      line: 1,
      endLine: 2,
    });
    expect(of(ports, 'veth0002')).toMatchObject({ isolated: true, learning: false, flood: false });
    expect(bare(parse('bridgePorts', sample('bridge.link-json', 'lab')).ports)).toEqual(bare(ports.ports));
    expect(of(parse('bridgePorts', sample('bridge.link', 'plain')), 'veth0001')).toMatchObject({ state: 'forwarding' });
  });

  test('iproute2 4: state before the peer', () => {
    const ports = parse('bridgePorts', sample('bridge.link', 'iproute2-4'));
    expect(of(ports, 'veth1a2b3c4')).toMatchObject({ ifindex: 5, state: 'forwarding', hairpin: true });
    expect(of(ports, 'vethxyz')).toMatchObject({ state: 'disabled', master: 'cni0', learning: true });
  });

  test('JSON that ends at its first bracket is no answer', () => {
    expect(parserOf('bridgePorts').parse(sample('bridge.link-json', 'cut'))).toMatchObject({ ok: false });
    expect(parserOf('bridgePorts').parse('['.repeat(100_000))).toMatchObject({
      ok: false,
      why: 'nested deeper than 64',
    });
  });
});

describe('brctl show', () => {
  test('tabs', () => {
    const text = sample('bridge.brctl-show', 'lab');
    const { bridges } = parse('bridges', text);
    expect(bridges).toEqual([
      { name: 'br-empty', id: '8000.000000000000', stp: false, ports: [], line: 2, endLine: 2 },
      {
        name: 'cni0',
        id: '8000.3a2a84b27c54',
        stp: false,
        ports: ['veth0001', 'veth0002', 'veth0003'],
        line: 3,
        endLine: 5,
      },
    ]);
    expect(lineOf(text, 5)).toBe('veth0003');
  });

  test('copied with blanks', () => {
    expect(parse('bridges', sample('bridge.brctl-show', 'space-aligned')).bridges).toMatchObject([
      { name: 'br-4f5e6d7c8b9a', stp: true, ports: ['veth1a2b3c4', 'veth5d6e7f8'] },
      { name: 'docker0', ports: [], id: '8000.000000000000' },
    ]);
  });

  test('no bridge', () => {
    for (const name of ['no-bridge', 'title-only'])
      expect(parse('bridges', sample('bridge.brctl-show', name)).bridges).toEqual([]);
    expect(parserOf('bridges').parse('brctl: invalid argument\n').ok).toBe(false);
    expect(
      parse(
        'bridges',
        "bridge name\tbridge id\t\tSTP enabled\tinterfaces\nbr0\tcan't get info Operation not supported\n",
        [2],
      ).bridges,
    ).toEqual([]);
  });
});

test('sysfs attributes', () => {
  const text = sample('bridge.sysfs', 'lab');
  const { entries } = parse('sysfs', text);
  const find = (dev: string, attr: string) => entries.find((e) => e.dev === dev && e.attr === attr);
  expect(find('cni0', 'bridge/bridge_id')?.value).toBe('8000.3a2a84b27c54');
  expect(find('veth0001', 'brport/hairpin_mode')?.value).toBe('1');
  expect(find('flannel.1', 'mtu')).toMatchObject({ value: '1450' });
  for (const e of entries) expect(lineOf(text, e.line)).toBe(`/sys/class/net/${e.dev}/${e.attr}:${e.value}`);
});

// iproute2 6.1, Linux 6.18
test.each(['lab', 'statistics'])('ip xfrm policy: %s', (name) => {
  const { policies } = parse('xfrmPolicies', sample('ip.xfrm-policy', name));
  const known = policies.map(({ line: _, endLine: __, ...policy }) => policy);
  const none = { action: 'allow', priority: 0, templates: 0 };
  expect(known).toEqual([
    {
      ...none,
      src: '10.9.0.0/16',
      dst: '0.0.0.0/0',
      proto: 'icmp',
      type: 8,
      code: 0,
      direction: 'in',
      action: 'block',
    },
    { ...none, src: '::/0', dst: '::/0', direction: 'in', priority: 5, ifId: 7 },
    {
      ...none,
      src: '10.1.0.0/16',
      dst: '10.2.0.0/16',
      direction: 'out',
      priority: 2000,
      mark: { value: 1, mask: 255 },
      templates: 1,
    },
    {
      ...none,
      src: '10.244.0.0/16',
      dst: '0.0.0.0/0',
      proto: 'tcp',
      dport: 80,
      direction: 'out',
      action: 'block',
      priority: 100,
    },
    { ...none, src: '10.244.0.0/16', dst: '10.244.2.0/24', direction: 'fwd', action: 'block' },
  ]);
  if (name === 'lab')
    expect(policies.map((p) => [p.line, p.endLine])).toEqual([
      [1, 2],
      [3, 5],
      [6, 10],
      [11, 12],
      [13, 14],
    ]);
});

test('ip xfrm policy: conditions that nobody knows, sockets, what is none', () => {
  const one =
    'src 10.0.0.0/8 dst 0.0.0.0/0 dev eth0 \n\tdir out action block priority 0 ptype sub \n\tsecurity context a:b \n';
  expect(parse('xfrmPolicies', one).policies[0]?.unknown).toEqual(['dev eth0', 'ptype sub', 'security context a:b']);
  const socket = 'src 0.0.0.0/0 dst 0.0.0.0/0 \n\tsocket out priority 0 ptype main \n';
  expect(parse('xfrmPolicies', socket).policies[0]?.direction).toBe('socket');
  expect(parse('xfrmPolicies', `what\n${socket}src 1.2.3.4/32 dst 1.2.3.5/32\n`, [1, 4]).policies).toHaveLength(1);
  expect(parse('xfrmPolicies', '').policies).toEqual([]);
  expect(parserOf('xfrmPolicies').parse('Cannot send dump request: Operation not permitted')).toMatchObject({
    ok: false,
  });
});

// iproute2 6.1, Linux 6.18
test('ip neigh show proxy', () => {
  const text = '10.79.0.99 dev v0 proxy \n10.79.0.98 proxy \n2001:db8::5 dev v0 proxy \n';
  expect(parse('neighbourProxies', text).entries).toEqual([
    { ip: '10.79.0.99', dev: 'v0', line: 1 },
    { ip: '10.79.0.98', line: 2 },
    { ip: '2001:db8::5', dev: 'v0', line: 3 },
  ]);
  expect(parse('neighbourProxies', '').entries).toEqual([]);
  expect(parserOf('neighbourProxies').parse('Command line is not complete. Try option "help"')).toMatchObject({
    ok: false,
  });
});
