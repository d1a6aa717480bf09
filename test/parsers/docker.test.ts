import { describe, expect, test } from 'vitest';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

test('networks: bridges, IPAM, lines', () => {
  const text = sample('docker.network-inspect', '20.10');
  const { networks } = parse('dockerNetworks', text);
  expect(
    networks.map((n) => [n.name, n.driver, n.internal, n.ipam.map((i) => [i.subnet, i.gateway, i.ipRange])]),
  ).toEqual([
    ['bridge', 'bridge', false, [['172.17.0.0/16', undefined, undefined]]],
    ['host', 'host', false, []],
    ['inner', 'bridge', true, [['10.88.0.0/24', '10.88.0.1', '10.88.0.128/25']]],
    ['my net', 'bridge', false, [['172.18.0.0/16', '172.18.0.1', undefined]]],
    ['none', 'null', false, []],
  ]);
  expect(networks.map((n) => n.bridge)).toEqual([
    'docker0',
    undefined,
    'br-lab',
    `br-${networks[3]!.id.slice(0, 12)}`,
    undefined,
  ]);
  for (const network of networks) {
    expect(lineOf(text, network.line)).toBe('{');
    expect(lineOf(text, network.endLine!)).toMatch(/^\},?$/);
    for (const pool of network.ipam)
      expect(lineOf(text, pool.line + 1)).toBe(`"Subnet": "${pool.subnet}"${pool.gateway === undefined ? '' : ','}`);
  }
  expect(networks[2]!.options['com.docker.network.driver.mtu']).toBe('1400');
  expect(networks[3]!.containers).toMatchObject([{ name: 'web', ipv4: '172.18.0.2/16', mac: '02:42:ac:12:00:02' }]);
});

test('networks: a torn output keeps what was read', () => {
  const text = '[{"Id":"a","Name":"x","Driver":"bridge","Options":{"__proto__":"y"}},{"Id":"b"';
  const parsed = parserOf('dockerNetworks').parse(text);
  expect(parsed).toMatchObject({ ok: true, value: { networks: [{ name: 'x', bridge: 'br-a' }] } });
  expect(parsed.ok && parsed.skipped.length).toBeGreaterThan(0);
  expect(({} as Record<string, unknown>).y).toBeUndefined();
});

describe('network list', () => {
  test.each(['no-trunc', 'short'])('%s', (name) => {
    const text = sample('docker.network-ls', name);
    const { networks } = parse('dockerNetworkList', text);
    expect(networks.map((n) => [n.line, n.name, n.driver, n.scope])).toEqual([
      [2, 'bridge', 'bridge', 'local'],
      [3, 'host', 'host', 'local'],
      [4, 'inner', 'bridge', 'local'],
      [5, 'my net', 'bridge', 'local'],
      [6, 'none', 'null', 'local'],
    ]);
    for (const n of networks) expect(lineOf(text, n.line)).toMatch(n.id);
  });

  test('without SCOPE, with lost alignment, with an error', () => {
    const old = 'NETWORK ID          NAME                DRIVER\n7fca4eb8c647        bridge              bridge\n';
    expect(parse('dockerNetworkList', old).networks).toEqual([
      { line: 2, id: '7fca4eb8c647', name: 'bridge', driver: 'bridge' },
    ]);
    const tabs = 'NETWORK ID  NAME  DRIVER  SCOPE\n7fca4eb8c647\tmy net\tbridge\tlocal\nCannot connect\n';
    expect(parse('dockerNetworkList', tabs, [3]).networks).toMatchObject([
      { name: 'my net', driver: 'bridge', scope: 'local' },
    ]);
    expect(parserOf('dockerNetworkList').parse('Cannot connect to the Docker daemon')).toMatchObject({ ok: false });
  });
});

