import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/collection/peer-not-collected.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { judge } from '../../support/rule-table.ts';

const missing = (nodes: Record<string, NodeFiles>) =>
  judge([rule], nodes).missingNodes.map((m) => `${m.node} ${m.because}`);
const without = (node: NodeFiles, ...paths: string[]): NodeFiles => ({
  files: Object.fromEntries(Object.entries(node.files).filter(([path]) => !paths.includes(path))),
});

describe('peers without a bundle', () => {
  const a = overlayNode({ n: 1, peers: [2, 3] });
  const b = overlayNode({ n: 2, peers: [1, 3] });
  it('are named by their underlay address, once, with a cite', () => {
    const judged = judge([rule], { a, b });
    expect(judged.missingNodes).toMatchObject([
      { node: '192.168.50.13', because: 'named in the fdb of a and 1 more', cites: [{ node: 'a' }, { node: 'b' }] },
    ]);
    expect(judged.findings).toEqual([]);
    expect(missing({ a, b, c: overlayNode({ n: 3, peers: [1, 2] }) })).toEqual([]);
  });
  it('are told by the route to their pods where no forwarding table was collected', () => {
    expect(missing({ a: without(a, 'host/bridge/fdb.txt') })).toEqual([
      '10.244.2.0 named in the route to 10.244.2.0/24 of a',
      '10.244.3.0 named in the route to 10.244.3.0/24 of a',
    ]);
  });
  it('are neither groups nor what is told for each packet (vxlan with a group, Cilium)', () => {
    const fdb =
      '00:00:00:00:00:00 dev vxlan100 dst 239.1.1.1 via eth0 self permanent\n00:00:00:00:00:00 dev cilium_vxlan dst 0.0.0.0 self permanent\n00:00:00:00:00:00 dev vxlan200 dst ff05::100 via eth0 self permanent\n52:54:00:11:22:33 dev vxlan100 dst 223.5.5.5 self \n';
    expect(missing({ a: { files: { ...a.files, 'host/bridge/fdb.txt': fdb } } })).toEqual([
      '223.5.5.5 named in the fdb of a',
    ]);
  });
  it('are not those that are collected and reached by the address of a router (public-ip-overwrite)', () => {
    const fdb = '0e:00:00:00:00:02 dev flannel.1 dst 203.0.113.12 self permanent\n';
    const node: NodeFiles = { files: { ...a.files, 'host/bridge/fdb.txt': fdb } };
    expect(missing({ a: node, b: overlayNode({ n: 2, peers: [] }) })).toEqual([]);
    expect(missing({ a: node })).toEqual(['203.0.113.12 named in the fdb of a']);
  });
  it('are next hops of host-gw, of any prefix length; gateways of other networks are no nodes', () => {
    const route =
      'unicast default via 192.168.50.1 dev eth0 proto static scope global \nunicast 10.244.2.0/25 via 192.168.50.12 dev eth0 proto boot scope global \nunicast 10.77.0.0/24 via 192.168.50.9 dev eth0 proto static scope global \nlocal 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 \n';
    const node: NodeFiles = { files: { ...a.files, 'host/ip/route4.txt': route, 'host/bridge/fdb.txt': '' } };
    expect(missing({ a: node })).toEqual(['192.168.50.12 named in the route to 10.244.2.0/25 of a']);
  });
});
