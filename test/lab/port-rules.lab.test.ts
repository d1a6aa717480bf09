import { describe, expect, it } from 'vitest';
import { type AnalysisJson, serious } from '../support/analyse.ts';
import { judge } from '../support/judge.ts';
import type { Effect } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { DockerLab, dockerLabsAvailable, Lab, labsAvailable } from '../support/lab/index.ts';

/** What the kernel does to the effect’s packets is what the effect says. */
async function measured(lab: Lab, { breaks, keeps }: Effect): Promise<void> {
  const probes = [...breaks, ...keeps.map((p) => ({ ...p, outcome: 'ok' as const }))];
  const results = await lab.probeAll(probes.map(({ outcome: _, ...p }) => p));
  expect(results.map((r) => r.outcome)).toEqual(probes.map((p) => p.outcome));
}

const mended = (effect: Effect): Effect => ({
  ...effect,
  breaks: [],
  keeps: effect.breaks.map(({ outcome: _, ...p }) => p),
});

function named(json: AnalysisJson, { rule, nodes }: Effect, severity: string, ...cites: string[]) {
  const mine = json.findings.filter((f) => f.rule === rule && f.severity === severity);
  expect(
    mine.flatMap((f) => f.nodes),
    json.findings.map((f) => `${f.severity} ${f.rule}`).join(', '),
  ).toEqual(nodes);
  const shown = mine.flatMap((f) =>
    f.cites.map((c) => (c.absent === undefined ? (c.text ?? '') : `absent: ${c.absent}`)),
  );
  for (const text of cites) expect(shown.join('\n')).toContain(text);
  return mine[0]!;
}

describe.skipIf(!dockerLabsAvailable())('ports of a node with a real dockerd', () => {
  it('four faults at once, each named; their remedies end them', async () => {
    await using docker = await DockerLab.create();
    const web = await docker.container({ name: 'web', publish: ['9001:9000', '9002:9000'] });
    const client = await docker.container({ name: 'client' });
    const healthy = await judge(docker.lab);
    expect(serious(healthy)).toEqual([]);
    const rules = [
      'host-port-conflict',
      'published-port-blocked-for-containers',
      'bridge-netfilter-drops-same-bridge',
      'loopback-publish-broken',
    ];
    for (const rule of rules) expect(healthy.verdicts[rule], rule).toMatchObject({ pass: 1 });

    const refused = await labs.containerWithoutPort(docker);
    expect(refused).toContain('address already in use');
    const conflict = await labs.hostPortConflict(docker, client.ip);
    const blocked = await labs.publishedPortBlocked(docker, client.id, 9001);
    const apart = await labs.sameBridgeDropped(docker, client.id, web.ip);
    const loopback = await labs.loopbackPublishBroken(docker, 'proxy', 9002);
    for (const effect of [conflict, blocked, apart, loopback]) await measured(docker.lab, effect);

    const json = await judge(docker.lab);
    named(json, conflict, 'high', `--to-destination ${client.ip}:9000`, ':8080 ');
    const late = json.findings.find((f) => f.message.startsWith('Container late '));
    expect(late?.cites.map((c) => c.text)).toEqual([
      expect.stringContaining('"Error":"driver failed programming external connectivity on endpoint late'),
      expect.stringContaining(':9005'),
    ]);
    const steps = [
      named(json, blocked, 'medium', '-A INPUT -i docker0 -p tcp -m tcp --dport 9001 -j DROP', '"Name":"/web"')
        .remediation[1],
      named(json, apart, 'high', ':FORWARD DROP', 'bridge-nf-call-iptables:1', 'docker0: <').remediation[0],
      named(json, loopback, 'medium', '"Name":"/web"', 'absent: docker-proxy on 9002/tcp').remediation[0],
    ];
    const causes = new Set(json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule));
    expect([...causes].sort()).toEqual([...rules].sort());

    for (const step of steps) await docker.node.sh(step?.run ?? 'false');
    await docker.attach('web', [9000]);
    for (const effect of [blocked, apart, loopback]) await measured(docker.lab, mended(effect));
    const after = await judge(docker.lab);
    expect(new Set(after.findings.filter((f) => /high|medium/.test(f.severity)).map((f) => f.rule))).toEqual(
      new Set(['host-port-conflict']),
    );
  });

  it('without docker-proxy the node itself translates what it sends to loopback, until route_localnet is off', async () => {
    await using docker = await DockerLab.create({ daemonJson: { 'userland-proxy': false } });
    await docker.container({ name: 'web', publish: ['9001:9000'] });
    await docker.container({ name: 'client' });
    const healthy = await judge(docker.lab);
    expect(serious(healthy)).toEqual([]);
    expect(healthy.verdicts['loopback-publish-broken']).toMatchObject({ pass: 1 });
    const effect = await labs.loopbackPublishBroken(docker, 'route_localnet', 9001);
    await measured(docker.lab, effect);
    const found = named(
      await judge(docker.lab),
      effect,
      'medium',
      '--to-destination 172.17.0.2:9000',
      'docker0/route_localnet:0',
    );
    await docker.node.sh(found.remediation[0]?.run ?? 'false');
    await measured(docker.lab, mended(effect));
  });
});

describe.skipIf(!labsAvailable())('the node itself and its pods', () => {
  it('a firewall that forgets the node’s own pods, ports without hairpin mode; their remedies', async () => {
    await using lab = await Lab.create(labs.CONTROL_PLANE);
    const firewall = await labs.hostFirewallBlocksControlPlane(lab);
    const hairpin = await labs.hairpinModeOff(lab);
    await measured(lab, firewall);
    await measured(lab, hairpin);
    const json = await judge(lab);
    const steps = [
      named(json, firewall, 'high', '-A INPUT -j DROP', ':6443', 'inet 10.244.1.1/24').remediation[0],
      named(json, hairpin, 'medium', 'veth', '--to-destination 10.244.1.10:80', 'bridge-nf-call-iptables:1')
        .remediation[0],
    ];
    const causes = json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule);
    expect(new Set(causes)).toEqual(new Set([firewall.rule, hairpin.rule]));
    for (const step of steps) await lab.node(0).sh(step?.run ?? 'false');
    for (const effect of [firewall, hairpin]) await measured(lab, mended(effect));
    const after = await judge(lab);
    expect(serious(after)).toEqual([]);
    for (const { rule } of [firewall, hairpin])
      expect(after.verdicts[rule], rule).toMatchObject({ pass: rule === hairpin.rule ? 2 : 1 });
  });
});
