import { describe, expect, test } from 'vitest';
import type { LinkDevice, Links } from '../../src/facts/index.ts';
import { growthPerUnit, LINEAR } from '../support/linear.ts';
import { lineOf, parse, sample } from './firewall-docker-samples.ts';

const device = (links: Links, name: string): LinkDevice => links.devices.find((d) => d.name === name)!;

/** What text and JSON both say, without places and without what only one of them prints. */
function common(links: Links) {
  return links.devices.map(({ line, endLine, col, length, linkNetnsId, linkNetnsName, vxlan, addresses, ...rest }) => ({
    ...rest,
    vxlan: vxlan && { ...vxlan, df: vxlan.df === 'unset' ? undefined : vxlan.df },
    addresses: addresses.map(({ line: l, endLine: e, col: c, length: n, ...a }) => a),
  }));
}

describe('ip addr', () => {
  const text = sample('ip.addr', 'lab');
  const links = parse('addresses', text);

  test('devices and their blocks', () => {
    expect(links.devices.map((d) => d.name).slice(0, 5)).toEqual(['lo', 'uplink', 'flannel.1', 'cni0', 'br-empty']);
    const uplink = device(links, 'uplink');
    expect(uplink).toMatchObject({ ifindex: 2, peerIfindex: 2, mtu: 1500, state: 'UP', linkNetnsName: 'np-b' });
    expect(lineOf(text, uplink.line)).toMatch(/^2: uplink@if2: </);
    expect(lineOf(text, uplink.endLine!)).toBe('valid_lft forever preferred_lft forever');
    expect(device(links, 'veth0001')).toMatchObject({ master: 'cni0', peerIfindex: 3 });
    expect(device(links, 'mac0').peerName).toBe('uplink');
    expect(device(links, 'local-a')).toMatchObject({ peerName: 'local-b', state: 'LOWERLAYERDOWN' });
  });

  test('addresses with their lines', () => {
    const found = device(links, 'uplink').addresses.map((a) => [a.address, a.prefixLength, a.secondary, a.label]);
    expect(found.slice(0, 3)).toEqual([
      ['192.168.56.11', 24, false, 'uplink'],
      ['192.168.57.1', 32, false, 'uplink'],
      ['192.168.56.12', 24, true, 'uplink:1'],
    ]);
    expect(device(links, 'uplink').addresses[1]!.peer).toBe('192.168.57.2');
    for (const d of links.devices)
      for (const a of d.addresses)
        expect(lineOf(text, a.line)).toContain(`inet${a.family === 6 ? '6' : ''} ${a.address}`);
    expect(device(links, 'flannel.1').addresses[0]).toMatchObject({ address: '10.244.0.0', prefixLength: 32 });
  });

  test('-o and busybox say the same addresses', () => {
    const plain = (l: Links) =>
      l.devices
        .filter((d) => d.addresses.length > 0)
        .map((d) => [d.name, d.addresses.map((a) => `${a.address}/${a.prefixLength} ${a.scope} ${a.label}`)]);
    expect(plain(parse('addresses', sample('ip.addr', 'oneline')))).toEqual(plain(links));
    const busybox = parse('addresses', sample('ip.addr', 'busybox'));
    expect(plain(busybox)).toEqual(plain(links));
    // wrong, and known to be: the peer's number looked up in the local namespace
    expect(device(busybox, 'veth0001').peerName).toBe('flannel.1');
    expect(device(busybox, 'veth0001').state).toBeUndefined();
  });

  test('text and JSON of the same host', () => {
    const json = parse('addresses', sample('ip.addr-json', 'lab'));
    expect(common(json)).toEqual(common(parse('addresses', sample('ip.addr', 'detailed'))));
    expect(device(json, 'uplink')).toMatchObject({ line: 1, linkNetnsId: 0, peerIfindex: 2 });
    const { col, length } = device(json, 'cni0').addresses[0]!;
    expect(JSON.parse(sample('ip.addr-json', 'lab').slice(col! - 1, col! - 1 + length!)).local).toBe('10.244.0.1');
  });

  test('empty objects of iproute2 4.x', () => {
    const links4 = parse('addresses', sample('ip.addr-json', 'empty-objects'));
    expect(links4.devices.map((d) => [d.name, d.addresses.length])).toEqual([
      ['lo', 1],
      ['eth0', 1],
    ]);
  });

  test('nothing is no answer', () => {
    for (const text of ['', '[]', 'Usage: ip addr', '[{"ifindex":1,"ifna']) expect(parsed(text)).toBe(false);
  });
  const parsed = (text: string) => {
    try {
      parse('addresses', text);
      return true;
    } catch {
      return false;
    }
  };
});

