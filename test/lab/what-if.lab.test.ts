import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { traceCase } from '../../src/cases/trace.ts';
import type { TraceJson } from '../../src/core/trace.ts';
import { netcase } from '../support/analyse.ts';
import type { Effect, LabNode, LabSpec, Probe } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { Lab, labsAvailable, probePatiently } from '../support/lab/index.ts';

interface Remedy {
  readonly name: string;
  readonly spec?: LabSpec;
  readonly inject: (lab: Lab) => Promise<Pick<Effect, 'rule' | 'nodes' | 'breaks'>>;
  /** Instead of the finding's own command. */
  readonly run?: (lab: Lab, node: LabNode) => string;
  /** What the command mends: all that was broken, or nothing. */
  readonly mends: boolean;
}

const REMEDIES: readonly Remedy[] = [
  { name: 'ip_forward=0', inject: labs.ipForwardDisabled, mends: true },
  { name: 'flannel.1 does not forward', inject: (l) => labs.interfaceForwardingDisabled(l, 'flannel.1'), mends: true },
  { name: 'cni0 does not forward', inject: (l) => labs.interfaceForwardingDisabled(l, 'cni0'), mends: true },
  { name: 'FORWARD policy', inject: (l) => labs.forwardDropsPodTraffic(l, 'policy'), mends: true },
  { name: 'FORWARD REJECT first', inject: (l) => labs.forwardDropsPodTraffic(l, 'reject-first'), mends: true },
  {
    name: 'FORWARD REJECT first, legacy',
    spec: { nodes: 2, iptables: 'legacy' },
    inject: (l) => labs.forwardDropsPodTraffic(l, 'reject-first'),
    mends: true,
  },
  // an accept in one ruleset does not save a packet from the other; the finding's command is for the one that drops
  {
    name: 'FORWARD policy of the other backend, in the wrong one',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'other-backend'),
    run: () => 'iptables -I FORWARD -d 10.244.0.0/16 -j ACCEPT; iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT',
    mends: false,
  },
  {
    name: 'FORWARD policy of the other backend',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'other-backend'),
    mends: true,
  },
  {
    name: 'FORWARD policy of the other backend, in that backend',
    inject: (l) => labs.forwardDropsPodTraffic(l, 'other-backend'),
    run: () => 'iptables-legacy -P FORWARD ACCEPT',
    mends: true,
  },
  { name: 'no masquerading', inject: labs.egressMasqueradeMissing, mends: true },
  {
    name: 'replies dropped',
    inject: async (lab) => {
      const [a, b] = [lab.node(0), lab.node(1)];
      await b.sh('iptables -I FORWARD -m conntrack --ctstate ESTABLISHED -j DROP');
      return {
        rule: 'forward-drops-replies',
        nodes: [b.id],
        breaks: [{ from: a.pod(), to: b.pod(), proto: 'tcp', outcome: 'timeout' }],
      };
    },
    mends: true,
  },
  {
    name: 'no forwarding entry',
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'no-fdb'),
    run: (lab, node) => {
      const peer = lab.nodes.find((n) => n !== node) as LabNode;
      return `bridge fdb append ${peer.plan.vtepMac} dev flannel.1 dst ${peer.ip}`;
    },
    mends: true,
  },
  {
    name: 'no route to the peer',
    inject: async (lab) => {
      const [a, b] = [lab.node(0), lab.node(1)];
      await a.sh(`ip route del ${b.plan.podSubnet}`);
      return { rule: '', nodes: [a.id], breaks: [{ from: a.pod(), to: b.pod(), proto: 'icmp', outcome: 'lost' }] };
    },
    run: (lab) => {
      const subnet = lab.node(1).plan.podSubnet;
      return `ip route add ${subnet} via ${subnet.replace(/\/.*/, '')} dev flannel.1 onlink`;
    },
    mends: true,
  },
  {
    name: 'the uplink is down',
    inject: async (lab) => {
      const [a, b] = [lab.node(0), lab.node(1)];
      await a.sh('ip link set eth0 down');
      return { rule: '', nodes: [a.id], breaks: [{ from: b.pod(), to: a.pod(), proto: 'icmp', outcome: 'lost' }] };
    },
    run: (lab) => `ip link set eth0 up; ip route add default via ${lab.outside.ip}`,
    mends: true,
  },
];

