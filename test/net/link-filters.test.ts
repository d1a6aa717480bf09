import { expect, it } from 'vitest';
import type { Device } from '../../src/net/devices.ts';
import { arpFilters, bridgeFilters } from '../../src/net/link-filters.ts';
import { hostOf, type Texts } from './hook-nodes.ts';

const BRIDGE = `3: br0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:03 brd ff:ff:ff:ff:ff:ff promiscuity 0
    bridge forward_delay 1500 vlan_filtering 0
`;
const filters = (texts: Texts) => {
  const host = hostOf({ 'ip.addr': BRIDGE, 'ip.link': BRIDGE, ...texts });
  return bridgeFilters(host, host.device('br0') as Device)?.because ?? null;
};
const ebtables = (...lines: string[]) => filters({ 'fw.ebtables-save': `${lines.join('\n')}\n` });

it('ebtables rules that may stop or change a frame leave it open, those that let it pass do not', () => {
  expect(ebtables('*filter', ':INPUT ACCEPT', ':FORWARD ACCEPT', ':OUTPUT ACCEPT')).toBeNull();
  expect(ebtables('*filter', ':FORWARD ACCEPT', '-A FORWARD -p ARP -j ACCEPT')).toBeNull();
  expect(ebtables('*filter', ':FORWARD DROP', '-A FORWARD -p IPv4 -j ACCEPT')).toMatch(
    /^ebtables rules of node-a are not followed \(.*:2\)$/,
  );
  expect(ebtables('*nat', ':PREROUTING ACCEPT', '-A PREROUTING -i eth0 -j dnat --to-dst 02:00:00:00:00:01')).toMatch(
    ':3)',
  );
  expect(ebtables('*filter', ':FORWARD ACCEPT', '[0:0] -A FORWARD -s 2:0:0:0:0:1 -j KUBE-DEDUP')).toMatch(':3)');
});

it('the bridge family of nft, also where only its text was collected', () => {
  const text = `table bridge guard {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.0.0.1 drop
	}
}
`;
  expect(filters({ 'fw.nft-json': '!', 'fw.nft': text })).toBe(
    'nft rules of the bridge family (guard) of node-a are not followed',
  );
  expect(filters({ 'fw.nft-json': '!', 'fw.nft': text.replace(/\t\tip saddr.*\n/, '') })).toBeNull();
});

it('rules of ARP leave open who answers', () => {
  const table = (rule: string) => `table arp filter {
	chain INPUT {
		type filter hook input priority filter; policy accept;
${rule}	}
}
`;
  const said = (rule: string) => arpFilters(hostOf({ 'fw.nft-json': '!', 'fw.nft': table(rule) }))?.because ?? null;
  expect(said('\t\tarp daddr ip 192.0.2.1 drop\n')).toBe(
    'nft rules of the arp family (filter) of node-a are not followed',
  );
  expect(said('')).toBeNull();
});
