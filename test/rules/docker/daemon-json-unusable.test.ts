import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/daemon-json-unusable.ts';
import { ACCEPTED_DAEMON_JSON, BROKEN_DAEMON_JSON } from '../../support/lab/docker-faults.ts';
import type { Files } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { MEASURED as MORE } from './daemon-json-measured.ts';

const version = (v: string) => `${JSON.stringify({ Client: { Version: v }, Server: { Version: v } })}\n`;
const unit = (exec: string) =>
  `# /lib/systemd/system/docker.service\n[Unit]\nDescription=Docker Application Container Engine\n\n[Service]\nType=notify\nExecStart=${exec}\n`;
const node = (json: string, more: Files = {}) => ({
  n: {
    files: {
      'files/etc/docker/daemon.json': json,
      'docker/version.json': version('20.10.24'),
      'systemd/docker.txt': unit('/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock'),
      ...more,
    },
  },
});
const down = { 'cmdline/dockerd.txt': { status: 'absent' as const } };

testRule(rule, {
  finds: {
    'trailing comma, dockerd down': {
      nodes: node('{\n  "log-driver": "json-file",\n}\n', down),
      expect: [
        { key: 'not-json', severity: 'critical', message: /cannot start .* not valid JSON at line 3/, cites: ['}'] },
      ],
    },
    'hosts while the unit has -H': {
      nodes: node('{\n  "hosts": ["unix:///var/run/docker.sock"]\n}\n', down),
      expect: [{ key: 'doubled hosts', cites: ['"hosts"', '-H fd://'] }],
    },
    'unknown key': {
      nodes: node('{\n  "log-drivers": "json-file"\n}\n'),
      expect: [{ key: 'unknown log-drivers', cites: ['"log-drivers"'] }],
    },
    'hosts must be an array': {
      nodes: node('{\n  "dns": "10.0.0.2"\n}\n'),
      expect: [{ key: 'type dns', message: /must be array, it is string/, cites: ['"dns"'] }],
    },
    'log-opts values are strings': {
      nodes: node('{\n  "log-opts": {\n    "max-file": 3\n  }\n}\n'),
      expect: [{ key: 'type log-opts.max-file', cites: ['"max-file": 3'] }],
    },
    'bip is the network address': {
      nodes: node('{\n  "bip": "172.26.0.0/16"\n}\n'),
      expect: [{ key: 'bip', cites: ['"bip"'] }],
    },
    'a setting that this version does not have': {
      nodes: node('{\n  "ip-forward-no-drop": true\n}\n'),
      expect: [
        { key: 'too-new ip-forward-no-drop', message: /needs Docker 28, this is 20/, cites: ['"ip-forward-no-drop"'] },
      ],
    },
    'it still runs on an older copy': {
      nodes: node('{"debug": true,}\n', { 'cmdline/dockerd.txt': '/usr/sbin/dockerd\n-H\nfd://\n' }),
      expect: [{ severity: 'high', message: /runs on an older copy/, cites: ['{"debug": true,}'] }],
    },
  },
  passes: {
    'a usual file': {
      nodes: node(
        '{\n  "exec-opts": ["native.cgroupdriver=systemd"],\n  "log-driver": "json-file",\n  "log-opts": {"max-size": "10m"},\n  "bip": "172.26.0.1/16"\n}\n',
      ),
    },
    'what looks broken and dockerd 20.10.24 starts with, measured: flag name': {
      nodes: node(ACCEPTED_DAEMON_JSON['flag-name']),
    },
    'a key twice': { nodes: node(ACCEPTED_DAEMON_JSON['duplicate-key']) },
    'fixed-cidr outside bip': { nodes: node(ACCEPTED_DAEMON_JSON['fixed-cidr-outside']) },
    'an empty object': { nodes: node('{}\n') },
    'what documentation and forums give for Docker 29': {
      nodes: node(
        '{"min-api-version": "1.24", "bridge-accept-fwmark": "0x40000/0xff0000", "containerd-plugins-namespace": "p", "bip": "", "mtu": 0}\n',
        { 'docker/version.json': version('29.1.3') },
      ),
    },
    'the setting exists in 28': {
      nodes: node('{"ip-forward-no-drop": true}\n', { 'docker/version.json': version('28.2.2') }),
    },
  },
  notApplicable: { 'no file': { nodes: { n: { files: { 'files/etc/docker/daemon.json': { status: 'absent' } } } } } },
  unknown: {
    'somebody pasted a file that is not there': {
      nodes: {
        n: {
          info: { format: 'loose-files' },
          files: { 'files/etc/docker/daemon.json': 'cat: /etc/docker/daemon.json: No such file or directory\n' },
        },
      },
      answers: { n: 'missing' },
    },
    'somebody pasted it with the prompt': {
      nodes: {
        n: {
          info: { format: 'loose-files' },
          files: {
            'files/etc/docker/daemon.json':
              '[root@web-1 ~]# cat /etc/docker/daemon.json\n{"debug": true}\n[root@web-1 ~]# \n',
            'systemd/docker.txt': unit('/usr/sbin/dockerd -H fd://'),
          },
        },
      },
      because: /Docker version/,
    },
    'version not known: version checks are open, not passed': {
      nodes: {
        n: {
          files: {
            'files/etc/docker/daemon.json': '{"debug": true}\n',
            'systemd/docker.txt': unit('/usr/sbin/dockerd -H fd://'),
          },
        },
      },
      because: /version is not known/,
    },
  },
});