const place = (p: Probe['from']): string => (typeof p === 'string' ? p : (p.ip ?? p.id));

/** An answer comes back; null: the evidence does not tell. */
function answered(trace: TraceJson): boolean | null {
  const verdicts = [trace.verdict, trace.reply?.verdict ?? 'delivered'];
  if (verdicts.some((v) => v === 'dropped' || v === 'rejected')) return false;
  return verdicts.includes('unknown') ? null : true;
}

/** The command that the finding gives for its fault. */
function commandOf(
  json: { findings: readonly { rule: string; nodes: readonly string[]; remediation: readonly { run?: string }[] }[] },
  rule: string,
  node: string,
): string {
  const finding = json.findings.find((f) => f.rule === rule && f.nodes.includes(node));
  const run = finding?.remediation.find((r) => r.run !== undefined)?.run;
  if (run === undefined)
    throw new Error(`${rule} gives no command for ${node}: ${JSON.stringify(json.findings.map((f) => f.rule))}`);
  return run;
}

describe.skipIf(!labsAvailable())('the command of a remediation, assumed and real', () => {
  it.each(REMEDIES)(
    '$name',
    async ({ spec, inject, run, mends }) => {
      const lab = await Lab.create(spec ?? { nodes: 2 });
      const dir = mkdtempSync(join(tmpdir(), 'nc-what-if-'));
      try {
        // as on a real node, whose gateway is in its neighbour table
        for (const n of lab.nodes) await n.sh(`ping -c1 -W1 ${lab.outside.ip} >/dev/null || true`);
        const { rule, nodes, breaks } = await inject(lab);
        const node = lab.node(nodes[0] as string);
        const probes: readonly Probe[] = [...breaks, ...lab.mesh(['tcp', 'icmp'])];
        const before = await probePatiently(lab, probes);
        expect(breaks.map((_, i) => before[i]?.outcome)).toEqual(breaks.map((b) => b.outcome));
        const caseFile = join(dir, 'c.netcase');
        const report = join(dir, 'c.json');
        await netcase([
          'analyze',
          ...(await lab.collectAll(dir)),
          '--case',
          caseFile,
          '--format',
          'json',
          '-o',
          report,
          '--quiet',
        ]);
        const { default: json } = await import(report, { with: { type: 'json' } });
        const command = run?.(lab, node) ?? commandOf(json, rule, node.id);
        const trace = (probe: Probe, changes: readonly string[]) =>
          traceCase({
            caseFile,
            from: place(probe.from),
            to: place(probe.to),
            proto: probe.proto,
            port: probe.port,
            changes,
          });
        for (const probe of breaks)
          expect(answered(trace(probe, [])), `${place(probe.from)} -> ${place(probe.to)} without the change`).not.toBe(
            true,
          );
        const predicted = probes.map((probe) => trace(probe, [`${command} @${node.id}`]));
        await node.sh(command);
        const after = await probePatiently(lab, probes);
        const wrong = probes.flatMap((probe, i) => {
          const said = answered(predicted[i] as TraceJson);
          const real = after[i]?.outcome === 'ok';
          return said === null || said === real
            ? []
            : [
                `${place(probe.from)} -> ${place(probe.to)} ${probe.proto}: real ${after[i]?.outcome}, predicted ${predicted[i]?.verdict}/${predicted[i]?.reply?.verdict}: ${predicted[i]?.because}`,
              ];
        });
        expect(wrong, command).toEqual([]);
        expect(
          breaks.map((_, i) => answered(predicted[i] as TraceJson)),
          command,
        ).toEqual(breaks.map(() => mends));
      } finally {
        await lab.destroy();
        rmSync(dir, { recursive: true, force: true });
      }
    },
    600_000,
  );
});
