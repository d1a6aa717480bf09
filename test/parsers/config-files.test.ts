import { describe, expect, test } from 'vitest';
import type { JsonSettings, Settings } from '../../src/facts/settings.ts';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

const pairs = (s: Settings) => s.settings.map((x) => [x.line, x.path, x.value]);

describe('daemon.json', () => {
  const read = (text: string): JsonSettings => parse('daemonJson', text);

  test('settings with lines', () => {
    const text =
      '{\n  "exec-opts": [\n    "native.cgroupdriver=systemd"\n  ],\n  "iptables": false,\n  "mtu": 1450\n}\n';
    const value = read(text);
    expect(pairs(value)).toEqual([
      [2, 'exec-opts', null],
      [3, 'exec-opts.0', 'native.cgroupdriver=systemd'],
      [5, 'iptables', false],
      [6, 'mtu', 1450],
    ]);
    expect(value).toMatchObject({ errors: [], duplicateKeys: [], bom: false, rootType: 'object' });
    for (const s of value.settings)
      expect(lineOf(text, s.line)).toContain(s.path.includes('.') ? String(s.value) : `"${s.path}"`);
  });

  const broken: [string, string, number, string][] = [
    ['trailing comma', '{\n  "a": 1,\n}\n', 3, 'PropertyNameExpected'],
    ['comment', '{\n  // why\n  "a": 1\n}\n', 2, 'InvalidCommentToken'],
    ['cut', '{\n  "a": 1,\n  "b": [1', 3, 'CloseBracketExpected'],
    ['no comma', '{\n  "a": 1\n  "b": 2\n}\n', 3, 'CommaExpected'],
    ['two documents', '{"a": 1}\n{"b": 2}\n', 2, 'EndOfFileExpected'],
    ['single quotes', "{\n 'a': 1\n}\n", 2, 'InvalidSymbol'],
    ['empty', '', 1, 'ValueExpected'],
  ];
  test.each(broken)('%s', (_, text, line, message) => {
    const { errors } = read(text);
    expect(errors.map((e) => `${e.line} ${e.message}`)).toContain(`${line} ${message}`);
  });

  test('what could be read stays', () => {
    expect(pairs(read('{\n "a": 1,\n "b": 2,\n}'))).toEqual([
      [2, 'a', 1],
      [3, 'b', 2],
    ]);
    expect(read('[1]').rootType).toBe('array');
    expect(read('').rootType).toBe('none');
  });

  test('byte order mark, duplicate keys, keys that bite', () => {
    const value = read('\uFEFF{"a":1,\n"a":2,"__proto__":{"polluted":true},"constructor":1}');
    expect(value.bom).toBe(true);
    expect(value.errors).toEqual([{ line: 1, message: 'byte order mark' }]);
    expect(value.duplicateKeys).toMatchObject([{ line: 2, path: 'a' }]);
    expect(value.settings.map((s) => s.path)).toEqual(['a', 'a', '__proto__', '__proto__.polluted', 'constructor']);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(parserOf('daemonJson').parse('['.repeat(100))).toEqual({ ok: false, why: 'nested deeper than 64' });
  });

  test('every strict JSON has no errors', () => {
    for (const text of ['{}', 'null', '{"a":[1,-2.5e3,"\\u00e9",true,null,{}]}', ' "x" '])
      expect(read(text).errors).toEqual([]);
    for (const text of ['{"a":01}', '{"a":"\t"}', '{"a":"\\x"}', '{a:1}', 'nul', '{"a":.5}'])
      expect(read(text).errors.length).toBeGreaterThan(0);
  });
});