describe('ip -d -s link', () => {
  const text = sample('ip.link', 'lab');
  const links = parse('links', text);

  test.each([
    ['flannel.1', { vni: 1, dstPort: 8472, local: '192.168.56.11', dev: 'uplink', learning: false, external: false }],
    ['vx-ext', { vni: 0, dstPort: 4789, external: true, learning: false }],
    ['vx-mc', { vni: 42, group: '239.1.1.1', srcPort: [32768, 61000], df: 'set', learning: true }],
    ['vx-gbp', { vni: 43, remote: '192.168.56.99', dstPort: 4790, gbp: true }],
  ])('vxlan %s', (name, vxlan) => {
    const d = device(links, name);
    expect(d.kind).toBe('vxlan');
    expect(d.vxlan).toMatchObject(vxlan);
    const block = text.split('\n').slice(d.line - 1, d.endLine);
    expect(block[0]).toContain(` ${name}: `);
    expect(block[2]!.trim()).toMatch(/^vxlan /);
  });

  test.each([
    ['ttl auto', undefined],
    ['ttl 5', '5'],
    ['ttl inherit', 'inherit'],
  ])('vxlan %s', (words, ttl) => {
    const set = text.replace('nolearning ttl auto', `nolearning ${words}`);
    expect(device(parse('links', set), 'flannel.1').vxlan?.ttl).toBe(ttl);
  });

  test('bridges, their ports, macvlan', () => {
    expect(device(links, 'cni0').bridge).toMatchObject({ stp: false, vlanFiltering: false, nfCallIptables: false });
    expect(device(links, 'veth0001')).toMatchObject({ kind: 'veth', port: { state: 'forwarding', hairpin: true } });
    expect(device(links, 'veth0002').port).toMatchObject({ isolated: true, learning: false, flood: false });
    expect(device(links, 'mac0')).toMatchObject({ kind: 'macvlan', macvlanMode: 'bridge' });
    expect(device(links, 'lo').kind).toBeUndefined();
  });

  test('text, one line each, JSON and printed JSON say the same', () => {
    expect(common(parse('links', sample('ip.link', 'oneline')))).toEqual(common(links));
    expect(common(parse('linksJson', sample('ip.link-json', 'lab')))).toEqual(common(links));
    const pretty = parse('links', sample('ip.link-json', 'pretty'));
    expect(common(pretty)).toEqual(common(links));
    expect(lineOf(sample('ip.link-json', 'pretty'), device(pretty, 'cni0').line)).toMatch(/^\}?,?\{?/);
  });

  test('iproute2 3: vxlan without dstport, alias, netns number', () => {
    const old = parse('links', sample('ip.link', 'iproute2-3'));
    expect(device(old, 'flannel.1').vxlan).toMatchObject({ dstPort: 8472, srcPort: [32768, 61000], learning: false });
    expect(device(old, 'veth1a2b3c4')).toMatchObject({ linkNetnsId: 0, peerIfindex: 4, port: { hairpin: true } });
    expect(device(old, 'eth0').addresses).toEqual([]);
    expect(device(old, 'eth0.100')).toMatchObject({ vlanId: 100, peerName: 'eth0' });
    expect(device(old, 'sit0')).toMatchObject({ kind: 'sit' });
    expect(device(old, 'sit0').peerName).toBeUndefined();
  });

  test('iproute2 5: an external vxlan does not tell its port', () => {
    const text =
      '5: cilium_vxlan: <UP> mtu 1500 state UNKNOWN\n    link/ether 56:12:af:1c:dd:64 brd ff:ff:ff:ff:ff:ff promiscuity 0 \n    vxlan externaladdrgenmode eui64 numtxqueues 1 \n';
    const { vxlan } = parse('links', text).devices[0]!;
    expect(vxlan).toMatchObject({ external: true, dstPort: 8472, dstPortAssumed: true });
    expect(device(links, 'flannel.1').vxlan!.dstPortAssumed).toBeUndefined();
  });

  test('devices of JSON in linear time', async () => {
    const one = sample('ip.link-json', 'lab').trim().slice(1, -1);
    const read = (times: number) => {
      const text = `[${Array.from({ length: times }, () => one).join(',')}]`;
      expect(parse('linksJson', text).devices).toHaveLength(times * 14);
    };
    expect(await growthPerUnit(read, 27, 20)).toBeLessThan(LINEAR / 2);
  });

  test('names like object keys are only names', () => {
    const text =
      '1: __proto__: <UP> mtu 1 state UP\n    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    constructor id 1\n';
    expect(parse('links', text).devices[0]).toMatchObject({ name: '__proto__', kind: 'constructor' });
    const json = '[{"ifindex":1,"ifname":"a","__proto__":{"mtu":5},"flags":["UP"]}]';
    expect(parse('links', json).devices[0]!.mtu).toBeUndefined();
  });
});

