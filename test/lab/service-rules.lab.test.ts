import { describe, expect, it } from 'vitest';
import type { AnalysisJson } from '../support/analyse.ts';
import { judge } from '../support/judge.ts';
import type { Effect } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { DockerLab, dockerLabsAvailable, Lab, labsAvailable, probePatiently } from '../support/lab/index.ts';

/** The packets do what the fault says, and the finding of its rule cites these lines. */
async function holds(lab: Lab, effect: Effect): Promise<void> {
  const probes = [...effect.breaks, ...effect.keeps];
  const wanted = [...effect.breaks.map((b) => b.outcome), ...effect.keeps.map(() => 'ok')];
  expect((await probePatiently(lab, probes)).map((r) => r.outcome)).toEqual(wanted);
}

const citesOf = (json: AnalysisJson, rule: string, node: string): string[] =>
  json.findings.filter((f) => f.rule === rule && f.nodes[0] === node).flatMap((f) => f.cites.map((c) => c.text ?? ''));

describe.skipIf(!labsAvailable())('packets that never come to kube-proxy’s rules', () => {
  it('accepted in front of them on one node, routed into a hole on the other', async () => {
    await using lab = await Lab.create(labs.WITH_DNS);
    const astray = await labs.servicesAstray(lab, 'accepted');
    const hole = await labs.servicesBlackholed(lab);
    await holds(lab, astray);
    await holds(lab, hole);
    const json = await judge(lab);
    const found = citesOf(json, astray.rule, 'node-a').join('\n');
    expect(found).toContain('-A PREROUTING -s 10.244.1.0/24 -j ACCEPT');
    expect(found).toContain('-A KUBE-SERVICES -d 10.96.0.10/32 -p udp');
    expect(citesOf(json, hole.rule, 'node-b').join('\n')).toContain('blackhole 10.96.0.0/12');
    const [remedy] = json.findings.find((f) => f.rule === astray.rule)?.remediation ?? [];
    await lab.node(0).sh(remedy?.run ?? 'false');
    const { outcome: _, ...probe } = astray.breaks[0]!;
    expect(await lab.probe(probe)).toMatchObject({ outcome: 'ok' });
  });
});

describe.skipIf(!labsAvailable())('a kube-proxy that ended', () => {
  it('is named, though its rules still serve', async () => {
    await using lab = await Lab.create(labs.WITH_DNS);
    await lab.node(0).stopProcess('kube-proxy');
    const probe = { from: lab.pods()[0]!, to: '10.96.0.10', proto: 'udp', port: 53 } as const;
    expect(await lab.probe(probe)).toMatchObject({ outcome: 'ok' });
    const json = await judge(lab);
    expect(
      json.findings.filter((f) => f.severity !== 'info').map((f) => `${f.severity} ${f.rule} on ${f.nodes}`),
    ).toEqual(['medium kube-proxy-not-running on node-a']);
    const cited = citesOf(json, 'kube-proxy-not-running', 'node-a').join('\n');
    expect(cited).toContain('-A KUBE-SERVICES -d 10.96.0.');
    expect(json.verdicts['kube-proxy-not-running']).toMatchObject({ pass: 1 });
  });
});

describe.skipIf(!labsAvailable())('a server on a node that is gone', () => {
  it('is named, and no connection gets there', async () => {
    const dead = '10.244.9.10:53';
    await using lab = await Lab.create({
      services: (labs.WITH_DNS.services ?? []).map((s) => (s.port === 53 ? { ...s, endpoints: [dead] } : s)),
    });
    const probe = { from: lab.pods()[0]!, to: '10.96.0.10', proto: 'udp', port: 53 } as const;
    expect(await lab.probe(probe)).not.toMatchObject({ outcome: 'ok' });
    const json = await judge(lab);
    const found = json.findings.filter((f) => f.rule === 'service-endpoint-dead');
    expect(found.map((f) => `${f.severity} ${f.message}`)).toEqual([
      expect.stringContaining(`high kube-system/kube-dns:dns sends 100 % of new connections to ${dead}`),
    ]);
    expect(citesOf(json, 'service-endpoint-dead', 'node-a').join('\n')).toContain(`--to-destination ${dead}`);
  });
});

describe.skipIf(!dockerLabsAvailable())('a port led by hand', () => {
  it('to a container that is gone', async () => {
    await using docker = await DockerLab.create();
    const effect = await labs.ledByHand(docker);
    await holds(docker.lab, effect);
    const found = citesOf(await judge(docker.lab), effect.rule, effect.nodes[0]!);
    expect(found[0]).toContain('-A PREROUTING -p tcp -m tcp --dport 8443 -j DNAT');
  });
});