test('net-conf and crictl info', () => {
  expect(pairs(parse('flannelNetConf', '{\n"Network": "10.244.0.0/16",\n"Backend": {"Type": "vxlan"}\n}'))).toEqual([
    [2, 'Network', '10.244.0.0/16'],
    [3, 'Backend', null],
    [3, 'Backend.Type', 'vxlan'],
  ]);
  const many = JSON.stringify({ config: Array.from({ length: 30_000 }, (_, i) => i) });
  const parsed = parserOf('criInfo').parse(many);
  expect(parsed.ok && parsed.value.settings.length).toBe(20_000);
  expect(parserOf('criInfo').parse('FATA[0000] connect: no such file')).toMatchObject({ ok: false });
});

test('containerd: the default configuration', () => {
  const text = sample('cri.containerd-config', '1.6-default');
  const { settings } = parse('containerdConfig', text);
  const cgroup = settings.find(
    (s) => s.path === 'plugins.io.containerd.grpc.v1.cri.containerd.runtimes.runc.options.SystemdCgroup',
  )!;
  expect(cgroup).toMatchObject({ value: false, type: 'boolean' });
  for (const s of settings) {
    const cited = text
      .split('\n')
      .slice(s.line - 1, s.endLine)
      .join('\n');
    const last = s.path.split('.').at(-1)!;
    expect(cited).toContain(/^\d+$/.test(last) ? String(s.value ?? '') : last);
  }
});

test('containerd: every form of TOML', () => {
  const text =
    'version = 2 # two\na.b."c.d" = \'raw\\n\'\n[plugins."x.y"]\n  list = [\n    "one", # first\n    2,\n  ]\n  inline = { k = true, "q r" = [1.5, 0x10] }\n  long = """\nl1\nl2"""\n[[arr]]\nn = 1\n[[arr]]\nn = 1_000\nbad line\nwhen = 1979-05-27T07:32:00Z\n';
  expect(pairs(parse('containerdConfig', text, [16]))).toEqual([
    [1, 'version', 2],
    [2, 'a.b.c.d', 'raw\\n'],
    [3, 'plugins.x.y', null],
    [4, 'plugins.x.y.list', null],
    [5, 'plugins.x.y.list.0', 'one'],
    [6, 'plugins.x.y.list.1', 2],
    [8, 'plugins.x.y.inline', null],
    [8, 'plugins.x.y.inline.k', true],
    [8, 'plugins.x.y.inline.q r', null],
    [8, 'plugins.x.y.inline.q r.0', 1.5],
    [8, 'plugins.x.y.inline.q r.1', 16],
    [9, 'plugins.x.y.long', 'l1\nl2'],
    [12, 'arr.0', null],
    [13, 'arr.0.n', 1],
    [14, 'arr.1', null],
    [15, 'arr.1.n', 1000],
    [17, 'arr.1.when', '1979-05-27T07:32:00Z'],
  ]);
});

test('kubelet and kube-proxy YAML', () => {
  const text =
    'apiVersion: kubelet.config.k8s.io/v1beta1\ncgroupDriver: systemd\nclusterDNS:\n- 10.96.0.10\nauthentication:\n  anonymous:\n    enabled: false\nport: 10250\nnone:\n';
  const value = parse('kubeletConfig', text);
  expect(pairs(value)).toEqual([
    [1, 'apiVersion', 'kubelet.config.k8s.io/v1beta1'],
    [2, 'cgroupDriver', 'systemd'],
    [3, 'clusterDNS', null],
    [4, 'clusterDNS.0', '10.96.0.10'],
    [5, 'authentication', null],
    [6, 'authentication.anonymous', null],
    [7, 'authentication.anonymous.enabled', false],
    [8, 'port', 10250],
    [9, 'none', null],
  ]);
  expect(pairs(parse('kubeProxyConfig', '{"clusterCIDR": "10.244.0.0/16"}'))).toEqual([
    [1, 'clusterCIDR', '10.244.0.0/16'],
  ]);
  expect(pairs(parse('kubeletConfig', 'a: &x 1\nb: *x\n---\nc: 2\n', [3]))).toEqual([
    [1, 'a', 1],
    [2, 'b', 1],
  ]);
  expect(parserOf('kubeletConfig').parse('- '.repeat(5000))).toMatchObject({ ok: false });
  expect(parserOf('kubeletConfig').parse('x'.repeat(1024 * 1024 + 1))).toMatchObject({ ok: false });
});

