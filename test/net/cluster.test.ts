import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readInput } from '../../src/bundle/index.ts';
import { decodeEvidence } from '../../src/cases/evidence-text.ts';
import { nodeInfo } from '../../src/cases/prepare.ts';
import { NodeFacts } from '../../src/engine/index.ts';
import { type Addr, parseAddr } from '../../src/net/addr.ts';
import { buildNode, clusterOf, lazyCluster, type NetNode, trace } from '../../src/net/index.ts';
import { netDigest, readDigest } from '../../src/net/owners.ts';
import { root } from '../support/analyse.ts';
import { nodeEvidence } from '../support/rule-table.ts';

const nodes: NetNode[] = [];
beforeAll(async () => {
  const dir = join(root, 'fixtures/bundles/healthy-vxlan');
  for (const name of readdirSync(dir)
    .filter((n) => n.endsWith('.tar.gz'))
    .sort()) {
    for (const result of await readInput(join(dir, name))) {
      if (!result.ok) throw new Error(result.problem.message);
      const { bundle } = result;
      nodes.push(
        buildNode(
          new NodeFacts({
            info: nodeInfo(bundle, bundle.nodeName, bundle.evidence),
            textAt(path) {
              const member = bundle.members.get(path);
              return member === undefined ? null : decodeEvidence(member.bytes);
            },
          }),
        ),
      );
    }
  }
});

const addr = (text: string) => parseAddr(text) as Addr;

describe('who owns which address', () => {
  it('knows hosts and the namespaces of pods, and not loopback', () => {
    const cluster = clusterOf(nodes);
    expect(cluster.ids).toEqual(['node-a', 'node-b', 'node-c']);
    expect(cluster.owners(addr('192.168.50.12'))).toEqual([{ node: 'node-b', inode: null, dev: 'eth0' }]);
    const [pod, ...more] = cluster.owners(addr('10.244.1.10'));
    expect([pod?.node, pod?.dev, more]).toEqual(['node-a', 'eth0', []]);
    expect(pod?.inode).toMatch(/^\d+$/);
    expect([cluster.owners(addr('127.0.0.1')), cluster.owners(addr('::1')), cluster.owners(addr('10.9.9.9'))]).toEqual([
      [],
      [],
      [],
    ]);
    expect(cluster.macOwners('0e:00:00:00:00:02')).toEqual([{ node: 'node-b', inode: null, dev: 'flannel.1' }]);
    expect(cluster.macOwners('00:00:00:00:00:00')).toEqual([]);
    expect(cluster.gaps).toEqual([]);
  });

  it('opens only the nodes that a packet passes, each once, and says the same', () => {
    const opened: string[] = [];
    const digests = nodes.map((n) => ({ id: n.id, digest: readDigest(JSON.stringify(netDigest(n.facts)))! }));
    const lazy = lazyCluster(digests, (id) => {
      opened.push(id);
      return nodes.find((n) => n.id === id);
    });
    const request = { from: '10.244.1.10', to: '10.244.2.10:80', proto: 'tcp' } as const;
    expect(trace(lazy, request)).toEqual(trace(nodes, request));
    expect(opened.sort()).toEqual(['node-a', 'node-b']);
    expect(lazy.node('node-z')).toBeUndefined();
  });

  it('finds the same in text as in an index', () => {
    const text = lazyCluster(
      nodes.map((n) => ({ id: n.id, digest: JSON.stringify(netDigest(n.facts)) })),
      () => undefined,
    );
    const parsed = clusterOf(nodes);
    const asked = nodes.flatMap((n) => n.spaces.flatMap((s) => s.devices.addresses.map((a) => a.addr)));
    const twice = [...asked, addr('10.9.9.9'), ...Array.from({ length: 60 }, (_, i) => addr(`10.8.0.${i}`)), ...asked];
    for (const a of twice) expect(text.owners(a)).toEqual(parsed.owners(a));
    expect(text.macOwners('0e:00:00:00:00:02')).toEqual(parsed.macOwners('0e:00:00:00:00:02'));
    expect(text.gaps).toEqual([]);
  });

  it('says of which nodes the addresses are not known', () => {
    const bare = buildNode(new NodeFacts(nodeEvidence('bare', { files: { 'host/sys/hostname.txt': 'bare\n' } })));
    expect(clusterOf([bare]).gaps).toEqual([
      {
        node: 'bare',
        reason: { because: expect.stringContaining('the devices are not known'), evidence: ['ip.addr'] },
      },
    ]);
  });

  it('takes no digest of another version or a torn one', () => {
    expect(readDigest('{"version":0,"spaces":[],"gap":null}')).toBeNull();
    expect(readDigest('{"version":1,"spa')).toBeNull();
  });
});
