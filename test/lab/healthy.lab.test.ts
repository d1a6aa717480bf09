import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DockerLab,
  dockerLabsAvailable,
  Lab,
  labsAvailable,
  type Probe,
  type ProbeResult,
  probePatiently,
} from '../support/lab/index.ts';

let out: string;
beforeAll(() => {
  out = mkdtempSync(join(tmpdir(), 'nc-lab-test-'));
});
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** The files of a bundle, without its root directory. */
function members(bundle: string): string[] {
  const tar = spawnSync('tar', ['-tzf', bundle], { encoding: 'utf8' });
  expect(tar.status).toBe(0);
  return tar.stdout.split('\n').map((line) => line.slice(line.indexOf('/') + 1));
}

function text(bundle: string, member: string): string {
  return spawnSync('tar', ['-xzOf', bundle, '--wildcards', `*/${member}`], { encoding: 'utf8' }).stdout;
}

/** `node-a/pod-1 -> 10.244.2.10 icmp: lost` for each probe that did not get an answer. */
function unanswered(probes: readonly Probe[], results: readonly ProbeResult[]): string[] {
  const name = (place: Probe['to']) => (typeof place === 'string' ? place : place.id);
  return probes.flatMap((p, i) =>
    results[i]?.outcome === 'ok' ? [] : [`${name(p.from)} -> ${name(p.to)} ${p.proto}: ${results[i]?.outcome}`],
  );
}

describe.skipIf(!labsAvailable())('a healthy vxlan cluster of three nodes', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.create({ nodes: 3 });
    // as after Docker: the policy drops, flannel's own chain accepts (S01)
    for (const node of lab.nodes) await node.sh('iptables -P FORWARD DROP');
  });
  afterAll(() => lab?.destroy());

  it('answers every probe of the mesh', async () => {
    const mesh = lab.mesh();
    expect(unanswered(mesh, await probePatiently(lab, mesh))).toEqual([]);
  });

  it('shows servers the sources that ground truth recorded', async () => {
    const [a, b] = [lab.node('node-a'), lab.node('node-b')];
    const results = await lab.probeAll([
      { from: a.pod(), to: b.pod(), proto: 'tcp' },
      { from: a.pod(), to: b.pod(), proto: 'udp' },
      { from: a.pod(), to: b.pod(), proto: 'tcp', port: 81 },
      { from: a.pod(), to: lab.outside, proto: 'tcp' },
      { from: a, to: b.pod(), proto: 'tcp' },
      { from: a.pod(), to: b, proto: 'icmp' },
      { from: 'outside', to: b.pod(), proto: 'tcp' },
      { from: a.pod(), to: b.pod(), proto: 'icmp', size: 1422, df: true },
      { from: a.pod(), to: b.pod(), proto: 'icmp', size: 1423, df: true },
    ]);
    expect(results.map((r) => [r.outcome, r.seenSource ?? null])).toEqual([
      ['ok', '10.244.1.10'],
      ['ok', '10.244.1.10'],
      ['refused', null],
      ['ok', '192.168.50.11'],
      ['ok', '10.244.1.0'],
      ['ok', null],
      ['netunreach', null],
      ['ok', null],
      ['emsgsize', null],
    ]);
    expect(results[0]?.answeredBy?.place).toBe('node-b/pod-1');
  });

  it('hides the host from the node', async () => {
    const node = lab.node();
    expect((await node.sh('hostname; cat /etc/hostname; ls /sys/class/net')).split('\n')).toEqual(
      expect.arrayContaining(['node-a', 'cni0', 'eth0', 'flannel.1', 'lo']),
    );
    expect(await node.sh('ls -A /etc/docker /etc/containerd /.dockerenv /opt 2>/dev/null || :')).not.toMatch(
      /key|docker/,
    );
    const ids = await Promise.all(lab.nodes.map((n) => n.sh('cat /etc/machine-id /proc/sys/kernel/random/boot_id')));
    expect(new Set(ids).size).toBe(3);
    await node.sh('echo gone >/usr/lib/os-release; echo gone >/etc/hosts');
    expect(spawnSync('cat', ['/usr/lib/os-release', '/etc/hosts'], { encoding: 'utf8' }).stdout).not.toContain('gone');
  });

  it('is collected by the real collector, pods included', async () => {
    const bundles = await lab.collectAll(out);
    expect(bundles).toHaveLength(3);
    for (const [i, bundle] of bundles.entries()) {
      const node = lab.nodes[i]!;
      const files = members(bundle);
      expect(files).toEqual(
        expect.arrayContaining([
          'manifest.json',
          'host/ip/addr.json',
          'host/fw/iptables-save.txt',
          'files/run/flannel/subnet.env',
          'flannel/net-conf.json',
          'cmdline/kubelet.txt',
          'cmdline/flanneld.txt',
          'files/var/lib/kubelet/config.yaml',
          'netns/index.txt',
        ]),
      );
      expect(text(bundle, 'bundle.json')).toContain(`"hostname":"${node.id}"`);
      expect(text(bundle, 'bundle.json')).toContain('"mode":"host"');
      expect(text(bundle, 'host/ip/addr.txt')).toContain(` ${node.plan.gateway}/24 `);
      expect(text(bundle, 'netns/*/addr.json')).toContain(node.pod().plan.ip);
      expect(text(bundle, 'cmdline/flanneld.txt')).toBe('/opt/bin/flanneld\n--ip-masq\n--kube-subnet-mgr\n');
    }
  });
});