describe('every file that dockerd 20.10.24 refuses (test/lab shows it does)', () => {
  it.each(Object.entries(BROKEN_DAEMON_JSON))('%s', (_name, json) => {
    expect(judge([rule], node(json, down)).findings.map((f) => f.severity)).toContain('critical');
  });
});

/** What dockerd 20.10.24 (Debian 12) did with a file and flags, in a network namespace of its own: true = it started. */
const MEASURED: readonly (readonly [json: string, flags: string, starts: boolean])[] = [
  ['{"debug":true}', '', true],
  ['{"debug":true}', '-D', false],
  ['{"debug":null}', '', true],
  ['{"debug":"true"}', '', false],
  ['{"DEBUG":true}', '', false],
  ['{"debug":true} x', '', true],
  ['{"debug":true,"debug":false}', '', true],
  ['\uFEFF{"debug":true}', '', false],
  ['[]', '', false],
  ['', '', false],
  ['{"live-restore":true}', '--live-restore', false],
  ['{"labels":["a=b"]}', '--label c=d', false],
  ['{"labels":["nolabel"]}', '', false],
  ['{"log-opts":{"max-size":"1m"}}', '--log-opt max-file=3', false],
  ['{"storage-opts":["x=y"]}', '--storage-opt a=b', false],
  ['{"runtimes":{"x":{"path":"/bin/x"}}}', '--add-runtime y=/bin/y', true],
  ['{"runtimes":{"runc":{"path":"/x"}}}', '', false],
  ['{"default-runtime":"nosuch"}', '', false],
  ['{"dns":["8.8.8.8"]}', '--dns 1.1.1.1', false],
  ['{"dns":["nope"]}', '', false],
  ['{"ip":"nope"}', '', false],
  ['{"insecure-registries":["a:5000"]}', '--insecure-registry b:5000', false],
  ['{"insecure-registries":["http://a:5000"]}', '', true],
  ['{"registry-mirrors":["not a url"]}', '', false],
  ['{"registry-mirrors":["https://a/b?x=1"]}', '', false],
  ['{"exec-opts":["native.cgroupdriver=systemd"]}', '--exec-opt native.cgroupdriver=cgroupfs', false],
  ['{"exec-opts":["native.cgroupdriver=foo"]}', '', false],
  ['{"features":{"buildkit":"true"}}', '', false],
  ['{"deprecated-key-path":"/x"}', '', true],
  ['{"fixed-cidr":"10.0.0.0/24","bip":"172.17.0.1/16"}', '', true],
  ['{"bip":"172.17.0.0/16"}', '', false],
  ['{"bip":"172.17.0.1"}', '', false],
  ['{"max-concurrent-downloads":-1}', '', false],
  ['{"max-concurrent-downloads":1.5}', '', false],
  ['{"mtu":-5}', '', false],
  ['{"shutdown-timeout":"3"}', '', false],
  ['{"hosts":["tcp://127.0.0.1:2376"]}', '-H fd://', false],
  ['{"cgroup-parent":5}', '', false],
  ['{"default-shm-size":64}', '', false],
  ['{"default-shm-size":"64M"}', '', true],
  ['{"default-ulimits":{"nofile":{"Name":"nofile","Hard":10,"Soft":20}}}', '', true],
  ['{"default-ulimits":["nofile=1:2"]}', '', false],
  ['{"log-driver":"nosuch"}', '', true],
  // what dockerd said once its network and storage were up as well
  ['{"log-driver":"json-file","log-opts":{"max-sizes":"10m"}}', '', false],
  ['{"log-opts":{"max-sizes":"10m"}}', '', false],
  ['{"log-driver":"journald","log-opts":{"max-size":"10m"}}', '', false],
  ['{"log-driver":"json-file","log-opts":{"max-size":"10m","max-file":"0"}}', '', true],
  ['{"log-driver":"json-file","log-opts":{"max-size":"10mb","max-file":"3"}}', '', true],
  ['{"log-driver":"json-file","log-opts":{"max-size":"ten"}}', '', true],
  ['{"log-driver":"json-file","log-opts":{"compress":"yes"}}', '', true],
  ['{"log-driver":"json-files"}', '', true],
  ['{"log-level":"verbose"}', '', false],
  ['{"log-level":"warning"}', '', true],
  ['{"log-level":"INFO"}', '', true],
  ['{"bridge":"br9","bip":"172.30.0.1/24"}', '', false],
  ['{"bridge":"none","bip":"172.30.0.1/24"}', '', false],
  ['{"icc":false,"iptables":false}', '', false],
  ['{"ipv6":true}', '', false],
  ['{"ipv6":true,"fixed-cidr-v6":"2001:db8::1"}', '', false],
  ['{"fixed-cidr":"172.17.0.0"}', '', false],
  ['{"default-gateway":"172.17.0"}', '', false],
  ['{"bip":"172.30.0.1/24","default-gateway":"10.0.0.1"}', '', false],
  ['{"default-address-pools":[{"base":"172.80.0.0/16","size":24}]}', '', true],
  ['{"default-address-pools":[{"base":"172.80.0.0","size":24}]}', '', false],
  ['{"default-address-pools":[{"base":"172.80.0.0/16","size":8}]}', '', false],
  ['{"default-address-pools":[{"base":"172.80.0.0/16","size":"24"}]}', '', false],
  ['{"default-address-pools":["base=172.80.0.0/16,size=24"]}', '', false],
  ['{"default-address-pools":{"base":"172.80.0.0/16","size":24}}', '', false],
  ['{"default-address-pools":[{"base":"172.80.0.0/16","size":33}]}', '', false],
  ['{"default-address-pools":[{"base":"172.80.0.0/16"}]}', '', false],
  ['{"default-address-pools":[{"base":"172.80.1.1/16","size":24}]}', '', true],
  ['{"insecure-registries":["http://10.0.0.1:5000/"]}', '', false],
  ['{"insecure-registries":["10.0.0.1:5000/v2"]}', '', false],
  ['{"insecure-registries":["tcp://10.0.0.1:5000"]}', '', false],
  ['{"insecure-registries":["10.0.0.0/8","reg.local"]}', '', true],
  ['{"insecure-registries":["10.0.0.1:70000"]}', '', false],
  ['{"insecure-registries":[5000]}', '', false],
  ['{"registry-mirrors":["https://m.example.com/v2/"]}', '', false],
  ['{"registry-mirrors":["https://m.example.com/"]}', '', true],
  ['{"registry-mirrors":["https://u:p@m.example.com"]}', '', false],
  ['{"registry-mirrors":["HTTPS://m.example.com"]}', '', true],
  ['{"registry-mirrors":["https://m.example.com?x=1"]}', '', false],
  ['{"labels":["a=1","a=2"]}', '', false],
  ['{"labels":["foo="]}', '', true],
  ['{"exec-opts":["cgroupdriver=systemd"]}', '', true],
  ['{"exec-opts":["native.cgroupdriver"]}', '', true],
  ['{"exec-opts":["native.cgroupdriver = cgroupfs"]}', '', true],
  ['{"exec-opts":["native.cgroupDriver=cgroupfs"]}', '', true],
  ['{"default-ulimits":{"nofile":{"Name":"nofile","Hard":"64000","Soft":64000}}}', '', false],
  ['{"default-ulimits":{"nofile":64000}}', '', false],
  ['{"default-ulimits":{"nofile":"64000:64000"}}', '', false],
  ['{"runtimes":{"nvidia":"nvidia-container-runtime"}}', '', false],
  ['{"runtimes":{"nvidia":{"path":"/bin/true","runtimeArgs":"x"}}}', '', false],
  ['{"runtimes":{"nvidia":{"path":"/bin/true","runtimeArgs":[]}},"default-runtime":"nvidia"}', '', true],
  ['{"runtimes":{"kata":{"runtimeType":"io.containerd.kata.v2"}}}', '', true],
  ['{"dns":[" 8.8.8.8"]}', '', true],
  ['{"dns":["8.8.8.8,8.8.4.4"]}', '', false],
  ['{"dns-search":["foo bar"]}', '', false],
  ['{"shutdown-timeout":15.5}', '', false],
  ['{"max-concurrent-downloads":0}', '', true],
  ['{"max-download-attempts":0}', '', false],
  ['{"network-control-plane-mtu":100}', '', true],
  ['{"containerd-plugin-namespace":"x"}', '', false],
  ['{"containerd-plugins-namespace":"x"}', '', true],
  ['{"graph":"/tmp/fieldb/dj/g"}', '', true],
  ['{"disable-legacy-registry":true}', '', false],
  ['{"api-cors-header":"*"}', '', true],
  ['{"oom-score-adjust":-500}', '', true],
  ['{"oom-score-adj":-500}', '', false],
  ['{"features":["buildkit"]}', '', false],
  ['{"features":{"foo":true}}', '', true],
  ['{"builder":{"gc":{"enabled":true,"defaultKeepStorage":"20GB"}}}', '', true],
  ['{"builder":{"gc":{"enabled":"true"}}}', '', false],
  ['{"builder":{"gc":true}}', '', false],
  ['{"storage":{"storage-driver":"vfs"}}', '', true],
  ['{"foo":{"bar":1}}', '', false],
  ['{"foo":{}}', '', true],
  ['{"log-opts":null,"dns":null,"debug":null}', '', true],
  ['{"foo":null}', '', false],
  ['{"storage-driver":"overlay3"}', '', false],
  ['{"storage-driver":"overlayfs"}', '', false],
  ['{"storage-driver":"vfs","storage-opts":["overlay2.override_kernel_check=true"]}', '', false],
  ['{"storage-driver":"overlay2","storage-opts":["overlay2.override_kernel_check=true"]}', '', true],
  ['{"storage-driver":"overlay2","storage-opts":["dm.thinpooldev=x"]}', '', false],
  ['{"ip":"127.0.0.1"}', '', true],
  ['{"bip":"172.30.0.1/24 "}', '', false],
  ['{"bip":"172.30.0.255/24"}', '', false],
  ['{"bip":"172.30.0.1/32"}', '', false],
  ['{"bip":"fd00::1/64"}', '', false],
  ["{ 'debug': false }", '', false],
  ['{"features":{"buildkit":true}}', '--debug=false', true],
  ['{"storage-driver":"vfs"}', '-s vfs', false],
  ['{"tlsverify":true}', '--tlsverify', false],
  ['{"default-ulimits":{"nofile":{"Name":"nofile","Hard":64000,"Soft":64000}}}', '--default-ulimit nproc=100', false],
  ['{"node-generic-resources":["a=1"]}', '--node-generic-resource b=1', false],
  [
    '{"default-address-pools":[{"base":"172.80.0.0/16","size":24}]}',
    '--default-address-pool base=172.90.0.0/16,size=24',
    false,
  ],
  ['{"dns-opts":["ndots:1"]}', '--dns-opt ndots:2', false],
  ['{"cluster-store-opts":{"a":"b"}}', '', true],
  ['{"mtu":1450.5}', '', false],
  ['{"userns-remap":1}', '', false],
  ['{"default-shm-size":67108864}', '', false],
  ['{"default-shm-size":"big"}', '', false],
  ['{"default-ipc-mode":"host"}', '', false],
  ['{"default-cgroupns-mode":"x"}', '', false],
  ['{"metrics-addr":"127.0.0.1:9323"}', '', true],
  ['{"host-gateway-ip":"foo"}', '', false],
  ['{"exec-opts":{"native.cgroupdriver":"systemd"}}', '', false],
];

