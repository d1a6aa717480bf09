import { describe, expect, it } from 'vitest';
import type { AnalysisJson } from '../support/analyse.ts';
import { judge } from '../support/judge.ts';
import type { Effect, Probe } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { Lab, labsAvailable, probePatiently } from '../support/lab/index.ts';

/** Real packets meet the fault, and what is to work works. */
async function measured(lab: Lab, { breaks, keeps }: Effect): Promise<void> {
  const broken = await lab.probeAll(breaks);
  expect(broken.map((r) => r.outcome)).toEqual(breaks.map((b) => b.outcome));
  await works(lab, ...keeps);
}

async function works(lab: Lab, ...probes: readonly Probe[]): Promise<void> {
  expect((await probePatiently(lab, probes)).map((r) => r.outcome)).toEqual(probes.map(() => 'ok'));
}

/** One finding of the rule with these cites, which is the one cause of all that is broken. */
function namesIt(json: AnalysisJson, effect: Effect, severity: string, cites: readonly string[]) {
  const all = json.findings.map((f) => `${f.severity} ${f.id}: ${f.message}`).join('\n');
  const mine = json.findings.filter((f) => f.rule === effect.rule);
  expect(mine, all).toHaveLength(1);
  expect(mine[0]).toMatchObject({ severity, nodes: effect.nodes });
  const shown = mine[0]?.cites.map((c) => (c.absent === undefined ? (c.text ?? '') : `absent: ${c.absent}`)) ?? [];
  for (const text of cites) expect(shown.join('\n')).toContain(text);
  expect(json.unknown.filter((u) => u.kind === 'error')).toEqual([]);
  const ruleOf = (id: string) => json.findings.find((f) => f.id === id)?.rule;
  expect(
    json.causes.map((c) => ruleOf(c.finding)),
    all,
  ).toEqual([effect.rule]);
  return mine[0];
}

describe.skipIf(!labsAvailable())('routing', () => {
  it('a policy rule, then a blackhole; their remedies bring the pods back', async () => {
    await using lab = await Lab.create();
    const { a, pa, pb, icmp } = labs.paths(lab);
    const policy = await labs.policyRuleCapturesPodTraffic(lab);
    await measured(lab, policy);
    const captured = namesIt(await judge(lab), policy, 'high', [
      '100:\tfrom all lookup 200',
      'default dev vpn0 table 200',
      '10.244.1.0/24 dev cni0',
    ]);
    await a.sh(captured?.remediation[0]?.run ?? 'false');
    await works(lab, icmp(pb, pa), icmp(pa, pb));
    await a.sh('ip rule del pref 100');
    const blackhole = await labs.blackholeShadowsPodCidr(lab);
    await measured(lab, blackhole);
    const shadowed = namesIt(await judge(lab), blackhole, 'critical', [
      'blackhole 10.244.1.0/24',
      '10.244.1.0/24 dev cni0',
      'inet 10.244.1.1/24',
    ]);
    await a.sh(shadowed?.remediation[0]?.run ?? 'false');
    await works(lab, icmp(pb, pa), icmp(pa, pb));
  });

  it('strict filters on a node with two networks; their remedies let packets in', async () => {
    await using lab = await Lab.create();
    const { a, pa, pb, icmp, tcp } = labs.paths(lab);
    const effect = await labs.rpFilterDropsPath(lab);
    await measured(lab, effect);
    const json = await judge(lab);
    const mine = json.findings.filter((f) => f.rule === effect.rule);
    expect(mine.map((f) => `${f.severity} ${f.nodes} ${f.message}`)).toEqual([
      expect.stringMatching(/^high node-a .*answers from outside .* strict on eth1/),
      expect.stringMatching(/^high node-a .*flannel\.1: rp_filter is strict on eth0/),
    ]);
    const shown = mine.flatMap((f) => f.cites.map((c) => c.text)).join('\n');
    for (const text of ['eth0/rp_filter:1', 'eth1/rp_filter:1', '10.98.0.0/24 dev eth1', 'default via 192.168.50.'])
      expect(shown).toContain(text);
    const ruleOf = (id: string) => json.findings.find((f) => f.id === id)?.rule;
    expect([...new Set(json.causes.map((c) => ruleOf(c.finding)))]).toEqual([effect.rule]);
    for (const f of mine) await a.sh(f.remediation[0]?.run ?? 'false');
    await works(lab, icmp(pa, pb), icmp(pb, pa), tcp(pa, lab.outside));
  });

  it('loopback addresses of a node are reached from outside, until its remedy; another node has the rule of the kubelet', async () => {
    await using lab = await Lab.create();
    const { a, b } = labs.paths(lab);
    const effect = await labs.routeLocalnetExposed(lab);
    expect((await lab.probe(await effect.steal(b))).outcome).toBe('timeout');
    await works(lab, await effect.steal(a), ...effect.keeps);
    const json = await judge(lab);
    const found = namesIt(json, effect, 'high', ['net/ipv4/conf/all/route_localnet:1', '127.0.0.1:2379']);
    expect(json.verdicts[effect.rule]).toMatchObject({ pass: 1 });
    await a.sh(found?.remediation[0]?.run ?? 'false');
    expect((await lab.probe(await effect.steal(a))).outcome).toBe('timeout');
  });

  it('ranges that disagree, and leases that fill a subnet', async () => {
    const own = labs.subnetRange('10.42.0.0/16');
    await using lab = await Lab.create({ nodes: [{ files: own }, {}] });
    const { b } = labs.paths(lab);
    await labs.fillLeases(b);
    const json = await judge(lab);
    const byRule = (rule: string) => json.findings.filter((f) => f.rule === rule);
    expect(byRule('pod-cidr-disagreement').map((f) => `${f.severity} ${f.nodes}`)).toEqual(['high node-a']);
    expect(
      byRule('pod-cidr-disagreement')[0]
        ?.cites.map((c) => c.text)
        .join('\n'),
    ).toMatch(/--cluster-cidr=10\.42\.0\.0\/16[\s\S]*"Network": "10\.244\.0\.0\/16"/);
    expect(byRule('pod-address-range-exhausted').map((f) => `${f.severity} ${f.nodes} ${f.message}`)).toEqual([
      expect.stringMatching(/^critical node-b node-b has no address left for a new pod: 253 of 253 addresses/),
    ]);
    expect(json.verdicts['pod-cidr-disagreement']).toMatchObject({ pass: 1 });
    expect(json.verdicts['pod-address-range-exhausted']).toMatchObject({ pass: 1 });
  });
});
