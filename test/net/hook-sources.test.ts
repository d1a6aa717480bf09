import { describe, expect, it } from 'vitest';
import { formatAddr } from '../../src/net/addr.ts';
import type { Space } from '../../src/net/space.ts';
import { ADDR, hostOf, nodeOf, packet, QUIET, run, save, type Texts, verdicts } from './hook-nodes.ts';

const POD = packet({ src: '10.244.1.10', dst: '10.244.2.10', iif: 'cni0', oif: 'eth0' });
const NO_NFT = '!skipped: nf_tables is not loaded, asking would load it';

const gaps = (space: Space): string[] => space.rules(4).gaps.map((g) => g.because);

/** What a host with these texts is not known to have; texts of QUIET that are '-' are taken away. */
function host(texts: Texts): Space {
  const all = Object.entries({ ...QUIET, ...texts }).filter(([, text]) => text !== '-');
  return nodeOf(Object.fromEntries(all)).host;
}

describe('what is live on a host', () => {
  const nft = save('filter', '');
  const legacy = save('filter', '', 'legacy');
  it.each<[string, Texts, number]>([
    ['everything collected', { 'fw.iptables-save': nft }, 0],
    [
      'legacy alone, on a kernel without nf_tables',
      { 'fw.iptables-save': legacy, 'fw.iptables-legacy-save': '-', 'fw.nft-json': NO_NFT },
      0,
    ],
    ['no legacy tables in the kernel', { 'fw.iptables-save': nft, 'fw.iptables-legacy-save': '-' }, 0],
    [
      'legacy tables in the kernel, not printed',
      { 'fw.iptables-save': nft, 'fw.iptables-legacy-save': '-', 'fw.ip-tables-names': 'filter\n' },
      1,
    ],
    [
      'legacy not looked for',
      { 'fw.iptables-save': nft, 'fw.iptables-legacy-save': '-', 'fw.ip-tables-names': '-' },
      1,
    ],
    ['no nft tool', { 'fw.iptables-save': nft, 'fw.nft-json': '-' }, 1],
    [
      'nft as text, without other tables',
      { 'fw.iptables-save': nft, 'fw.nft-json': '-', 'fw.nft': 'table ip filter {\n}\n' },
      0,
    ],
    ['nothing', { 'fw.iptables-legacy-save': '-', 'fw.ip-tables-names': '-', 'fw.nft-json': '-' }, 3],
  ])('%s', (_, texts, count) => {
    expect(gaps(host(texts))).toHaveLength(count);
  });

  it('takes a gap as a question, and a drop beside it as a drop', () => {
    const open = host({ 'fw.iptables-save': save('filter', '-A FORWARD -s 10.9.9.9 -j DROP'), 'fw.nft-json': '-' });
    const ways = run(open, 'forward', POD);
    expect(ways.map((w) => [w.verdict, w.doubts.map((d) => d.holds)])).toEqual([
      ['drop', [true]],
      ['accept', [false]],
    ]);
    expect(verdicts(run(open, 'forward', { ...POD, src: 0x0a090909 }))).toBe('drop');
    const nat = run(open, 'postrouting', POD);
    expect(nat.map((w) => w.verdict)).toEqual(['unknown', 'accept']);
    // asked once at each hook, answered the same way
    expect(run(open, 'forward', POD, ways[1]!.doubts)).toHaveLength(1);
  });

  it('evaluates from nft what iptables-save could not print', () => {
    const json = {
      nftables: [
        { table: { family: 'ip', name: 'filter', handle: 1 } },
        {
          chain: {
            family: 'ip',
            table: 'filter',
            name: 'FORWARD',
            handle: 1,
            type: 'filter',
            hook: 'forward',
            prio: 5,
            policy: 'drop',
          },
        },
      ],
    };
    const marker = "# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.\n";
    const space = host({ 'fw.iptables-save': marker + nft, 'fw.nft-json': JSON.stringify(json) });
    expect(gaps(space)).toEqual([]);
    expect(verdicts(run(space, 'forward', POD))).toBe('drop');
    const own = structuredClone(json);
    own.nftables[1]!.chain!.prio = 0;
    // the chain that iptables-save did print is evaluated from there
    expect(verdicts(run(host({ 'fw.iptables-save': nft, 'fw.nft-json': JSON.stringify(own) }), 'forward', POD))).toBe(
      'accept',
    );
  });
});

describe('what is live in a pod', () => {
  const inside = (texts: Texts): Space => {
    const own = Object.fromEntries(Object.entries(texts).map(([id, text]) => [`${id}@99`, text]));
    const addr = '[{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500,"addr_info":[]}]';
    return nodeOf({ ...QUIET, 'ip.addr': ADDR, 'netns.addr-json@99': addr, ...own }).space('99')!;
  };

  it('has no rules when iptables prints none and the kernel has no legacy tables', () => {
    const space = inside({ 'netns.iptables-nft-save': '', 'netns.proc-ip-tables-names': '' });
    expect(gaps(space)).toEqual([]);
    expect(run(space, 'forward', POD)).toMatchObject([{ verdict: 'accept', doubts: [], steps: [] }]);
  });

  it('is open where nobody looked', () => {
    expect(gaps(inside({ 'netns.iptables-nft-save': '' }))).toHaveLength(1);
    expect(gaps(inside({ 'netns.iptables-legacy-save': '' }))).toHaveLength(1);
    expect(gaps(inside({}))).toHaveLength(2);
  });

  it('has the rules that were saved', () => {
    const space = inside({
      'netns.iptables-nft-save': save('filter', ':FORWARD DROP [0:0]'),
      'netns.iptables-legacy-save': '',
    });
    expect(verdicts(run(space, 'forward', POD))).toBe('drop');
  });
});