describe('ifconfig', () => {
  test.each(['net-tools-2', 'busybox'])('%s', (name) => {
    const text = sample('ip.ifconfig', name);
    const links = parse('addresses', text);
    const uplink = device(links, 'uplink');
    expect(uplink).toMatchObject({ ifindex: 0, mtu: 1500, mac: expect.stringMatching(/^ea:2f:/) });
    expect(uplink.addresses.filter((a) => a.family === 4)).toMatchObject([
      { address: '192.168.56.11', prefixLength: 24, secondary: false, label: 'uplink' },
      { address: '192.168.56.12', prefixLength: 24, secondary: true, label: 'uplink:1' },
    ]);
    for (const d of links.devices) for (const a of d.addresses) expect(lineOf(text, a.line)).toContain(a.address);
    expect(device(links, 'flannel.1')).toMatchObject({
      mtu: 1450,
      addresses: [{ prefixLength: 32 }, { scope: 'link' }],
    });
  });

  test('net-tools 1.60', () => {
    const links = parse('addresses', sample('ip.ifconfig', 'net-tools-1.60'));
    expect(links.devices.map((d) => d.name)).toEqual(['docker0', 'eth0', 'lo', 'tun0']);
    expect(device(links, 'docker0')).toMatchObject({
      mac: '02:42:5e:11:22:33',
      mtu: 1500,
      flags: ['UP', 'BROADCAST', 'MULTICAST'],
    });
    expect(device(links, 'tun0').addresses[0]).toMatchObject({
      address: '10.8.0.1',
      peer: '10.8.0.2',
      prefixLength: 32,
    });
    expect(device(links, 'lo').addresses[1]).toMatchObject({ address: '::1', prefixLength: 128, scope: 'host' });
  });
});

test('namespace numbers', () => {
  expect(parse('netnsIds', sample('ip.nsid-json', 'lab')).ids).toMatchObject([{ nsid: 0, name: 'np-b' }]);
  expect(parse('netnsIds', sample('ip.nsid-json', 'text')).ids).toMatchObject([{ nsid: 0, name: 'np-b', line: 1 }]);
  expect(parse('netnsIds', 'nsid 3\n').ids).toEqual([{ nsid: 3, line: 1 }]);
  expect(parse('netnsIds', '').ids).toEqual([]);
});
