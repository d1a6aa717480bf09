import { describe, expect, it } from 'vitest';
import { NodeFacts } from '../../src/engine/index.ts';
import type { Addr } from '../../src/net/addr.ts';
import { foldPairs, pairsIn } from '../../src/net/fold.ts';
import { buildNode, clusterOf, reach } from '../../src/net/index.ts';
import { makePacket } from '../../src/net/packet.ts';
import { looking, Watch } from '../../src/net/watch.ts';
import { recordedLabs, recordedNodes, recordedTexts } from '../support/bundle-nodes.ts';
import { nodeEvidence } from '../support/rule-table.ts';

const LABS = recordedLabs().filter((lab) => !/docker|daemon/.test(lab));

describe('reach', () => {
  it.each(LABS)('%s: what is put together from a few traces is what following every pair says', async (lab) => {
    const nodes = await recordedNodes(lab);
    const followed = reach(clusterOf(nodes), 1000);
    const learned = reach(clusterOf(nodes), 0);
    const said = ({ groups }: typeof followed) =>
      groups.map(({ verdict, because, pairs, blocks }) => ({ verdict, because, pairs, blocks }));
    expect(said(learned)).toEqual(said(followed));
    const n = followed.pods.length;
    expect(followed.groups.reduce((sum, g) => sum + g.pairs, 0)).toBe(n * (n - 1));
    expect(followed.followed).toBe(n * (n - 1));
  });

  it('follows fewer packets in a healthy fleet', async () => {
    const nodes = await recordedNodes('healthy-vxlan');
    const { followed, groups } = reach(clusterOf(nodes), 0);
    expect(groups.map((g) => [g.verdict, g.pairs])).toEqual([['delivered', 6]]);
    expect(followed).toBe(1);
  });

  it('names the dropping line', async () => {
    const { groups } = reach(clusterOf(await recordedNodes('demo')));
    expect(groups.map((g) => [g.verdict, g.pairs])).toEqual([
      ['dropped', 2],
      ['dropped', 2],
      ['delivered', 2],
    ]);
    expect(groups[0]?.cites[0]).toMatchObject({ node: 'node-b', evidence: 'fw.iptables-save' });
    expect(groups[0]?.blocks).toEqual([{ from: ['node-a', 'node-c'], to: ['node-b'] }]);
  });

  // a cloned machine: the same hardware address, or the same address altogether
  it.each(['hardware address', 'address'])('twins with one %s are not known by what another learned', async (what) => {
    const plain = await recordedNodes('healthy-vxlan');
    const macOf = (id: string) => plain.find((n) => n.id === id)?.host.device('eth0')?.mac ?? '';
    const [b, c] = [macOf('node-b'), macOf('node-c')];
    expect(b).toMatch(/^[0-9a-f:]{17}$/);
    const nodes = await recordedNodes('healthy-vxlan', (node, _path, text) =>
      what === 'address'
        ? node === 'node-c'
          ? text.replaceAll('192.168.50.13', '192.168.50.12')
          : text
        : text.replaceAll(c, b),
    );
    const [followed, learned] = [reach(clusterOf(nodes), 1000), reach(clusterOf(nodes), 0)];
    const said = ({ groups }: typeof followed) =>
      groups.map(({ verdict, because, blocks }) => [verdict, because, blocks]);
    expect(said(learned)).toEqual(said(followed));
    expect(learned.groups.map((g) => g.verdict)).not.toContain('delivered');
  });

  it.each(['arp_ignore', 'arp_filter'])('a node with %s is not taken to answer', async (name) => {
    const nodes = await recordedNodes('healthy-vxlan', (node, path, text) => {
      if (path.endsWith('neigh.txt')) return text.replaceAll(/^192\.168\.50\..*\n/gm, '');
      return node === 'node-b' && path.endsWith('sysctl.txt')
        ? text.replace(new RegExp(`(net/ipv4/conf/eth0/${name}:)0`), name === 'arp_ignore' ? '$18' : '$11')
        : text;
    });
    const [followed, learned] = [reach(clusterOf(nodes), 1000), reach(clusterOf(nodes), 0)];
    const said = ({ groups }: typeof followed) =>
      groups.map(({ verdict, because, blocks }) => [verdict, because, blocks]);
    expect(said(learned)).toEqual(said(followed));
    expect(learned.groups.map((g) => g.verdict).includes('unknown')).toBe(name === 'arp_ignore');
  });

  it.each([
    ['fwd action block', '10.244.1.0/24 dst 10.244.0.0/16'],
    ['out action block', '192.168.50.12/32 dst 192.168.50.11/32'],
    ['out', '10.244.0.0/16 dst 10.244.1.0/24'],
  ])('IPsec policies of one node (%s) are not taken to be for others', async (how, selector) => {
    const tail = how === 'out' ? '\ttmpl src 192.168.50.12 dst 192.168.50.11\n\t\tproto esp reqid 1 mode tunnel\n' : '';
    const policy = `src ${selector} \n\tdir ${how} priority 0 ptype main \n${tail}`;
    const nodes = await Promise.all(
      ['node-a', 'node-b', 'node-c'].map(async (id) => {
        const texts = [...(await recordedTexts('healthy-vxlan', id))];
        const files = Object.fromEntries(
          texts.filter(([p]) => /^(host|netns|files\/run)\//.test(p) && !p.endsWith('.err')),
        );
        if (id === 'node-b') files['host/ip/xfrm-policy.txt'] = policy;
        return buildNode(new NodeFacts(nodeEvidence(id, { files })));
      }),
    );
    const [followed, learned] = [reach(clusterOf(nodes), 1000), reach(clusterOf(nodes), 0)];
    const said = ({ groups }: typeof followed) =>
      groups.map(({ verdict, because, blocks }) => [verdict, because, blocks]);
    expect(said(learned)).toEqual(said(followed));
    const verdicts = learned.groups.map((g) => g.verdict);
    expect(verdicts).toContain('delivered');
    expect(verdicts).toContain(how === 'out' ? 'unknown' : 'dropped');
  });

  it('says which nodes it cannot follow', async () => {
    const { pods, skipped } = reach(clusterOf(await recordedNodes('healthy-docker')));
    expect(pods).toEqual([]);
    expect(skipped).toMatchObject([{ node: 'docker-host', because: expect.stringContaining('no pod network') }]);
  });
});

describe('folding', () => {
  it('holds every pair once', () => {
    const ids = Array.from({ length: 9 }, (_, i) => `n${i}`);
    const classOf = (a: number, b: number) => (a === 3 ? 1 : b === 5 ? 2 : a % 2 === 0 && b > 6 ? 3 : 0);
    const folded = foldPairs(ids, classOf);
    const seen = new Map<string, number>();
    for (const [c, blocks] of folded)
      for (const { from, to } of blocks)
        for (const a of from)
          for (const b of to) if (a !== b) seen.set(`${a} ${b}`, (seen.get(`${a} ${b}`) ?? 0) + 1 + c * 100);
    for (const [i, a] of ids.entries())
      for (const [j, b] of ids.entries()) if (i !== j) expect(seen.get(`${a} ${b}`)).toBe(1 + classOf(i, j) * 100);
    expect([...folded.values()].reduce((sum, blocks) => sum + pairsIn(blocks), 0)).toBe(72);
  });
});

describe('watching tests', () => {
  const same = () => 'unicast';
  it('tells apart what a test told apart', () => {
    const watch = new Watch();
    watch.compare(100, 90, 200);
    watch.compare(100, 120, 130);
    watch.compare(100, 125, 150);
    expect([89, 90, 119, 120, 150, 151, 200, 201].map(watch.coverer(100, same))).toEqual([
      false,
      true,
      true,
      false,
      false,
      true,
      true,
      false,
    ]);
    expect(watch.coverer(7, same)(8)).toBe(true);
  });
  it('tells apart by type where a test asked for types', () => {
    const watch = new Watch();
    watch.tested(
      looking(() => 1, { at: 'types' }),
      makePacket({ src: 100, dst: 200, proto: 6 }),
    );
    const typeOf = (addr: Addr) => (addr === 101 ? 'local' : 'unicast');
    expect([101, 102].map(watch.coverer(100, typeOf))).toEqual([false, true]);
    expect(watch.coverer(7, typeOf)(101)).toBe(true);
  });
  it('knows nothing of others once a test looked at more than networks', () => {
    const watch = new Watch();
    watch.fix(100);
    expect(watch.coverer(100, same)(101)).toBe(false);
    expect(watch.coverer(100, same)(100)).toBe(true);
    expect(watch.coverer(1n, same)(2n)).toBe(false);
  });
});
