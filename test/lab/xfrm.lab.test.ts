import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { judgeProbe } from '../support/kernel-check/check.ts';
import { traceAll } from '../support/kernel-check/tracer.ts';
import { Lab, labsAvailable, type Probe, WITH_DNS } from '../support/lab/index.ts';

/** Lines for node-a and node-b; at least as many packets are dropped for a policy, and say so. */
const ROUNDS: readonly [title: string, a: string, b: string, dropped: number][] = [
  [
    'forwarding: addresses from before DNAT, a mark, another interface',
    `ip xfrm policy add src 10.244.1.0/24 dst 10.96.0.0/12 proto udp dir fwd action block
     ip xfrm policy add src 10.244.1.10/32 dst 10.244.2.10/32 proto udp dport 53 dir fwd action block
     ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out action block mark 0x4000 mask 0x4000
     ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir fwd action block if_id 7`,
    'ip xfrm policy add src 10.244.1.0/24 dst 10.244.2.0/24 proto icmp type 8 dir fwd action block',
    4,
  ],
  [
    'sending: the address behind masquerading, the tunnel’s own packets',
    'ip xfrm policy add src 192.168.50.11/32 dst 192.168.50.100/32 dir out action block',
    'ip xfrm policy add src 192.168.50.12/32 dst 192.168.50.11/32 proto udp dport 8472 dir out action block',
    12,
  ],
  [
    'receiving: by priority; not on lo, nor where a device is exempt; what is to be protected',
    `ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 proto tcp dir in action block priority 30
     ip xfrm policy add src 10.244.1.11/32 dst 0.0.0.0/0 dir in action allow priority 20
     ip xfrm policy add src 192.168.50.12/32 dst 192.168.50.11/32 proto icmp dir in action block priority 10`,
    `ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir in action block
     ip xfrm policy add src 10.244.2.0/24 dst 192.168.50.100 dir out tmpl src 192.168.50.12 dst 192.168.50.100 proto esp reqid 1 mode tunnel
     sysctl -qw net.ipv4.conf.eth0.disable_policy=1`,
    10,
  ],
];

describe.skipIf(!labsAvailable())('policies of IPsec on real nodes', () => {
  it('the trace drops what the kernel drops', async () => {
    await using lab = await Lab.create({ ...WITH_DNS, nodes: 2 });
    const dir = mkdtempSync(join(tmpdir(), 'nc-xfrm-'));
    try {
      await lab.serve(lab.node(0), 'tcp', 6443);
      const services = [...lab.nodes, ...lab.pods()].flatMap((from): Probe[] => [
        { from, to: '10.96.0.1', proto: 'tcp', port: 443 },
        { from, to: '10.96.0.10', proto: 'udp', port: 53 },
        { from, to: lab.node(0), proto: 'tcp', port: 6443 },
      ]);
      const probes = [...lab.mesh(), ...services].map((p) => ({ ...p, timeout: 0.7 }));
      for (const [title, a, b, dropped] of ROUNDS) {
        await lab.node(0).sh(a);
        await lab.node(1).sh(b);
        const results = await lab.probeAll(probes);
        const bundles = await lab.collectAll(dir, ['--quick']);
        const traces = await traceAll(
          bundles,
          probes.map(({ from, to, proto, port }) => ({
            from: typeof from === 'string' ? from : from.id.replace(/\/.*/, `/${from.ip}`),
            to: typeof to === 'string' ? to : (to.ip ?? ''),
            proto,
            port: port ?? (proto === 'tcp' ? 80 : proto === 'udp' ? 53 : undefined),
          })),
        );
        const judged = probes.map((p, i) => judgeProbe(p, [results[i]!], traces[i]!, 'perhaps'));
        const wrong = judged.filter((j) => j.judged === 'disagreement');
        expect(
          wrong.map(
            ({ probe: { from, to, proto, port }, kernel, trace }) =>
              `${typeof from === 'string' ? from : from.id} -> ${typeof to === 'string' ? to : to.id}:${port ?? ''} ${proto}: ${kernel}; trace ${trace}`,
          ),
          title,
        ).toEqual([]);
        expect(judged.filter((j) => j.because?.includes('threw'))).toEqual([]);
        const told = traces.filter((t) =>
          /IPsec policy src .* blocks it/.test(`${t.because} ${t.reply?.because ?? ''}`),
        );
        expect(told.length, title).toBeGreaterThanOrEqual(dropped);
        const fine = judged.filter((j) => j.judged === 'agreement' && j.kernel.startsWith('ok'));
        expect(fine.length, title).toBeGreaterThan(3);
        for (const node of lab.nodes)
          await node.sh('ip xfrm policy flush; sysctl -qw net.ipv4.conf.eth0.disable_policy=0');
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