describe.skipIf(!labsAvailable())('other healthy clusters', () => {
  it.each([
    { backend: 'host-gw', iptables: 'nft' },
    { backend: 'vxlan', iptables: 'legacy' },
  ] as const)('$backend with iptables-$iptables', async (spec) => {
    await using lab = await Lab.create(spec);
    const mesh = lab.mesh();
    expect(unanswered(mesh, await probePatiently(lab, mesh))).toEqual([]);
    const save = await lab.node().sh('iptables -V; iptables-save');
    expect(save).toContain(spec.iptables === 'nft' ? '(nf_tables)' : '(legacy)');
    expect(save).toContain('FLANNEL-POSTRTG');
    const bundle = await lab.node().collect(out);
    expect(members(bundle)).toContain('host/ip/route4.txt');
  });

  it('services of kube-proxy: endpoints, node ports, none', async () => {
    const endpoints = ['10.244.2.10:80'];
    await using lab = await Lab.create({
      services: [
        { name: 'default/web:http', clusterIp: '10.96.0.50', port: 80, nodePort: 30080, endpoints },
        { name: 'default/none:http', clusterIp: '10.96.0.51', port: 80, endpoints: [] },
      ],
    });
    const results = await lab.probeAll([
      { from: 'node-a/pod-1', to: '10.96.0.50', proto: 'tcp' },
      { from: 'outside', to: lab.node('node-a'), proto: 'tcp', port: 30080 },
      { from: 'node-a/pod-1', to: '10.96.0.51', proto: 'tcp' },
    ]);
    expect(results.map((r) => r.outcome)).toEqual(['ok', 'ok', 'refused']);
    expect(results.slice(0, 2).map((r) => r.answeredBy?.place)).toEqual(['node-b/pod-1', 'node-b/pod-1']);
  });
});

describe.skipIf(!dockerLabsAvailable())('a healthy docker host', () => {
  let docker: DockerLab;
  beforeAll(async () => {
    docker = await DockerLab.create();
  });
  afterAll(() => docker?.destroy());

  it('publishes ports, isolates networks, and is collected (S20)', async () => {
    const c1 = await docker.container({ name: 'c1', publish: ['9001:9000'], listen: [9000, 7000] });
    const c2 = await docker.container({ name: 'c2' });
    await docker.docker('network create net2');
    const c3 = await docker.container({ name: 'c3', network: 'net2' });
    await docker.outside.sh(`ip route add 172.16.0.0/12 via ${docker.node.ip}`);
    const results = await docker.probeAll([
      { from: 'outside', to: docker.node, proto: 'tcp', port: 9001 },
      { from: docker.node, to: '127.0.0.1', proto: 'tcp', port: 9001 },
      { from: c2.id, to: docker.node, proto: 'tcp', port: 9001 },
      { from: c3.id, to: c1.ip, proto: 'tcp', port: 9000 },
      { from: c1.id, to: docker.outside, proto: 'tcp' },
      { from: 'outside', to: c1.ip, proto: 'tcp', port: 7000 },
    ]);
    expect(results.map((r) => [r.outcome, r.seenSource ?? null])).toEqual([
      ['ok', '10.3.20.99'],
      ['ok', '172.17.0.1'],
      ['ok', '172.17.0.1'],
      ['timeout', null],
      ['ok', '10.3.20.87'],
      ['timeout', null],
    ]);
    const bundle = await docker.collect(out);
    expect(members(bundle)).toEqual(
      expect.arrayContaining([
        'docker/info.json',
        'docker/network-inspect.json',
        'docker/ps.json',
        'cmdline/dockerd.txt',
      ]),
    );
    expect(text(bundle, 'docker/network-ls.txt')).toContain('net2');
  });
});