describe('dockerd 20.10.24 of Debian is right', () => {
  it.each(MORE)('%s %s', (json, flags, starts) => {
    const files = {
      'docker/version.json': version('20.10.24+dfsg1'),
      'systemd/docker.txt': unit(`/usr/sbin/dockerd ${flags}`),
      ...down,
    };
    const result = judge([rule], node(json, files));
    expect(result.findings.map((f) => f.message)).toHaveLength(starts ? 0 : Math.max(1, result.findings.length));
    if (starts) expect(result.matrix[rule.id]?.['n']).toBe('pass');
  });
  it('a cluster store is asked before Docker 23, and whether it answers is not in a bundle', () => {
    const answer = (json: string, v: string) => {
      const files = { 'docker/version.json': version(v), 'systemd/docker.txt': unit('/usr/sbin/dockerd') };
      const { findings, unknown } = judge([rule], node(json, files));
      return [...findings.map((f) => f.group), ...unknown.map((u) => u.because.slice(0, 42))];
    };
    const consul = '{"cluster-store": "consul://127.0.0.1:8500"}';
    const open = ['whether dockerd comes up with "cluster-store"'.slice(0, 42)];
    expect(answer(consul, '20.10.24')).toEqual(open);
    expect(answer(consul, '20.10.24+dfsg1')).toEqual(['cluster']);
    expect(answer(consul.replace('consul', 'zk'), '20.10.24+dfsg1')).toEqual(open);
    expect(answer(consul.replace('consul', 'nosuch'), '19.03.15')).toEqual(['cluster']);
    expect(answer(consul, '24.0.7')).toEqual(['removed cluster-store']);
  });
});

