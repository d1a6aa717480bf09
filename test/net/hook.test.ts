import { describe, expect, it } from 'vitest';
import { formatAddr } from '../../src/net/addr.ts';
import { hostOf, packet, run, save, verdicts } from './hook-nodes.ts';

const POD = packet({ src: '10.244.1.10', dst: '10.244.2.10', iif: 'cni0', oif: 'eth0' });

const forward = (lines: string, p = POD) => run(hostOf({ 'fw.iptables-save': save('filter', lines) }), 'forward', p);

describe('a filter hook', () => {
  it('accepts by policy, and says so', () => {
    const ways = forward('');
    expect(ways).toHaveLength(1);
    expect(ways[0]).toMatchObject({ verdict: 'accept', probability: 1, doubts: [] });
    expect(ways[0]!.steps.map((s) => `${s.place} ${s.action} ${s.text}`)).toEqual([
      'filter/FORWARD accept :FORWARD ACCEPT',
    ]);
  });

  it('drops by policy', () => {
    const [way] = forward(':FORWARD DROP [0:0]');
    expect(way).toMatchObject({ verdict: 'drop', because: 'policy DROP of filter/FORWARD' });
    expect(way!.steps[0]!.cites).toMatchObject([{ line: 5, text: ':FORWARD DROP' }]);
  });

  it('names the rule that decides, in the chain that was called', () => {
    const [way] = forward(`:FORWARD DROP [0:0]
      :KUBE-FORWARD - [0:0]
      -A FORWARD -j KUBE-FORWARD
      -A KUBE-FORWARD -s 10.244.0.0/16 -j ACCEPT`);
    expect(way!.verdict).toBe('accept');
    expect(way!.steps.map((s) => `${s.place}: ${s.text}`)).toEqual([
      'filter/FORWARD > KUBE-FORWARD: -A KUBE-FORWARD -s 10.244.0.0/16 -j ACCEPT',
    ]);
  });

  it('lets an unknown match in front of the same outcome not matter', () => {
    const ways = forward(`-A FORWARD -m recent --rcheck -j ACCEPT
      -A FORWARD -j ACCEPT`);
    expect(ways).toHaveLength(1);
    expect(ways[0]).toMatchObject({ verdict: 'accept', doubts: [] });
  });

  it('forks on an unknown match that matters, and remembers the answer', () => {
    const ways = forward(`:FORWARD DROP [0:0]
      :A - [0:0]
      -A FORWARD -j A
      -A FORWARD -m recent --rcheck -j ACCEPT
      -A A -m recent --rcheck -j RETURN`);
    expect(ways.map((w) => [w.verdict, w.doubts.map((d) => d.holds)])).toEqual([
      ['drop', [false]],
      ['accept', [true]],
    ]);
    expect(ways[0]!.doubts[0]!.because).toContain('match recent depends on state');
  });

  it.each([
    ['-m limit --limit 1/sec -j ACCEPT', 'accept|drop'],
    ['-m limit --limit 600/min --limit-burst 100 -j RETURN', 'accept|drop'],
    ['-m limit --limit 5000/sec --limit-burst 5000 -j ACCEPT', 'accept'],
    ['-m limit --limit 1/sec -j LOG', 'drop'],
    ['-m limit --limit 1/sec -j DROP', 'drop'],
  ])('a limit lets some packets through, how many come is not known: %s', (rule, expected) => {
    const ways = forward(`:A - [0:0]\n-A FORWARD -j A\n-A A ${rule}\n-A A -j DROP`);
    expect(verdicts(ways)).toBe(expected);
    if (expected.includes('|'))
      expect(ways[0]!.doubts[0]!.because).toContain('only some packets a time match the limit');
  });

  it('asks the same question once', () => {
    const space = hostOf({ 'fw.iptables-save': save('filter', '-A FORWARD -m recent --rcheck -j DROP') });
    const [drop, accept] = run(space, 'forward', POD);
    expect(run(space, 'forward', POD, drop!.doubts).map((w) => w.verdict)).toEqual(['drop']);
    expect(run(space, 'forward', POD, accept!.doubts).map((w) => w.verdict)).toEqual(['accept']);
  });

  it('follows goto to the caller of the caller', () => {
    const rules = (flag: string) => `:CALLER - [0:0]
      :GONE - [0:0]
      -A FORWARD -j CALLER
      -A CALLER ${flag} GONE
      -A CALLER -j DROP`;
    expect(verdicts(forward(rules('-g')))).toBe('accept');
    expect(verdicts(forward(rules('-j')))).toBe('drop');
  });

  it('gives the ways of chance their probabilities', () => {
    const ways = forward(`-A FORWARD -m statistic --mode random --probability 0.25000000000 -j DROP`);
    expect(ways.map((w) => [w.verdict, w.probability])).toEqual([
      ['drop', 0.25],
      ['accept', 0.75],
    ]);
  });

  it('gives up on too many ways with a reason', () => {
    const ways = forward(':A - [0:0]\n-A FORWARD -j A\n-A A -j A');
    expect(ways.map((w) => w.verdict)).toEqual(['unknown']);
    expect(ways[0]!.because).toContain('calls itself');
  });

  it('takes a legacy drop beside an nft accept', () => {
    const space = hostOf({
      'fw.iptables-save': save('filter', '-A FORWARD -j ACCEPT'),
      'fw.iptables-legacy-save': save('filter', ':FORWARD DROP [0:0]', 'legacy'),
    });
    expect(verdicts(run(space, 'forward', POD))).toBe('drop');
  });

  it('evaluates one backend once, whatever file it is in', () => {
    const text = save('filter', '-A FORWARD -j ACCEPT');
    const [way] = run(hostOf({ 'fw.iptables-save': text, 'fw.iptables-nft-save': text }), 'forward', POD);
    expect(way!.steps).toHaveLength(1);
  });
});