describe('containers', () => {
  test.each(['allowlist', 'inspect'])('%s', (name) => {
    const text = sample('docker.containers', name);
    const [web] = parse('dockerContainers', text).containers;
    expect(web).toMatchObject({
      name: 'web',
      state: 'running',
      networkMode: 'my net',
      privileged: false,
      networks: [
        { name: 'my net', ip: '172.18.0.2', prefixLength: 16, gateway: '172.18.0.1', mac: '02:42:ac:12:00:02' },
      ],
      labels: { a: 'b', 'com.example.odd': 'x "y"' },
    });
    expect(web!.ports).toContainEqual({ containerPort: 80, proto: 'tcp', hostIp: '127.0.0.1', hostPort: 8080 });
    expect(web!.ports).toHaveLength(5);
    expect(web!.restarts).toBe(0);
    // bundles of the first collectors do not say when it was started
    const times = { startedAt: '2026-11-24T15:53:01.241512542Z', finishedAt: '0001-01-01T00:00:00Z' };
    if (name === 'inspect') expect(web).toMatchObject(times);
    expect(lineOf(text, web!.line)).toMatch(/^\{/);
  });

  test('ports that were asked for have no effect on a macvlan network (as dockerd 20.10 says it); of a stopped one they will', () => {
    const of = (status: string) =>
      `{"Id":"a1","Name":"/x","State":{"Status":"${status}"},"HostConfig":{"PortBindings":{"9000/tcp":[{"HostIp":"","HostPort":"9701"}]}},"NetworkSettings":{"Ports":{}}}\n`;
    expect(parse('dockerContainers', of('running')).containers[0]?.ports).toEqual([]);
    expect(parse('dockerContainers', of('exited')).containers[0]?.ports).toMatchObject([{ hostPort: 9701 }]);
  });

  test('stopped, flat names, exposed only, errors', () => {
    const text =
      '{"Id":"a1","Name":"/x","State.Status":"exited","State.Pid":0,"NetworkSettings":{"Ports":{"53/udp":null}},"Config.Labels":{"__proto__":"p"}}\nError: No such object: y\n';
    const [x] = parse('dockerContainers', text, [2]).containers;
    expect(x).toMatchObject({ line: 1, name: 'x', state: 'exited', ports: [{ containerPort: 53, proto: 'udp' }] });
    expect(x!.pid).toBeUndefined();
    expect(parse('dockerContainers', '').containers).toEqual([]);
  });
});

test('info: text and JSON have the same paths', () => {
  const json = parse('dockerInfo', sample('docker.info-json', '20.10'));
  const source = sample('docker.info', '20.10');
  const text = parse('dockerInfo', source);
  const values = (s: typeof json) =>
    new Map(s.settings.filter((x) => x.type !== 'object').map((x) => [x.path, x.value]));
  const [a, b] = [values(json), values(text)];
  const same = [
    'CgroupDriver',
    'CgroupVersion',
    'ServerVersion',
    'Driver',
    'LoggingDriver',
    'Swarm.LocalNodeState',
    'NCPU',
    'LiveRestoreEnabled',
    'Debug',
  ];
  same.push(
    'DockerRootDir',
    'RegistryConfig.InsecureRegistryCIDRs.0',
    'Warnings.0',
    'Warnings.11',
    'SecurityOptions.0',
    'SecurityOptions.1',
    'Name',
  );
  same.push(
    'ContainersRunning',
    'ClientInfo.Version',
    'KernelVersion',
    'OperatingSystem',
    'DefaultRuntime',
    'ContainerdCommit.ID',
    'ExperimentalBuild',
  );
  for (const path of same) {
    expect(a.has(path), path).toBe(true);
    expect([path, b.get(path)]).toEqual([path, a.get(path)]);
  }
  for (const s of text.settings)
    if (typeof s.value === 'string') expect(lineOf(source, s.line)).toContain(s.value.replace(/^name=|,.*$/g, ''));
  const driver = json.settings.find((s) => s.path === 'CgroupDriver')!;
  expect(lineOf(sample('docker.info-json', '20.10'), 1).slice(driver.col! - 1, driver.col! - 1 + driver.length!)).toBe(
    '"CgroupDriver":"cgroupfs"',
  );
});

test('info of old versions has no sections', () => {
  const { settings } = parse(
    'dockerInfo',
    'Containers: 2\nServer Version: 1.12.6\nCgroup Driver: systemd\nInsecure Registries:\n 127.0.0.0/8\nWARNING: bridge-nf-call-iptables is disabled\n',
  );
  expect(settings.map((s) => [s.path, s.value])).toEqual([
    ['Containers', 2],
    ['ServerVersion', '1.12.6'],
    ['CgroupDriver', 'systemd'],
    ['RegistryConfig.InsecureRegistryCIDRs.0', '127.0.0.0/8'],
    ['Warnings.0', 'WARNING: bridge-nf-call-iptables is disabled'],
  ]);
});

test.each(['json', 'text'])('version: %s', (name) => {
  const { settings } = parse('dockerVersion', sample('docker.version', name));
  const at = (path: string) => settings.find((s) => s.path === path)?.value;
  expect([at('Client.Version'), at('Server.Version'), at('Server.GoVersion')]).toEqual([
    '28.2.2',
    '20.10.24+dfsg1',
    'go1.19.8',
  ]);
});