test('environment files', () => {
  const text =
    '# c\nKUBELET_KUBEADM_ARGS="--cgroup-driver=systemd --x=\\"y\\""\nexport A=\'b c\' # d\nE=\nL="one \\\ntwo"\nnot a line\nFLANNEL_IPMASQ=true\n';
  expect(parse('kubeadmFlags', text, [7]).variables).toEqual([
    { line: 2, endLine: 2, name: 'KUBELET_KUBEADM_ARGS', value: '--cgroup-driver=systemd --x="y"' },
    { line: 3, endLine: 3, name: 'A', value: 'b c' },
    { line: 4, endLine: 4, name: 'E', value: '' },
    { line: 5, endLine: 6, name: 'L', value: 'one two' },
    { line: 8, endLine: 8, name: 'FLANNEL_IPMASQ', value: 'true' },
  ]);
});

describe('process arguments', () => {
  test('a real dockerd with an empty argument at its end', () => {
    const { processes } = parse('dockerdArgs', sample('docker.cmdline', 'lab'));
    expect(processes).toHaveLength(1);
    expect(processes[0]!.flags.slice(0, 4).map((f) => [f.line, f.name, f.value])).toEqual([
      [2, 'data-root', '/tmp/fwd/dk/data'],
      [4, 'exec-root', '/tmp/fwd/dk/exec'],
      [6, 'p', '/tmp/fwd/dk/pid'],
      [8, 'H', 'unix:///tmp/fwd/dk/s'],
    ]);
  });

  test('processes apart by an empty line or a pid', () => {
    const flags = (text: string) =>
      parse('k3sArgs', text).processes.map((p) => [
        p.pid,
        p.argv[0]!.text,
        ...p.flags.map((f) => `${f.line} ${f.name}=${f.value}`),
      ]);
    expect(flags('k3s\nserver\n--debug\n--flannel-iface=eth0\n\nk3s\nagent\n-v\n2\n')).toEqual([
      [undefined, 'k3s', '3 debug=true', '4 flannel-iface=eth0'],
      [undefined, 'k3s', '8 v=2'],
    ]);
    expect(flags('# pid 12\ndockerd\n--containerd\n\n--debug\n# pid 13\ndockerd\n')).toEqual([
      [12, 'dockerd', '3 containerd=', '5 debug=true'],
      [13, 'dockerd'],
    ]);
    expect(flags('')).toEqual([]);
  });
});

describe('process arguments in one line', () => {
  const flags = (text: string) =>
    parse('dockerdArgs', text).processes.map((p) => [
      p.argv[0]!.text,
      ...p.flags.map((f) => `${f.line} ${f.name}=${f.value}`),
    ]);
  const dockerd = ['/usr/bin/dockerd', '1 H=fd://', '1 tlsverify=true', '1 H=tcp://0.0.0.0:2376'];

  test('with NULs, as /proc has it', () => {
    const text = '/usr/bin/dockerd\0-H\0fd://\0--tlsverify\0-H\0tcp://0.0.0.0:2376\0';
    expect(flags(text)).toEqual([dockerd]);
    expect(flags(`${text}\n`)).toEqual([dockerd]);
  });

  test('a letter and its value in one word', () => {
    const text = '/usr/bin/dockerd\0-Hfd://\0--tlsverify\0-Htcp://0.0.0.0:2376\0';
    expect(flags(text)).toEqual([dockerd]);
  });

  test('with spaces, as people and ps write it', () => {
    const line = '/usr/bin/dockerd -H fd:// --tlsverify -H tcp://0.0.0.0:2376';
    expect(flags(`${line}\n`)).toEqual([dockerd]);
    for (const head of [
      'root      1234  0.5  1.2 1234567 98765 ?       Ssl  Nov03  12:34 ',
      'root      1234     1  0 Nov03 ?        00:12:34 ',
      '   1234 ',
    ])
      expect(flags(`${head}${line}\nbob 99 1 0 10:00 pts/0 00:00:00 grep --color=auto dockerd\n`)).toEqual([dockerd]);
    expect(flags(`UID PID PPID C STIME TTY TIME CMD\nroot 1 0 0 Nov03 ? 00:01 ${line}\n`)).toEqual([
      dockerd.map((f) => f.replace(/^1 /, '2 ')),
    ]);
    expect(flags('/usr/local/bin/k3s server\n')).toEqual([['/usr/local/bin/k3s']]);
  });
});

