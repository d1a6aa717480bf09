import { describe, expect, it } from 'vitest';
import { formatAddr, parseAddr } from '../../src/net/addr.ts';
import { hostOf, packet, run, save, verdicts } from './hook-nodes.ts';

const ADDR6 = `2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet6 2001:db8::1/64 scope global
       valid_lft forever preferred_lft forever
    inet6 fe80::1/64 scope link
       valid_lft forever preferred_lft forever
`;
const P = packet({ src: 'fd00:1::10', dst: 'fd00:2::10', iif: 'cni0', oif: 'eth0' });
const saved = (table: string, lines: string) =>
  hostOf({
    'fw.ip6tables-save': save(table, lines),
    'fw.ip6tables-legacy-save': '',
    'fw.ip6-tables-names': '',
    'ip.addr': ADDR6,
  });

describe('IPv6', () => {
  it.each([
    ['-A FORWARD -d fd00:2::/32 -j DROP', 'drop'],
    ['-A FORWARD ! -s fd00::/8 -j DROP', 'accept'],
    ['-A FORWARD -s fd00:1::10/ffff:ffff::ffff -j DROP', 'drop'],
    ['-A FORWARD -p tcp -m multiport --dports 80,443 -j DROP', 'drop'],
    ['-A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP', 'accept'],
    ['-A FORWARD -m hl --hl-eq 64 -j DROP', 'drop'],
    ['-A FORWARD -m ipv6header --header frag --soft -j DROP', 'accept|drop'],
  ])('%s', (rule, expected) => {
    expect(verdicts(run(saved('filter', rule), 'forward', P))).toBe(expected);
  });

  it('is translated as its rules say', () => {
    const pre = run(
      saved('nat', '-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00:3::5]:8080'),
      'prerouting',
      P,
    );
    expect(pre.map((w) => [formatAddr(w.packet.dst), w.packet.dport])).toEqual([['fd00:3::5', 8080]]);
    const post = run(saved('nat', '-A POSTROUTING -j SNAT --to-source 2001:db8::9'), 'postrouting', P);
    expect(formatAddr(post[0]!.packet.src)).toBe('2001:db8::9');
    const map = run(saved('nat', '-A PREROUTING -j NETMAP --to fd00:9::/32'), 'prerouting', P);
    expect(map[0]!.packet.dst).toBe(parseAddr('fd00:9::10'));
  });

  it('is not touched by the rules of IPv4', () => {
    const space = hostOf({
      'fw.iptables-save': save('filter', '-A FORWARD -j DROP'),
      'fw.ip6tables-save': save('filter', ''),
      'fw.ip6tables-legacy-save': '',
    });
    expect(verdicts(run(space, 'forward', P))).toBe('accept');
  });
});
