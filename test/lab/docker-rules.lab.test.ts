import { describe, expect, it } from 'vitest';
import { serious } from '../support/analyse.ts';
import { judge, namesIt } from '../support/judge.ts';
import type { Effect } from '../support/lab/index.ts';
import * as labs from '../support/lab/index.ts';
import { DockerLab, dockerLabsAvailable } from '../support/lab/index.ts';

describe.skipIf(!dockerLabsAvailable())('a node with a real dockerd', () => {
  it('is silent when healthy', async () => {
    await using docker = await DockerLab.create();
    await docker.container({ name: 'web', publish: ['9001:9000'] });
    // exposes no port: docker leaves the empty field out of its answer
    await docker.container({ name: 'client' });
    const json = await judge(docker.lab);
    expect(serious(json)).toEqual([]);
    expect(json.verdicts['bundle-incomplete']).toMatchObject({ pass: 1 });
    expect(json.verdicts['docker-api-exposed']).toMatchObject({ pass: 1 });
    expect(json.verdicts['bridge-down-or-addressless']).toMatchObject({ pass: 1 });
    expect(json.verdicts['egress-masquerade-missing']).toMatchObject({ pass: 1 });
    expect(json.verdicts['forward-drops-pod-traffic']).toMatchObject({ pass: 1 });
    expect(json.verdicts['docker-rules-missing']).toMatchObject({ pass: 1 });
  });

  const flushes = [
    ['filter', 'critical', ['absent: a jump from FORWARD', ':FORWARD DROP', ':DOCKER -', 'dockerd']],
    ['filter-accept', 'high', ['absent: a jump from FORWARD', ':FORWARD ACCEPT']],
    ['nat', 'high', ['absent: a jump from nat PREROUTING to DOCKER', ':PREROUTING ACCEPT']],
    ['ruleset', 'high', ['absent: a jump from FORWARD', 'absent: a jump from nat PREROUTING']],
  ] as const;
  it.each(flushes)('docker-rules-missing: %s; a restart of dockerd mends it', async (how, severity, cites) => {
    await using docker = await DockerLab.create({ daemonJson: { 'live-restore': true } });
    const effect = await labs.dockerRulesMissing(docker, how);
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity, cites });
    const causes = json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule);
    expect(causes[0]).toBe('docker-rules-missing');
    expect(causes).not.toContain('forward-drops-pod-traffic');
    expect(causes).not.toContain('egress-masquerade-missing');
    await docker.restartDaemon();
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts['docker-rules-missing']).toMatchObject({ pass: 1 });
  });

  it.each([
    ['nat', 'absent: a rule of Docker’s that sends 9001/tcp to 172.17.0.2:9000'],
    ['filter', 'absent: a rule of Docker’s that lets in 9000/tcp at 172.17.0.2'],
  ] as const)('docker-rules-missing: chain DOCKER of %s is empty; its remedy fills it', async (table, lack) => {
    await using docker = await DockerLab.create();
    const effect = await labs.dockerPortRulesMissing(docker, table);
    for (const { outcome, ...probe } of effect.breaks) expect(await docker.probe(probe)).toMatchObject({ outcome });
    const json = await judge(docker.lab);
    const cites = ['"Name":"/web"', lack, ':DOCKER -', ...(table === 'filter' ? [':FORWARD DROP'] : [])];
    namesIt(json, effect, { severity: 'high', cites });
    expect(json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule)).toEqual([
      'docker-rules-missing',
    ]);
    const [step] = json.findings.find((f) => f.rule === effect.rule)?.remediation ?? [];
    await docker.node.sh(step?.run ?? 'false');
    await docker.attach('web', [9000]);
    const answer = await docker.probe({ from: docker.outside, to: docker.node, proto: 'tcp', port: 9001 });
    expect(answer).toMatchObject({ outcome: 'ok', seenSource: '10.3.20.99' });
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts['docker-rules-missing']).toMatchObject({ pass: 1 });
  });

  it('iptables-backends-both-active: one published port, two containers', async () => {
    await using docker = await DockerLab.create();
    await docker.container({ name: 'web', publish: ['9001:9000'] });
    const other = await docker.container({ name: 'other' });
    await docker.node.sh(
      `iptables-legacy -t nat -A PREROUTING -p tcp --dport 9001 -j DNAT --to-destination ${other.ip}:9000`,
    );
    const json = await judge(docker.lab);
    const effect = { rule: 'iptables-backends-both-active', nodes: [docker.node.id], breaks: [], keeps: [] };
    namesIt(json, effect, {
      severity: 'high',
      cites: ['--to-destination 172.17.0.2:9000', '--to-destination 172.17.0.3:9000'],
    });
    // whichever container is taken for a client: what leads the port to `other` leads `other` to itself
    const others = serious(json).filter((line) => !line.includes(effect.rule));
    for (const line of others) expect(line).toMatch(/^high trace-pod-to-service-and-external\/.* redirected by /);
    const causes = json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule);
    expect(causes).toContain(effect.rule);
  });

  it('docker-user-ineffective; its remedy shuts the port again', async () => {
    await using docker = await DockerLab.create({ daemonJson: { 'live-restore': true } });
    const effect = await labs.dockerUserIneffective(docker);
    const cites = [
      ':DOCKER-USER -',
      '-A DOCKER-USER -i eth0',
      'absent: a jump from FORWARD to DOCKER-USER',
      ':FORWARD DROP',
    ];
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity: 'high', cites });
    // the rest of Docker's rules is there
    expect(json.verdicts['docker-rules-missing']).toMatchObject({ pass: 1 });
    await docker.node.sh('iptables -I FORWARD -j DOCKER-USER');
    expect((await docker.probe(effect.guarded)).outcome).toBe('timeout');
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts['docker-user-ineffective']).toMatchObject({ pass: 1 });
  });

  it('docker-user-ineffective: a rule that names the host’s port keeps nobody off; its remedy does', async () => {
    await using docker = await DockerLab.create();
    const effect = await labs.dockerUserHostPort(docker);
    const cites = ['-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 9001', '--to-destination 172.17.0.2:9000'];
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity: 'high', cites });
    const step = json.findings.find((f) => f.rule === effect.rule)?.remediation?.[0];
    await docker.node.sh(step?.run ?? 'false');
    expect((await docker.probe(effect.guarded)).outcome).toBe('timeout');
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts['docker-user-ineffective']).toMatchObject({ pass: 1 });
  });

  it('docker-rules-missing: nothing to say where dockerd is told to write none, or is down', async () => {
    await using docker = await DockerLab.create({ daemonJson: { iptables: false } });
    expect((await judge(docker.lab)).verdicts['docker-rules-missing']).toMatchObject({ notApplicable: 1 });
    await docker.stopDaemon();
    docker.node.write('/etc/docker/daemon.json', '{}\n');
    expect((await judge(docker.lab)).verdicts['docker-rules-missing']).toMatchObject({ notApplicable: 1 });
  });

  it('docker-iptables-disabled; its remedy lets containers out again', async () => {
    await using docker = await DockerLab.create({ daemonJson: { iptables: false } });
    await docker.node.sh('sysctl -qw net.ipv4.ip_forward=1');
    const client = await docker.container({ name: 'client' });
    const out = { from: client.id, to: docker.outside, proto: 'tcp', port: 80 } as const;
    expect((await docker.probe(out)).outcome).toBe('timeout');
    const effect = { rule: 'docker-iptables-disabled', nodes: [docker.node.id], breaks: [], keeps: [] };
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity: 'high', cites: ['"iptables": false', 'inet 172.17.0.1/16'] });
    expect(json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule)).toEqual([effect.rule]);
    const step = json.findings.find((f) => f.rule === effect.rule)?.remediation[1];
    await docker.node.sh(step?.run ?? 'false');
    expect((await docker.probe(out)).outcome).toBe('ok');
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts[effect.rule]).toMatchObject({ pass: 1 });
  });

  it('dnat-to-missing-container: a rule of a container that is gone takes the port; its remedy gives it back', async () => {
    await using docker = await DockerLab.create();
    await docker.container({ name: 'web', publish: ['9001:9000'] });
    await docker.node.sh(
      'iptables -t nat -I DOCKER ! -i docker0 -p tcp --dport 9001 -j DNAT --to-destination 172.17.0.9:9000',
    );
    const published = { from: docker.outside, to: docker.node, proto: 'tcp', port: 9001 } as const;
    expect((await docker.probe(published)).outcome).not.toBe('ok');
    const effect = { rule: 'dnat-to-missing-container', nodes: [docker.node.id], breaks: [], keeps: [] };
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity: 'high', cites: ['--to-destination 172.17.0.9:9000', 'inet 172.17.0.1/16'] });
    expect(json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule)).toEqual([effect.rule]);
    await docker.node.sh(json.findings.find((f) => f.rule === effect.rule)?.remediation[0]?.run ?? 'false');
    expect((await docker.probe(published)).outcome).toBe('ok');
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts[effect.rule]).toMatchObject({ pass: 1 });
  });

  it('blanket-forward-accept: networks reach one another; its remedy keeps them apart again', async () => {
    await using docker = await DockerLab.create();
    await docker.docker('network create other');
    const web = await docker.container({ name: 'web' });
    const client = await docker.container({ name: 'client', network: 'other' });
    const across = { from: client.id, to: web.ip, proto: 'tcp', port: 9000 } as const;
    expect((await docker.probe(across)).outcome).toBe('timeout');
    await docker.node.sh('iptables -I FORWARD -s 0.0.0.0/0 -j ACCEPT');
    expect((await docker.probe(across)).outcome).toBe('ok');
    const effect = { rule: 'blanket-forward-accept', nodes: [docker.node.id], breaks: [], keeps: [] };
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity: 'high', cites: ['-A FORWARD -j ACCEPT', '-A FORWARD -j DOCKER-USER'] });
    expect(json.causes.map((c) => json.findings.find((f) => f.id === c.finding)?.rule)).toEqual([effect.rule]);
    await docker.node.sh(json.findings.find((f) => f.rule === effect.rule)?.remediation[0]?.run ?? 'false');
    expect((await docker.probe(across)).outcome).toBe('timeout');
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts[effect.rule]).toMatchObject({ pass: 1 });
  });

  it('docker-bip-not-flannel-subnet: pods on docker0 outside the lease, until dockerd takes it', async () => {
    await using docker = await DockerLab.create();
    const env = 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
    docker.node.write('/run/flannel/subnet.env', env);
    const pod = { name: 'k8s_POD_web-0_default_0e2d8f5a_0' };
    await docker.container(pod);
    const effect = { rule: 'docker-bip-not-flannel-subnet', nodes: [docker.node.id], breaks: [], keeps: [] };
    const json = await judge(docker.lab);
    namesIt(json, effect, {
      severity: 'critical',
      cites: ['inet 172.17.0.1/16', 'FLANNEL_SUBNET=10.244.3.1/24', '"Name":"/k8s_POD_web-0'],
    });
    expect(serious(json)).toHaveLength(1);
    await docker.docker(`rm -f ${pod.name}`);
    await docker.restartDaemon(['--bip=10.244.3.1/24']);
    await docker.container(pod);
    const after = await judge(docker.lab);
    expect(serious(after)).toEqual([]);
    expect(after.verdicts[effect.rule]).toMatchObject({ pass: 1 });
  });

  it.each([
    ['socket', ' at=/var/run/docker.sock ', ' uid=0 '],
    ['read-only directory', ' mode=ro at=/host/run socket=/host/run/docker.sock ', ' uid=0 '],
    ['in its group', ' at=/rootfs/run ', ' uid=1000 '],
  ] as const)('a container that has the API: %s', async (how, ...cites) => {
    await using docker = await DockerLab.create();
    const effect = await labs.dockerSocketMounted(docker, how);
    expect(effect.connects).toBe(true);
    const json = await judge(docker.lab);
    namesIt(json, effect, { severity: 'high', cites });
    expect(serious(json)).toHaveLength(1);
    const [found] = json.findings.filter((f) => f.rule === 'docker-api-exposed');
    expect(found).toMatchObject({
      confidence: 'proven',
      message: expect.stringContaining('agent (image busybox:lab)'),
    });
  });

  it('a socket for everybody; its remedy shuts it again', async () => {
    await using docker = await DockerLab.create();
    await labs.dockerSocketOpen(docker);
    const [found] = (await judge(docker.lab)).findings.filter((f) => f.rule === 'docker-api-exposed');
    await docker.node.sh(found?.remediation[0]?.run ?? 'false');
    expect((await docker.node.run(labs.stranger('/run/docker.sock'))).stderr).toContain('permission denied');
    expect(await docker.docker('ps -q')).toBe('');
    expect((await judge(docker.lab)).verdicts['docker-api-exposed']).toMatchObject({ pass: 1 });
  });

  it('a container that has the socket and may not write to it, one with something on top of it', async () => {
    await using docker = await DockerLab.create();
    expect((await labs.dockerSocketMounted(docker, 'nobody')).connects).toBe(false);
    await docker.container({ name: 'masked', args: ['-v /run:/host/run', '-v /dev/null:/host/run/docker.sock'] });
    // where /var/run is a link, /var holds no socket
    await docker.container({ name: 'var', args: ['-v /var:/host/var'] });
    const json = await judge(docker.lab);
    expect(serious(json)).toEqual([]);
    expect(json.verdicts['docker-api-exposed']).toMatchObject({ pass: 1 });
  });

  const dockerFaults: [string, (d: DockerLab) => Promise<Effect>, string, string[], object?][] = [
    ['API on all addresses', (d) => labs.dockerApiExposed(d), 'critical', ['2375', 'tcp://0.0.0.0:2375']],
    ['API on loopback', (d) => labs.dockerApiExposed(d, '127.0.0.1'), 'high', ['127.0.0.1:2375']],
    ['socket for everybody', (d) => labs.dockerSocketOpen(d), 'high', ['mode=srw-rw-rw- ', 'dir mode=drwxr-xr-x']],
    ['write permission is enough', (d) => labs.dockerSocketOpen(d, '662'), 'high', ['mode=srw-rw--w- ']],
    ['daemon.json of the next start', (d) => labs.daemonJsonUnusable(d, 'trailing-comma', 'running'), 'high', ['}']],
    [
      'daemon.json with hosts and -H',
      (d) => labs.daemonJsonUnusable(d, 'hosts-and-flag', 'running'),
      'high',
      ['"hosts"'],
    ],
    [
      'kubelet systemd, docker cgroupfs',
      (d) => labs.dockerCgroupDriverMismatch(d),
      'critical',
      ['cgroupDriver: systemd'],
      { cluster: {} },
    ],
    [
      'a docker network in the pod range',
      (d) => labs.containerNetworksOverlap(d),
      'high',
      ['FLANNEL_NETWORK=10.244.0.0/16'],
      { cluster: {} },
    ],
    [
      'a docker network in the service range',
      (d) => labs.containerNetworksOverlap(d, 'service-network'),
      'critical',
      ['10.96.8.0/24'],
      { cluster: { services: [] } },
    ],
  ];
  it.each(dockerFaults)('%s', async (_name, inject, severity, cites, spec) => {
    await using docker = await DockerLab.create(spec ?? {});
    const effect = await inject(docker);
    namesIt(await judge(docker.lab), effect, { severity, cites });
  });
});
