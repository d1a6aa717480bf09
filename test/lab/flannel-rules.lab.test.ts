import { describe, expect, it } from 'vitest';
import { type AnalysisJson, serious } from '../support/analyse.ts';
import { judge } from '../support/judge.ts';
import type { Effect } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { Lab, labsAvailable } from '../support/lab/index.ts';

/** What the kernel makes of packets is what the fault says. */
async function felt(lab: Lab, { breaks, keeps }: Effect): Promise<void> {
  const all = [...breaks, ...keeps.map((p) => ({ ...p, outcome: 'ok' }))];
  const got = await lab.probeAll(all.map(({ outcome: _, ...probe }) => probe));
  expect(got.map((r) => r.outcome)).toEqual(all.map((p) => p.outcome));
}

const of = (json: AnalysisJson, rule: string) => json.findings.filter((f) => f.rule === rule);
const shown = (json: AnalysisJson, rule: string) =>
  of(json, rule).map((f) =>
    f.cites.map((c) => (c.absent === undefined ? (c.text ?? '').trim() : `absent: ${c.absent}`)),
  );
const causes = (json: AnalysisJson) => [
  ...new Set(json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule)),
];

describe.skipIf(!labsAvailable())('faults of flannel on real nodes are named', () => {
  it.concurrent('firewalls that let no vxlan in; the remedies end that', async () => {
    await using lab = await Lab.create();
    const effect = await labs.vxlanUdpBlocked(lab);
    await felt(lab, effect);
    const json = await judge(lab);
    expect(of(json, effect.rule).map((f) => `${f.severity} ${f.confidence} ${f.nodes}`)).toEqual([
      'critical proven node-a',
      'critical proven node-b',
    ]);
    const [onA, onB] = shown(json, effect.rule);
    expect(onA?.[0]).toMatch(/^:INPUT DROP/);
    expect(onA?.[2]).toMatch(/dev flannel\.1 dst 192\.168\.50\.12 /);
    expect(onB?.[0]).toMatch(/^iifname "eth0" udp dport 1024-65535 reject with icmpx admin-prohibited/);
    expect(causes(json)).toEqual([effect.rule]);
    for (const { nodes, remediation } of of(json, effect.rule))
      await lab.node(nodes[0]).sh(remediation[0]?.run ?? 'false');
    await felt(lab, { ...effect, breaks: [], keeps: effect.breaks });
    const after = await judge(lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts[effect.rule]).toMatchObject({ pass: 2 });
  });

  it.concurrent('nodes that are one to flannel: by MAC, and by address', async () => {
    await using lab = await Lab.create(labs.CLONES);
    const effect = await labs.flannelIdentityDuplicate(lab);
    await felt(lab, effect);
    const json = await judge(lab);
    const found = of(json, effect.rule);
    expect(found.map((f) => `${f.severity} ${f.confidence} ${f.nodes}`)).toEqual([
      'critical proven node-a,node-b',
      'critical proven node-c,node-d',
    ]);
    const [macs, addresses] = shown(json, effect.rule);
    expect(macs?.join('\n')).toMatch(/lladdr 0e:00:00:00:00:01 .*PERMANENT/);
    expect(addresses?.join('\n')).toMatch(/vxlan id 1 local 10\.0\.2\.15[\s\S]*dst 10\.0\.2\.15/);
    expect(causes(json)).toContain(effect.rule);
  });

  it.concurrent('nodes that announce what others have no way to', async () => {
    await using lab = await Lab.create();
    const effect = await labs.flannelPublicIpUnreachable(lab);
    await felt(lab, effect);
    const json = await judge(lab);
    expect(of(json, effect.rule).map((f) => `${f.severity} ${f.confidence} ${f.nodes}`)).toEqual([
      'critical proven node-a',
      'critical proven node-b',
    ]);
    const [onA, onB] = shown(json, effect.rule);
    expect(onA?.[0]).toMatch(/dev flannel\.1 dst 10\.244\.2\.1 /);
    expect(onB?.[2]).toMatch(/^unreachable 172\.30\.8\.0\/24/);
    expect(causes(json)[0]).toBe(effect.rule);
  });

  it.concurrent('a device of an earlier lease', async () => {
    await using lab = await Lab.create();
    const effect = await labs.flannelIdentityDisagrees(lab);
    await felt(lab, effect);
    const json = await judge(lab);
    expect(of(json, effect.rule).map((f) => `${f.severity} ${f.nodes}`)).toEqual(['high node-a']);
    expect(shown(json, effect.rule)[0]).toEqual([
      'FLANNEL_SUBNET=10.244.1.1/24',
      expect.stringMatching(/^inet 10\.244\.9\.0\/32/),
    ]);
    expect(causes(json)[0]).toBe(effect.rule);
    expect(json.verdicts[effect.rule]).toMatchObject({ pass: 1 });
  });

  it.concurrent('flanneld’s rules are gone, behind a policy DROP', async () => {
    await using lab = await Lab.create();
    const effect = await labs.flannelRulesMissing(lab);
    await felt(lab, effect);
    const json = await judge(lab);
    expect(of(json, effect.rule).map((f) => `${f.severity} ${f.nodes}`)).toEqual(['critical node-a']);
    const [cites = []] = shown(json, effect.rule);
    expect(cites[0]).toBe('absent: a rule of flannel for 10.244.0.0/16');
    expect(cites[1]).toMatch(/^:FORWARD DROP/);
    expect(causes(json)).toEqual([effect.rule]);
    expect(json.verdicts[effect.rule]).toMatchObject({ pass: 1 });
  });
});