describe('rules that were not collected', () => {
  it('could drop what the known rules accept', () => {
    const space = hostOf({
      'fw.iptables-save': save('filter', '', 'legacy'),
      'fw.iptables-legacy-save': '!skipped: iptables-save is this variant',
      'fw.nft-json': '!missing: tool not found in PATH: nft',
    });
    const open = hostOf({
      'fw.iptables-save': save('filter', ':FORWARD DROP [0:0]', 'legacy'),
      'fw.nft-json': '!error',
    });
    expect(run(space, 'forward', POD).length).toBeGreaterThan(0);
    expect(verdicts(run(open, 'forward', POD))).toBe('drop');
  });

  it('do not exist in a kernel without nf_tables', () => {
    const reason = '!skipped: nf_tables is not loaded, asking would load it';
    const space = hostOf({
      'fw.iptables-save': save('filter', '', 'legacy'),
      'fw.iptables-nft-save': reason,
      'fw.nft-json': reason,
      'fw.nft': reason,
    });
    expect(run(space, 'forward', POD)).toMatchObject([{ verdict: 'accept', doubts: [] }]);
  });

  it('are a question of their own for rewriting and for dropping', () => {
    const texts: Record<string, string> = {
      'fw.iptables-save': save('filter', '', 'legacy').replace(' v1.8.9', ' v1.8.9'),
    };
    const node = hostOf({ ...texts, 'fw.nft-json': '!error' });
    const pre = run(node, 'prerouting', { ...POD, oif: '' });
    expect(pre.length).toBeGreaterThan(0);
  });
});

