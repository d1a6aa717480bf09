import { describe, expect, it } from 'vitest';
import { clusterGroups } from '../../src/derive/cluster.ts';

/** Which nodes are in one cluster, as `a+b c`. */
function groups(nodes: Record<string, readonly string[] | null>, network = '10.244.0.0/16'): string {
  const found = clusterGroups(Object.entries(nodes).map(([node, ties]) => ({ node, ties: { network, ties } })));
  const members = Map.groupBy([...found.keys()], (n) => found.get(n) ?? `unknown ${n}`);
  return [...members.values()].map((m) => m.join('+')).join(' ');
}

describe('clusters by ties', () => {
  it('who knows what another one is', () => {
    expect(groups({ a: ['=m1@1', 'm2@2'], b: ['=m2@2'], c: ['=m3@3'] })).toBe('a+b c');
  });
  it('who know the same third node', () => {
    expect(groups({ a: ['=m1@1', 'm3@3'], b: ['=m2@2', 'm3@3'] })).toBe('a+b');
  });
  it('a node whose ties were not collected is in no group', () => {
    const found = clusterGroups([{ node: 'a', ties: { network: null, ties: null } }]);
    expect([...found]).toEqual([['a', null]]);
  });
  it('other networks, other ties', () => {
    const one = { node: 'a', ties: { network: '10.0.0.0/8', ties: ['=x'] } };
    const two = { node: 'b', ties: { network: '10.244.0.0/16', ties: ['x'] } };
    expect(new Set(clusterGroups([one, two]).values()).size).toBe(2);
  });
  it('two customers that are numbered alike: what is of both ties nobody', () => {
    const customer = (k: number) => [
      [`=10.244.1.0/24>192.168.0.1`, `=${k}1@192.168.0.1`, `${k}2@192.168.0.2`],
      [`=10.244.2.0/24>192.168.0.2`, `=${k}2@192.168.0.2`, `${k}1@192.168.0.1`],
    ];
    const [[x1 = [], x2 = []], [y1 = [], y2 = []]] = [customer(1), customer(2)] as [string[][], string[][]];
    expect(groups({ x1, x2, y1, y2 })).toBe('x1+x2 y1+y2');
  });
  it('of two that claim to be the same member neither is one for sure, the others stay', () => {
    const routes = ['10.244.1.0/24>1', '10.244.2.0/24>2', '10.244.3.0/24>3'];
    const host = (n: number) => routes.map((r, i) => (i + 1 === n ? `=${r}` : r));
    expect(groups({ x1: host(1), y1: host(1), y2: host(2), y3: host(3) })).toBe('x1 y1 y2+y3');
  });
  it('one machine that was collected twice is one owner', () => {
    const ties = { network: null, ties: ['=m1@1', 'm2@2'] };
    const twice = ['a', 'pasted'].map((node) => ({ node, bootId: 'boot', ties }));
    const other = { node: 'b', bootId: 'other', ties: { network: null, ties: ['=m2@2'] } };
    expect(new Set(clusterGroups([...twice, other]).values()).size).toBe(1);
  });
  it('a tie that a node has twice is no second owner', () => {
    expect(groups({ a: ['=m1@1', '=m1@1'], b: ['m1@1'] })).toBe('a+b');
  });
});
