import { expect, it } from 'vitest';
import { clusterOf, trace } from '../../src/net/index.ts';
import { nodeOf, QUIET, type Texts } from './hook-nodes.ts';

const host = (n: number, flags = ''): Texts => {
  const addr = `2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:0${n} brd ff:ff:ff:ff:ff:ff
    inet6 fd50::${n}/64 scope global ${flags}
       valid_lft forever preferred_lft forever
    inet6 fe80::${n}/64 scope link
       valid_lft forever preferred_lft forever
`;
  return {
    ...QUIET,
    'fw.ip6tables-save': '',
    'fw.ip6tables-legacy-save': '',
    'ip.addr': addr,
    'ip.link': addr.replaceAll(/^ {4,}(inet6|valid).*\n/gm, ''),
    'ip.route4': '',
    // as Linux 6.18: an address that is not used has no local route
    'ip.route6': `fd50::/64 dev eth0 proto kernel metric 256 pref medium
${flags === '' ? `local fd50::${n} dev eth0 table local proto kernel metric 0 pref medium\n` : ''}`,
    'ip.rule6': '0: from all lookup local\n32766: from all lookup main\n',
    'ip.neigh': '',
  };
};
const asked = (flags: string) =>
  trace(clusterOf([nodeOf(host(1), 'node-a'), nodeOf(host(2, flags), 'node-b')]), {
    from: 'node-a',
    to: 'fd50::2',
    proto: 'icmp',
  });

// checked by hand on Linux 6.18: `ip addr` says "dadfailed tentative", and no solicitation for the address is answered
it.each([
  ['', 'delivered', 'arrives at node-b'],
  ['dadfailed tentative', 'dropped', 'somebody else has the address fd50::2 on eth0 too (dadfailed): it is not used'],
  ['tentative', 'unknown', 'whether fd50::2 on eth0 is in use yet (tentative) is not known'],
  ['optimistic tentative', 'delivered', 'arrives at node-b'],
])('an IPv6 address with the flags "%s": %s', (flags, verdict, because) => {
  const answer = asked(flags);
  expect(answer.verdict, answer.because).toBe(verdict);
  expect(answer.because).toContain(because);
});