describe('unit files', () => {
  test('a real unit', () => {
    const text = sample('docker.unit', 'debian-12');
    const { entries } = parse('dockerUnit', text);
    for (const e of entries) expect(lineOf(text, e.line)).toBe(`${e.key}=${e.value}`);
    expect(new Set(entries.map((e) => e.file))).toEqual(
      new Set(['/lib/systemd/system/docker.service', '/lib/systemd/system/docker.socket']),
    );
    expect(entries.find((e) => e.key === 'ExecStart')).toMatchObject({ section: 'Service' });
  });

  test('drop-in with a reset, continued lines, properties', () => {
    const text =
      '# /etc/systemd/system/docker.service.d/x.conf\n[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  # why\n  --mtu 1400 \\\n  -H fd://\nEnvironment=A=b\n[Install]\nWantedBy=x\n\nNRestarts=3\nEnvironment=A=b\nActiveState=active\n';
    const file = '/etc/systemd/system/docker.service.d/x.conf';
    expect(parse('dockerUnit', text)).toEqual({
      entries: [
        { line: 3, endLine: 3, file, section: 'Service', key: 'ExecStart', value: '' },
        {
          line: 4,
          endLine: 7,
          file,
          section: 'Service',
          key: 'ExecStart',
          value: '/usr/bin/dockerd --mtu 1400 -H fd://',
        },
        { line: 8, endLine: 8, file, section: 'Service', key: 'Environment', value: 'A=b' },
        { line: 10, endLine: 10, file, section: 'Install', key: 'WantedBy', value: 'x' },
      ],
      properties: [
        { line: 12, key: 'NRestarts', value: '3' },
        { line: 13, key: 'Environment', value: 'A=b' },
        { line: 14, key: 'ActiveState', value: 'active' },
      ],
    });
  });
});

