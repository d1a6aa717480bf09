import { describe, expect, test } from 'vitest';
import type { Sockets } from '../../src/facts/index.ts';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

describe('sysctl', () => {
  const grep = parse('sysctl', sample('sys.sysctl', 'grep'));
  const get = (key: string) => grep.values.find((v) => v.key === key);

  test('grep -H', () => {
    expect(get('net/ipv4/ip_forward')).toMatchObject({ value: '0', line: 1 });
    expect(get('net/ipv4/conf/flannel.1/rp_filter')).toMatchObject({ value: '0' });
    expect(get('net/ipv4/ip_local_port_range')?.value).toBe('32768\t60999');
  });

  test.each(['procps', 'busybox'])('%s prints a dot in a name as a slash', (name) => {
    const text = sample('sys.sysctl', name);
    const read = parse('sysctl', text);
    const found = new Map(read.values.map((v) => [v.key, v.value]));
    for (const v of grep.values) expect(found.get(v.key)).toBe(v.value);
    const flannel = read.values.find((v) => v.key === 'net/ipv4/conf/flannel.1/rp_filter')!;
    expect(lineOf(text, flannel.line)).toBe('net.ipv4.conf.flannel/1.rp_filter = 0');
  });

  test.each([
    ['/proc/sys/net/ipv4/conf/eth0.100/rp_filter = 2', 'net/ipv4/conf/eth0.100/rp_filter', '2'],
    ['/proc/sys/net/ipv4/ip_forward:1', 'net/ipv4/ip_forward', '1'],
    ['net/ipv4/ip_forward=1', 'net/ipv4/ip_forward', '1'],
    ['net.ipv4.ip_forward=1', 'net/ipv4/ip_forward', '1'],
    ['kernel.core_pattern = |/bin/x a=b:c', 'kernel/core_pattern', '|/bin/x a=b:c'],
  ])('%s', (text, key, value) => {
    expect(parse('sysctl', text).values).toEqual([{ key, value, line: 1 }]);
  });

  test('messages are skipped', () => {
    const text = "sysctl: permission denied on key 'fs.x'\nnet.ipv4.ip_forward = 1\n\ngrep: net/x: Permission denied\n";
    expect(parse('sysctl', text, [1, 4]).values).toHaveLength(1);
  });
});

describe('sockets', () => {
  const find = (s: Sockets, port: number, family: 4 | 6) =>
    s.listeners.find((l) => l.port === port && l.family === family);
  const short = (s: Sockets) =>
    s.listeners.map((l) => `${l.proto} ${l.address} ${l.port} ${l.processes.map((p) => p.name).join()}`).sort();

  test('ss -H -lntupe', () => {
    const text = sample('sock.ss-listen', 'lab');
    const all = parse('sockets', text);
    expect(find(all, 8081, 6)).toMatchObject({ address: '::', v6only: false, processes: [{ name: 'python3' }] });
    expect(find(all, 8080, 6)).toMatchObject({ address: '::', v6only: true });
    expect(find(all, 68, 4)).toMatchObject({ proto: 'udp', address: '0.0.0.0', dev: 'uplink' });
    expect(find(all, 8472, 4)).toMatchObject({ processes: [] });
    for (const l of all.listeners) expect(lineOf(text, l.line)).toContain(`:${l.port} `);
  });

  test('all forms list the same sockets', () => {
    const all = short(parse('sockets', sample('sock.ss-listen', 'lab')));
    for (const name of ['titled', 'netstat', 'netstat-wide'])
      expect(short(parse('sockets', sample('sock.ss-listen', name)))).toEqual(all);
    const busybox = short(parse('sockets', sample('sock.ss-listen', 'busybox-netstat')));
    expect(busybox).toEqual(all.map((l) => l.replace(/ \S*$/, ' ')));
  });

  test('ss of iproute2 3.10: a star is IPv4 there', () => {
    const all = parse('sockets', sample('sock.ss-listen', 'ss-3.10'), [6]);
    expect(find(all, 22, 4)).toMatchObject({ address: '0.0.0.0', processes: [{ name: 'sshd', pid: 901 }] });
    expect(find(all, 22, 6)).toMatchObject({ address: '::' });
    expect(find(all, 10248, 4)?.processes).toEqual([{ name: 'kubelet', pid: 1200 }]);
  });

  test('ss -lnt has no first column', () => {
    const text =
      'State   Recv-Q Send-Q Local Address:Port Peer Address:Port Process\nLISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:* users:(("x",pid=610,fd=13))\n';
    expect(parse('sockets', text).listeners).toMatchObject([
      { proto: 'tcp', port: 53, dev: 'lo', processes: [{ pid: 610 }] },
    ]);
  });

  test('places', () => {
    const text = 'udp UNCONN 0 0 [fe80::1]%eth0:546 [::]:* users:(("a b",pid=7,fd=3))\n';
    expect(parse('sockets', text).listeners).toEqual([
      {
        proto: 'udp',
        family: 6,
        address: 'fe80::1',
        port: 546,
        dev: 'eth0',
        processes: [{ name: 'a b', pid: 7 }],
        line: 1,
      },
    ]);
    expect(parse('sockets', '').listeners).toEqual([]);
    expect(parserOf('sockets').parse('ss: not found').ok).toBe(false);
  });
});

test.each([
  ['unified', 2, 'cgroup2fs'],
  ['legacy', 1, '11:memory:/'],
  ['hybrid', 'hybrid', '9:name=systemd:/'],
] as const)('cgroup %s', (name, version, cited) => {
  const text = sample('sys.cgroup', name);
  const read = parse('cgroup', text);
  expect(read.version).toBe(version);
  expect(lineOf(text, read.line)).toBe(cited);
});

test('modules', () => {
  const names = (name: string) => parse('modules', sample('sys.modules', name)).modules.map((m) => m.name);
  expect(names('proc')).toEqual(['vxlan', 'ip6_udp_tunnel', 'br_netfilter', 'wireguard']);
  expect(names('names')).toEqual(['br_netfilter', 'nf_conntrack', '8250', 'xt_comment']);
  expect(names('lsmod')).toEqual(['vxlan', 'ip6_udp_tunnel']);
  expect(parserOf('modules').parse('cat: /proc/modules: No such file').ok).toBe(false);
});

test('who the node is', () => {
  expect(parse('hostname', sample('sys.hostname', 'lab')).lines).toEqual([{ line: 1, text: 'node1' }]);
  expect(parse('uname', sample('sys.uname', 'debian-12')).lines[0]!.text).toContain('6.1.0-18-amd64');
  const release = parse('osRelease', sample('sys.os-release', 'debian-12')).variables;
  expect(release.find((v) => v.name === 'VERSION_ID')).toMatchObject({ value: '12', line: 3 });
  expect(parserOf('hostname').parse('\n').ok).toBe(false);
});

test('namespaces', () => {
  expect(parse('netnsIndex', sample('netns.index', 'lab')).namespaces).toMatchObject([
    { inode: '4026531840', pid: 1, comm: 'systemd', line: 1 },
    {
      inode: '4026532254',
      pid: 2231,
      comm: 'pause',
      cgroup: expect.stringMatching(/^3f0c/),
      pin: '/run/netns/cni-6b1f',
    },
    { inode: '4026532777', pin: '/run/docker/netns/default', line: 3 },
  ]);
  expect(parse('netnsIndex', '4026531840 - - - -\nx\n', [2]).namespaces).toEqual([{ inode: '4026531840', line: 1 }]);
});