describe('dockerd 20.10.24 is right', () => {
  it.each(MEASURED)('%s %s', (json, flags, starts) => {
    const files = { 'systemd/docker.txt': unit(`/usr/sbin/dockerd ${flags}`), ...down };
    expect(judge([rule], node(json, files)).findings.map((f) => f.message)).toHaveLength(starts ? 0 : 1);
    const running = {
      'systemd/docker.txt': unit('/usr/sbin/dockerd $OPTIONS'),
      'cmdline/dockerd.txt': `/usr/sbin/dockerd\n${flags.split(' ').join('\n')}\n`,
    };
    expect(judge([rule], node(json, running)).findings.map((f) => f.message)).toHaveLength(starts ? 0 : 1);
  });
  it('from 23 on a byte order mark and an empty file are no fault, and text behind the object is', () => {
    const newer = { 'docker/version.json': version('24.0.7'), 'systemd/docker.txt': unit('/usr/sbin/dockerd') };
    for (const json of ['\uFEFF{"debug":true}', '']) expect(judge([rule], node(json, newer)).findings).toEqual([]);
    expect(judge([rule], node('{"debug":true} x', newer)).findings).toMatchObject([{ group: 'not-json' }]);
    expect(judge([rule], node('{"storage-driver":"aufs"}', newer)).findings).toMatchObject([
      { group: 'storage-driver' },
    ]);
  });
  it('settings that a version does not have yet, or no longer', () => {
    const of = (json: string, v: string) =>
      judge(
        [rule],
        node(json, { 'docker/version.json': version(v), 'systemd/docker.txt': unit('/usr/sbin/dockerd') }),
      ).findings.map((f) => f.message.replace(/.*: /, ''));
    expect(of('{"data-root": "/srv/docker"}', '1.13.1')).toEqual(['"data-root" needs Docker 17, this is 1']);
    expect(of('{"graph": "/srv/docker"}', '24.0.7')).toEqual(['Docker 23 removed "graph", this is 24']);
    expect(of('{"graph": "/srv/docker"}', '20.10.24')).toEqual([]);
    expect(of('{"ipv6": true}', '28.1.1')).toEqual([]);
  });
  it('flags in a variable of the unit: seen in the file that sets it, else a question', () => {
    const files = { 'systemd/docker.txt': unit('/usr/bin/dockerd-current $OPTIONS'), ...down };
    const options = "OPTIONS='--selinux-enabled --log-driver=journald'\n";
    const found = judge(
      [rule],
      node('{"log-driver": "json-file"}', { ...files, 'files/etc/sysconfig/docker': options }),
    );
    expect(found.findings).toMatchObject([{ confidence: 'likely', group: 'doubled log-driver' }]);
    const open = judge([rule], node('{"log-driver": "json-file"}', files));
    expect(open.unknown.map((u) => u.because)).toEqual([
      expect.stringMatching(/what \$OPTIONS of docker’s unit stands for/),
    ]);
  });
  it('options of a log driver are judged where the driver is known', () => {
    const options = '{"log-opts": {"max-size": "10m"}}';
    const found = (exec: string) =>
      judge([rule], node(options, { 'systemd/docker.txt': unit(exec) })).findings.map((f) => f.group);
    // measured: journald on the command line has no max-size either
    expect(found('/usr/bin/dockerd --log-driver=journald')).toEqual(['log-opt max-size']);
    expect(found('/usr/bin/dockerd --log-driver=local')).toEqual([]);
    expect(found('/usr/bin/dockerd --log-driver=loki')).toEqual([]);
    expect(found('/usr/bin/dockerd $OPTIONS')).toEqual([]);
  });
  it('a version later than these lists may know more settings', () => {
    const later = { 'docker/version.json': version('33.0.0'), 'systemd/docker.txt': unit('/usr/sbin/dockerd') };
    expect(judge([rule], node('{"brand-new": true}', later)).findings).toMatchObject([
      { severity: 'medium', confidence: 'likely' },
    ]);
  });
});