describe('ipsets', () => {
  const SETS = `create nets hash:net family inet hashsize 1024
add nets 10.244.0.0/16
add nets 10.244.3.0/24 nomatch
create ports hash:ip,port family inet
add ports 10.244.2.10,tcp:80
add ports 10.244.2.10,udp:53
create both hash:net,port family inet
add both 10.244.0.0/16,tcp:80
create six hash:ip family inet6
add six fd00::1
create masked hash:ip family inet netmask 24
add masked 10.244.2.0
create list list:set size 8
add list six
add list ports
create devs hash:net,iface family inet
add devs 10.244.0.0/16,cni0
create range hash:ip,port family inet
add range 10.244.1.10,tcp:40000
`;
  const sets = (rule: string, p = POD, texts: Texts = {}) =>
    verdicts(
      run(
        hostOf({
          'fw.iptables-save': save('filter', `-A FORWARD -m set ${rule} -j DROP`),
          'fw.ipset-save': SETS,
          ...texts,
        }),
        'forward',
        p,
      ),
    );

  it.each([
    ['--match-set nets dst', 'drop'],
    ['! --match-set nets dst', 'accept'],
    ['--match-set ports dst,dst', 'drop'],
    ['--match-set ports src,dst', 'accept'],
    ['--match-set both dst,dst', 'drop'],
    ['--match-set both dst', 'accept'],
    ['--match-set six dst', 'accept'],
    ['--match-set list dst,dst', 'drop'],
    ['--match-set masked dst', 'accept|drop'],
    ['--match-set devs src,src', 'drop'],
    ['--match-set devs src,dst', 'accept'],
    ['--match-set gone dst', 'accept|drop'],
    ['--match-set range src,src', 'accept|drop'],
    ['--match-set nets dst --return-nomatch', 'accept|drop'],
  ])('%s', (rule, expected) => {
    expect(sets(rule)).toBe(expected);
  });

  it('lets the longest prefix decide', () => {
    expect(sets('--match-set nets dst', { ...POD, dst: 0x0af40301 })).toBe('accept');
  });

  it('does not know sets that were not collected', () => {
    expect(sets('--match-set nets dst', POD, { 'fw.ipset-save': '!error' })).toBe('accept|drop');
  });
});

describe('targets', () => {
  const natted = (rule: string, hook: 'prerouting' | 'postrouting' | 'output', p = POD) =>
    run(hostOf({ 'fw.iptables-save': save('nat', rule) }), hook, { ...p, ...(hook === 'output' ? { iif: '' } : {}) });

  it.each([
    ['prerouting', '-A PREROUTING -j DNAT --to-destination 10.0.0.1-10.0.0.2', ['10.0.0.1', '10.0.0.2']],
    ['prerouting', '-A PREROUTING -j REDIRECT', ['10.244.1.1']],
    ['output', '-A OUTPUT -j REDIRECT', ['127.0.0.1']],
    ['prerouting', '-A PREROUTING -j NETMAP --to 10.9.0.0/16', ['10.9.2.10']],
    ['prerouting', '-A PREROUTING -j DNAT --to-destination nonsense', ['10.244.2.10']],
  ] as const)('%s %s', (hook, rule, expected) => {
    expect(natted(rule, hook).map((w) => formatAddr(w.packet.dst))).toEqual(expected);
  });

  it('does not follow a packet through a target that it cannot read', () => {
    expect(natted('-A PREROUTING -j DNAT --to-destination nonsense', 'prerouting').map((w) => w.verdict)).toEqual([
      'unknown',
    ]);
    expect(natted('-A PREROUTING -j WHATEVER', 'prerouting').map((w) => w.verdict)).toEqual([
      'unknown',
      'drop',
      'accept',
    ]);
  });

  it('routes again what mangle OUTPUT marked and nat OUTPUT redirected, and nothing else', () => {
    const out = (table: string, rule: string) =>
      run(hostOf({ 'fw.iptables-save': save(table, rule) }), 'output', { ...POD, iif: '' })[0]!.reroute;
    expect(out('mangle', '-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff')).toBe(true);
    expect(out('raw', '-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff')).toBe(false);
    expect(out('filter', '-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff')).toBe(false);
    expect(out('nat', '-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff')).toBe(false);
    expect(out('nat', '-A OUTPUT -j DNAT --to-destination 10.0.0.1')).toBe(true);
  });

  it('says how a packet was rejected', () => {
    const [way] = run(
      hostOf({ 'fw.iptables-save': save('filter', '-A FORWARD -j REJECT --reject-with icmp-host-prohibited') }),
      'forward',
      POD,
    );
    expect(way).toMatchObject({ verdict: 'reject', rejectWith: 'icmp-host-prohibited' });
  });

  it('asks whether somebody reads a queue', () => {
    const ways = run(
      hostOf({ 'fw.iptables-save': save('filter', '-A FORWARD -j NFQUEUE --queue-num 7') }),
      'forward',
      POD,
    );
    expect(verdicts(ways)).toBe('accept|drop');
  });
});