test('CNI: flannel and single configurations', () => {
  const flannel =
    '{\n "name": "cbr0",\n "cniVersion": "0.3.1",\n "plugins": [\n  {\n   "type": "flannel",\n   "delegate": {\n    "hairpinMode": true,\n    "isDefaultGateway": true\n   }\n  },\n  {\n   "type": "portmap",\n   "capabilities": {"portMappings": true}\n  }\n ]\n}\n';
  const conf = parse('cniConf', flannel);
  expect(conf).toMatchObject({
    name: 'cbr0',
    plugins: [
      {
        line: 5,
        endLine: 11,
        type: 'flannel',
        hairpinMode: true,
        isGateway: true,
        subnets: [],
        settings: { 'delegate.hairpinMode': true },
      },
      { line: 12, endLine: 15, type: 'portmap', settings: { 'capabilities.portMappings': true } },
    ],
  });
  const bridge =
    '{"name":"mynet","type":"bridge","bridge":"cni0","ipMasq":true,"mtu":1450,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]}}';
  expect(parse('cniConf', bridge)).toMatchObject({
    plugins: [{ type: 'bridge', bridge: 'cni0', ipMasq: true, mtu: 1450, subnets: ['10.1.0.0/24', 'fd00::/64'] }],
  });
  // the file is there, and no runtime can use it: that is a fact
  expect(parserOf('cniConf').parse('not json')).toMatchObject({
    ok: true,
    value: { plugins: [], list: false, refused: [{ line: 1 }] },
    skipped: [{ line: 1 }, { line: 1 }, { line: 1 }],
  });
  expect(parserOf('cniConf').parse('')).toMatchObject({
    ok: true,
    value: { plugins: [], refused: [{ line: 1, message: 'it holds no JSON' }] },
  });
  expect(parserOf('cniConf').parse('[]')).toMatchObject({
    value: { refused: [{ line: 1, message: 'it holds JSON of another kind: array' }] },
    skipped: [{ line: 1 }],
  });
  expect(
    parserOf('cniConf').parse('{"name":"a",\n"plugins":[{"type":"flannel"},{"kind":"portmap"}],}\n'),
  ).toMatchObject({
    value: {
      name: 'a',
      list: true,
      refused: [
        { line: 1, endLine: 2 },
        { line: 1, endLine: 2 },
      ],
      untyped: [{ line: 2 }],
      plugins: [{ type: 'flannel' }],
    },
  });
  expect(parserOf('cniConf').parse('{"type":"bridge"}')).toMatchObject({
    value: { list: false, refused: [], untyped: [] },
  });
  expect(parserOf('cniConf').parse('{"name":"a"}')).toMatchObject({ value: { list: false, untyped: [{ line: 1 }] } });
});

test('CNI plugins: ls -l of coreutils and busybox', () => {
  // Debian 12: coreutils 9.1, then busybox 1.35, TIME_STYLE=long-iso, SELinux's dot
  const text = [
    'total 52',
    '-rwxr-xr-x 1 root root 4016001 Jan 11  2024 bridge',
    'lrwxrwxrwx 1 root root      13 Nov 27 15:20 flannel -> flannel-amd64',
    '-rw-r--r--    1 root     root             0 Nov 27 15:20 host-local',
    '-rwxr-xr-x. 1 root root 3388154 2024-01-11 10:02 loopback',
    '-rwSr--r--+ 1 root 1000 3388154 Nov  7 05:20 with a blank',
    'drwxr-xr-x 2 root root    4096 Nov 27 15:20 old',
    '',
  ].join('\n');
  expect(parse('cniBin', text).files).toEqual([
    { line: 2, name: 'bridge', type: '-', executable: true, size: 4016001 },
    { line: 3, name: 'flannel', type: 'l', executable: true, size: 13, target: 'flannel-amd64' },
    { line: 4, name: 'host-local', type: '-', executable: false, size: 0 },
    { line: 5, name: 'loopback', type: '-', executable: true, size: 3388154 },
    { line: 6, name: 'with a blank', type: '-', executable: false, size: 3388154 },
    { line: 7, name: 'old', type: 'd', executable: true, size: 4096 },
  ]);
  expect(parse('cniBin', 'total 0\n').files).toEqual([]);
  expect(parserOf('cniBin').parse('bridge\nflannel\n')).toMatchObject({ ok: false });
});

test('CNI leases', () => {
  const at = '/var/lib/cni/networks/cbr0';
  const text = `${at}/10.244.0.5:abc123\r\n${at}/10.244.0.5:eth0\n${at}/fd00::5:def456\n${at}/last_reserved_ip.0:10.244.0.5\ngrep: x\n`;
  expect(parse('cniLeases', text, [5]).leases).toEqual([
    { line: 1, endLine: 2, network: 'cbr0', ip: '10.244.0.5', owner: 'abc123' },
    { line: 3, network: 'cbr0', ip: 'fd00::5', owner: 'def456' },
  ]);
});

test('plain lines', () => {
  expect(parse('staticPods', 'a\n\n - --cluster-cidr=10.244.0.0/16\r\n').lines).toEqual([
    { line: 1, text: 'a' },
    { line: 3, text: ' - --cluster-cidr=10.244.0.0/16' },
  ]);
});
