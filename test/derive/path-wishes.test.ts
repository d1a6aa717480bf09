import { describe, expect, it } from 'vitest';
import { type Asker, type Wishes, wishesOf } from '../../src/derive/path-wishes.ts';

const DNS = { name: 'kube-system/kube-dns:dns', address: '10.96.0.10', port: 53, proto: 'udp' } as const;
const API = { name: 'default/kubernetes:https', address: '10.96.0.1', port: 443, proto: 'tcp', backends: 3 } as const;
const port = (n: number, local = false) => ({
  container: `web${n}`,
  own: ['172.17.0.2'],
  address: local ? '127.0.0.1' : '192.168.50.11',
  port: n,
  proto: 'tcp' as const,
  local,
});

/** So many nodes of one cluster, each with two pods and a container; DNS has so many backends. */
function cluster(nodes: number, backends: number, published: Asker['published'] = []): readonly Asker[] {
  return Array.from({ length: nodes }, (_, i): Asker => {
    const pods = [10, 11].map((host) => ({ inode: String(host), address: `10.244.${i}.${host}` }));
    const container = { inode: '12', address: '172.17.0.3', clustered: false };
    return {
      node: `node-${i}`,
      ties: { network: '10.244.0.0/16', ties: [] },
      pods,
      because: '',
      evidence: [],
      clients: [{ ...pods[0]!, clustered: true }, container],
      leads: false,
      vips: [API, { ...DNS, backends }],
      published,
    };
  });
}
const said = (w: Wishes['wishes'][number]) => `${w.request.from} > ${w.request.to}:${w.request.port}`;
/** What containers ask for. */
const asked = (members: readonly Asker[], at: number) =>
  wishesOf(members, at)
    .wishes.filter((w) => w.kind !== 'probe')
    .map(said);
/** Numbers of the nodes that ask for cluster DNS. */
const askDns = (members: readonly Asker[]) =>
  members.flatMap((_, i) => (asked(members, i).some((w) => w.endsWith('10.96.0.10:53')) ? [i] : []));

describe('what the nodes of a cluster ask for', () => {
  it('up to 20 nodes: everything, by two pods, however many backends there are', () => {
    const members = cluster(20, 40);
    expect(askDns(members)).toHaveLength(20);
    expect(wishesOf(members, 7).left).toEqual([]);
    expect(asked(members, 7)).toEqual([
      'node-7/10 > 10.96.0.1:443',
      'node-7/11 > 10.96.0.1:443',
      'node-7/10 > 10.96.0.10:53',
      'node-7/11 > 10.96.0.10:53',
    ]);
  });

  it('of more, every node for services of few backends', () => {
    expect(askDns(cluster(60, 4))).toHaveLength(60);
    expect(asked(cluster(60, 4), 7)).toHaveLength(4);
  });

  it('of more, the first and every nth node, by one pod, for a service of many; the others say so', () => {
    const members = cluster(60, 60);
    expect(askDns(members)).toEqual([0, 15, 30, 45]);
    expect(asked(members, 15).filter((w) => w.endsWith(':53'))).toEqual(['node-15/10 > 10.96.0.10:53']);
    expect(wishesOf(members, 16).left).toEqual([{ ...DNS, backends: 60 }]);
    expect(wishesOf(members, 15).left).toEqual([]);
  });

  it('follows no more than four backends a node and service, whatever their number', () => {
    for (const backends of [5, 6, 9, 20, 33, 64])
      for (const nodes of [21, 40, 60])
        expect((askDns(cluster(nodes, backends)).length - 1) * backends).toBeLessThanOrEqual(4 * nodes);
  });

  it('a service whose backends nobody could count is asked for', () => {
    expect(askDns(cluster(21, 0))).toHaveLength(21);
  });

  const ports = [port(80), port(81), port(82, true)];
  const portsAsked = (nodes: number, at: number) =>
    asked(cluster(nodes, 2, ports), at).filter((w) => !w.includes('10.96.'));

  it('up to 20 nodes: each published port from the node, a container of it, and another node', () => {
    expect(portsAsked(20, 7)).toEqual([
      ...[80, 81].flatMap((p) => ['node-7', 'node-7/10', 'node-0'].map((from) => `${from} > 192.168.50.11:${p}`)),
      'node-7 > 127.0.0.1:82',
    ]);
  });

  it('of more: the first one so, the others from the next node in the ring', () => {
    const all = (own: number, next: number) => [
      ...[`node-${own}`, `node-${own}/10`, `node-${next}`].map((from) => `${from} > 192.168.50.11:80`),
      `node-${next} > 192.168.50.11:81`,
      `node-${own} > 127.0.0.1:82`,
    ];
    expect(portsAsked(21, 7)).toEqual(all(7, 8));
    expect(portsAsked(21, 20)).toEqual(all(20, 0));
  });

  it('every node itself asks a pod of its own, and the API', () => {
    const members = cluster(60, 60, ports);
    expect(
      wishesOf(members, 7)
        .wishes.filter((w) => w.kind === 'probe')
        .map(said),
    ).toEqual(['node-7 > 10.244.7.10:80', 'node-7 > 10.96.0.1:443']);
  });
});