describe('nat', () => {
  const nat = (lines: string) => hostOf({ 'fw.iptables-save': save('nat', lines) });
  const out = { ...POD, dst: 0x08080808, iif: 'cni0', oif: 'eth0', nexthop: 0xc00002fe };

  it('masquerades with the address of the device', () => {
    const [way, ...more] = run(
      nat('-A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE'),
      'postrouting',
      out,
    );
    expect(more).toEqual([]);
    expect(formatAddr(way!.packet.src)).toBe('192.0.2.1');
    expect(way!.packet.ct).toMatchObject({ snat: true, dnat: false });
    expect(way!.steps.map((s) => s.action)).toEqual(['masquerade']);
  });

  it('translates the first packet only', () => {
    const space = nat('-A POSTROUTING -j SNAT --to-source 192.0.2.9');
    const est = {
      ...out,
      ct: { state: 'ESTABLISHED', reply: false, snat: false, dnat: false, orig: out, mark: 0 } as const,
    };
    expect(run(space, 'postrouting', est)[0]!.packet.src).toBe(out.src);
    expect(formatAddr(run(space, 'postrouting', out)[0]!.packet.src)).toBe('192.0.2.9');
  });

  it('branches over the endpoints of a service', () => {
    const space = nat(`:KUBE-SERVICES - [0:0]
      :KUBE-SVC - [0:0]
      :KUBE-SEP-1 - [0:0]
      :KUBE-SEP-2 - [0:0]
      :KUBE-MARK-MASQ - [0:0]
      -A PREROUTING -j KUBE-SERVICES
      -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC
      -A KUBE-SVC ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
      -A KUBE-SVC -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1
      -A KUBE-SVC -j KUBE-SEP-2
      -A KUBE-SEP-1 -s 10.244.1.10/32 -j KUBE-MARK-MASQ
      -A KUBE-SEP-1 -p tcp -m tcp -j DNAT --to-destination 10.244.1.10:8080
      -A KUBE-SEP-2 -p tcp -m tcp -j DNAT --to-destination 10.244.2.10:8080
      -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000`);
    const ways = run(space, 'prerouting', { ...POD, dst: 0x0a60000a, oif: '' });
    expect(ways.map((w) => [formatAddr(w.packet.dst), w.packet.dport, w.packet.mark, w.probability])).toEqual([
      ['10.244.1.10', 8080, 0x4000, 0.5],
      ['10.244.2.10', 8080, 0, 0.5],
    ]);
    expect(ways[0]!.steps.map((s) => s.action)).toEqual(['mark', 'dnat']);
  });

  it('asks which of two chains of equal priority was registered last, when it matters', () => {
    const dnat = (to: string) => `-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination ${to}`;
    const both = (a: string, b: string) =>
      hostOf({
        'fw.iptables-save': save('nat', dnat(a)),
        'fw.iptables-legacy-save': save('nat', dnat(b), 'legacy'),
      });
    const p = { ...POD, oif: '' };
    const same = run(both('10.0.0.1', '10.0.0.1'), 'prerouting', p);
    expect(same).toMatchObject([{ verdict: 'accept', doubts: [] }]);
    const differ = run(both('10.0.0.1', '10.0.0.2'), 'prerouting', p);
    expect(differ.map((w) => [formatAddr(w.packet.dst), w.doubts.map((d) => d.holds)])).toEqual([
      ['10.0.0.1', [true]],
      ['10.0.0.2', [false]],
    ]);
  });

  it('lets the next chain try after an accept without mapping', () => {
    const space = hostOf({
      'fw.iptables-save': save('nat', '-A POSTROUTING -j ACCEPT'),
      'fw.iptables-legacy-save': save('nat', '-A POSTROUTING -j SNAT --to-source 192.0.2.9', 'legacy'),
    });
    const ways = run(space, 'postrouting', out);
    expect(ways.map((w) => formatAddr(w.packet.src))).toEqual(['192.0.2.9']);
    expect(ways[0]!.doubts).toEqual([]);
  });

  it('skips packets that raw made untracked', () => {
    const text =
      save('raw', '-A PREROUTING -j CT --notrack') + save('nat', '-A PREROUTING -j DNAT --to-destination 10.0.0.1');
    const [way] = run(hostOf({ 'fw.iptables-save': text }), 'prerouting', { ...POD, oif: '' });
    expect(way!.packet).toMatchObject({ dst: POD.dst, ct: { state: 'UNTRACKED' } });
  });
});
