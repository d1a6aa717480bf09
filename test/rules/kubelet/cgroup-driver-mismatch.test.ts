import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/kubelet/cgroup-driver-mismatch.ts';
import type { Files } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';

const config = (driver: string) =>
  `apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: ${driver}\nclusterDNS:\n- 10.96.0.10\n`;
const args = (...more: string[]) =>
  `/usr/bin/kubelet\n--kubeconfig=/etc/kubernetes/kubelet.conf\n--config=/var/lib/kubelet/config.yaml\n${more.join('\n')}\n`;
const info = (driver: string) =>
  `${JSON.stringify({ ServerVersion: '20.10.24', CgroupDriver: driver, CgroupVersion: '2' })}\n`;
const containerd = (on: boolean) =>
  `version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\n    SystemdCgroup = ${on}\n`;
/** What `crictl info` prints of containerd 1.7. */
const crictl = (on: boolean, socket = '/run/containerd/containerd.sock') =>
  `${JSON.stringify({ status: { conditions: [] }, config: { containerd: { snapshotter: 'overlayfs', defaultRuntimeName: 'runc', runtimes: { runc: { runtimeType: 'io.containerd.runc.v2', options: { BinaryName: '', SystemdCgroup: on } } } }, systemdCgroup: false, containerdEndpoint: socket }, golang: 'go1.20.8' }, null, 2)}\n`;
const onContainerd = (toml: string, ...more: string[]) => ({
  'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock', ...more),
  'files/var/lib/kubelet/config.yaml': config('systemd'),
  'files/etc/containerd/config.toml': toml,
});
const CONTAINERD_2 =
  "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n  SystemdCgroup = false\n";
/** What the API has of node n, as `kubectl get node n -o json` prints it. */
const api = (kubeletVersion: string, containerRuntimeVersion = 'containerd://1.7.24', name = 'n') => {
  const nodeInfo = { containerRuntimeVersion, kubeletVersion, kubeProxyVersion: kubeletVersion };
  return {
    'k8s/node.json': `${JSON.stringify({ kind: 'Node', metadata: { name }, spec: {}, status: { nodeInfo } }, null, 4)}\n`,
  };
};
const gate = (on: boolean, name = 'KubeletCgroupDriverFromCRI') => ({
  'files/var/lib/kubelet/config.yaml': `${config('systemd')}featureGates:\n  ${name}: ${on}\n`,
});
const dockerd = {
  'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock'),
  'files/var/lib/kubelet/config.yaml': config('systemd'),
  'docker/info.json': info('cgroupfs'),
};
const node = (files: Files) => ({ n: { files } });

testRule(rule, {
  finds: {
    'kubelet 1.27 asks nobody': {
      nodes: node({ ...onContainerd(CONTAINERD_2), ...api('v1.27.16', 'containerd://2.0.1') }),
      expect: [{ confidence: 'proven', cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', '"v1.27.16"'] }],
    },
    'kubelet 1.30 asks only by its gate': {
      nodes: node({ ...onContainerd(CONTAINERD_2), ...api('v1.30.8', 'containerd://2.0.1') }),
      expect: [{ confidence: 'proven', cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', '"v1.30.8"'] }],
    },
    'the gate is off': {
      nodes: node({ ...onContainerd(CONTAINERD_2), ...api('v1.32.1', 'containerd://2.0.1'), ...gate(false) }),
      expect: [
        {
          confidence: 'proven',
          cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', '"v1.32.1"', 'KubeletCgroupDriverFromCRI: false'],
        },
      ],
    },
    'all gates of beta are off': {
      nodes: node({
        ...onContainerd(CONTAINERD_2),
        ...api('v1.32.1', 'containerd://2.0.1'),
        ...gate(false, 'AllBeta'),
      }),
      expect: [{ cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', '"v1.32.1"', 'AllBeta: false'] }],
    },
    'a gate on the command line beats the one in the file': {
      nodes: node({
        ...onContainerd(CONTAINERD_2, '--feature-gates=A=true,KubeletCgroupDriverFromCRI=false'),
        ...gate(true),
      }),
      expect: [{ cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', '--feature-gates=A=true,Kubelet'] }],
    },
    'containerd 1 does not tell, whatever asks': {
      nodes: node({ ...onContainerd(containerd(false)), ...api('v1.33.2') }),
      expect: [
        { confidence: 'proven', cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', '"containerd://1.7.24"'] },
      ],
    },
    'a kubelet that does not run may be another than the one that reported': {
      nodes: node({
        ...onContainerd(containerd(false)),
        ...api('v1.33.2'),
        'cmdline/kubelet.txt': { status: 'absent' },
      }),
      expect: [{ confidence: 'likely', cites: ['cgroupDriver: systemd', 'SystemdCgroup = false', 'containerd://1.7'] }],
    },
    'cri-dockerd and a kubelet that cannot ask it': {
      nodes: node({ ...dockerd, ...api('v1.26.5', 'docker://20.10.24') }),
      expect: [{ severity: 'high', confidence: 'proven', cites: ['cgroupDriver: systemd', '"cgroupfs"', '"v1.26.5"'] }],
    },
    'kubelet 1.23 has dockershim in it': {
      nodes: node({ ...dockerd, 'cmdline/kubelet.txt': args(), ...api('v1.23.17', 'docker://20.10.24') }),
      expect: [
        { severity: 'critical', confidence: 'proven', cites: ['cgroupDriver: systemd', '"cgroupfs"', '"v1.23.17"'] },
      ],
    },
    'crictl info has what containerd runs with': {
      nodes: node({ ...onContainerd(containerd(true)), 'cri/info.json': crictl(false) }),
      expect: [{ severity: 'high', cites: ['cgroupDriver: systemd', '"SystemdCgroup": false'] }],
    },
    'a kubelet without --config has its default': {
      nodes: node({
        'cmdline/kubelet.txt': '/usr/bin/kubelet\n--kubeconfig=/etc/kubernetes/kubelet.conf\n--network-plugin=cni\n',
        'files/var/lib/kubelet/config.yaml': { status: 'absent' },
        'docker/info.json': info('systemd'),
      }),
      expect: [
        { severity: 'critical', confidence: 'likely', cites: ['absent: --cgroup-driver and --config', '"systemd"'] },
      ],
    },
    'cri-dockerd beside a kubelet too old to ask it does not keep it from starting': {
      nodes: node({
        'cmdline/kubelet.txt': args(
          '--container-runtime=remote',
          '--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock',
        ),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
      }),
      expect: [{ severity: 'high', confidence: 'proven', cites: ['cgroupDriver: systemd', '"cgroupfs"'] }],
    },
    'config.yaml systemd, docker cgroupfs': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime=docker'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
      }),
      expect: [
        {
          key: 'driver',
          severity: 'critical',
          message: /kubelet uses the systemd cgroup driver, docker uses cgroupfs/,
          cites: ['cgroupDriver: systemd', '"CgroupDriver":"cgroupfs"'],
        },
      ],
    },
    'a flag of dockershim means docker, whatever containerd is set to': {
      nodes: node({
        'cmdline/kubelet.txt': args('--network-plugin=cni'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
        'files/etc/containerd/config.toml': containerd(true),
      }),
      expect: [{ severity: 'critical', cites: ['cgroupDriver: systemd', '"CgroupDriver":"cgroupfs"'] }],
    },
    'the flag beats the file': {
      nodes: node({
        'cmdline/kubelet.txt': args('--cgroup-driver=cgroupfs'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('systemd'),
      }),
      expect: [{ cites: ['--cgroup-driver=cgroupfs', 'systemd'] }],
    },
    'containerd without SystemdCgroup': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': containerd(false),
      }),
      expect: [{ severity: 'high', confidence: 'likely', cites: ['cgroupDriver: systemd', 'SystemdCgroup = false'] }],
    },
    'containerd beside a kubelet too old to ask it': {
      nodes: node({
        'cmdline/kubelet.txt': args(
          '--container-runtime=remote',
          '--container-runtime-endpoint=unix:///run/containerd/containerd.sock',
        ),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': containerd(false),
      }),
      expect: [{ confidence: 'proven', cites: ['cgroupDriver: systemd', 'SystemdCgroup = false'] }],
    },
    'nothing says that docker is the runtime: it is assumed': {
      nodes: node({
        'cmdline/kubelet.txt': args(),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
      }),
      expect: [{ confidence: 'likely', cites: ['cgroupDriver: systemd', '"CgroupDriver":"cgroupfs"'] }],
    },
  },
  passes: {
    'kubelet 1.31 takes it from containerd 2': {
      nodes: node({ ...onContainerd(CONTAINERD_2), ...api('v1.31.4', 'containerd://2.0.1') }),
    },
    'containerd 2 with a file of the first one’s format': {
      nodes: node({ ...onContainerd(containerd(false)), ...api('v1.32.1', 'containerd://2.0.1') }),
    },
    'kubelet 1.29 with the gate on': {
      nodes: node({ ...onContainerd(CONTAINERD_2), ...api('v1.29.3', 'containerd://2.0.1'), ...gate(true) }),
    },
    'kubelet 1.29 with all gates of alpha on': {
      nodes: node({
        ...onContainerd(CONTAINERD_2),
        ...api('v1.29.3', 'containerd://2.0.1'),
        ...gate(true, 'AllAlpha'),
      }),
    },
    'the gate is on: only a kubelet that knows it starts': {
      nodes: node({ ...onContainerd(CONTAINERD_2), ...gate(true) }),
    },
    'from 1.34 on the gate is locked, and drop-in files of the kubelet change nothing': {
      nodes: node({
        ...onContainerd(CONTAINERD_2, '--config-dir=/etc/kubernetes/kubelet.conf.d'),
        ...api('v1.34.0', 'containerd://2.1.4'),
      }),
    },
    'in a list of all nodes its own counts, by --hostname-override': {
      nodes: node({
        ...onContainerd(CONTAINERD_2, '--hostname-override=Worker-7'),
        'k8s/nodes.json': `{"kind": "List", "items": [${api('v1.27.1', 'containerd://1.6.2', 'n')['k8s/node.json']},${
          api('v1.31.4', 'containerd://2.0.1', 'worker-7')['k8s/node.json']
        }]}\n`,
      }),
    },
    'docker and containerd differ, and the kubelet reported containerd': {
      nodes: node({
        'cmdline/kubelet.txt': args(),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
        'files/etc/containerd/config.toml': containerd(true),
        ...api('v1.28.2'),
      }),
    },
    'rke2: crictl info of its own containerd': {
      nodes: node({
        'cmdline/kubelet.txt': args(
          '--cgroup-driver=systemd',
          '--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock',
        ),
        'cri/info.json': crictl(true, '/run/k3s/containerd/containerd.sock'),
      }),
    },
    'names of version 1': {
      nodes: node(onContainerd('[plugins.cri.containerd.runtimes.runc.options]\nSystemdCgroup = true\n')),
    },
    'the default runtime of containerd decides, not runc': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': `${containerd(false)}[plugins."io.containerd.grpc.v1.cri".containerd]\n  default_runtime_name = "nvidia"\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]\n  SystemdCgroup = true\n`,
      }),
    },
    'containerd’s CRI is off: dockershim': {
      nodes: node({
        'cmdline/kubelet.txt': args(),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('systemd'),
        'files/etc/containerd/config.toml': 'disabled_plugins = ["cri"]\n',
      }),
    },
    'both systemd': {
      nodes: node({
        'cmdline/kubelet.txt': args(),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('systemd'),
      }),
    },
    'containerd with SystemdCgroup, docker beside it with another driver': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': containerd(true),
        'docker/info.json': info('cgroupfs'),
      }),
    },
  },
  notApplicable: {
    'no kubelet on this node': {
      nodes: node({
        'cmdline/kubelet.txt': { status: 'absent' },
        'files/var/lib/kubelet/config.yaml': { status: 'absent' },
        'docker/info.json': info('cgroupfs'),
      }),
    },
  },
  unknown: {
    'drop-in files may turn the gate off before 1.34': {
      nodes: node({
        ...onContainerd(CONTAINERD_2, '--config-dir=/etc/kubernetes/kubelet.conf.d'),
        ...api('v1.33.0', 'containerd://2.1.4'),
      }),
      because: /--config-dir\) win over its config.yaml/,
    },
    'the kubelet’s flags may turn the gate off': {
      nodes: node({
        ...onContainerd(CONTAINERD_2),
        ...api('v1.33.0', 'containerd://2.1.4'),
        'cmdline/kubelet.txt': { status: 'absent' },
      }),
      because: /follows it if its feature gate KubeletCgroupDriverFromCRI is on/,
    },
    'the object of another node': {
      nodes: node({
        ...onContainerd(CONTAINERD_2),
        'k8s/nodes.json': `{"kind": "List", "items": [${api('v1.27.1', 'containerd://2.0.1', 'm')['k8s/node.json']}]}\n`,
      }),
      because: /kubelet’s version is not in the bundle/,
    },
    'a kubelet that asks, and a cri-dockerd of whatever version': {
      nodes: node({ ...dockerd, ...api('v1.31.4', 'docker://28.0.1') }),
      because: /asks the runtime for its driver.* cri-dockerd reports docker’s driver over the CRI from 0.3.17 on/,
    },
    'docker is there, but the kubelet reported CRI-O': {
      nodes: node({ ...dockerd, 'cmdline/kubelet.txt': args(), ...api('v1.29.1', 'cri-o://1.29.1') }),
      because: /runtime’s cgroup driver is not known/,
    },
    'containerd 1.6 ignores names of version 2 in a file without version, measured': {
      nodes: node(onContainerd(containerd(true).replace('version = 2\n', ''))),
      because: /under a name that files of version 1 do not have/,
    },
    'containerd 2 ignores names of version 2 in a file of version 3': {
      nodes: node(onContainerd(containerd(true).replace('version = 2', 'version = 3'))),
      because: /line 5 of containerd’s config.toml .* version 3/,
    },
    'an imported file wins, measured with 1.6': {
      nodes: node(onContainerd(`imports = ["/etc/containerd/conf.d/*.toml"]\n${containerd(true)}`)),
      because: /imports other files, which win over it/,
    },
    'the switch of containerd 1.2': {
      nodes: node(onContainerd('[plugins]\n  [plugins.cri]\n    systemd_cgroup = true\n')),
      because: /containerd 1.2 and before only/,
    },
    'kata has no SystemdCgroup': {
      nodes: node(
        onContainerd(
          `${containerd(true)}[plugins."io.containerd.grpc.v1.cri".containerd]\n  default_runtime_name = "kata"\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]\n  runtime_type = "io.containerd.kata.v2"\n`,
        ),
      ),
      because: /io.containerd.kata.v2/,
    },
    'a table appended a second time': {
      nodes: node(
        onContainerd(
          `${containerd(false)}[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\n  SystemdCgroup = true\n`,
        ),
      ),
      because: /lines 5 and 7 .* TOML forbids/,
    },
    'containerd reads another file': {
      nodes: node({
        ...onContainerd(containerd(true)),
        'cmdline/containerd.txt': '/usr/bin/containerd\n--config\n/etc/containerd/k8s.toml\n',
      }),
      because: /containerd reads \/etc\/containerd\/k8s.toml/,
    },
    'drop-in files of the kubelet': {
      nodes: node(onContainerd(containerd(true), '--config-dir=/etc/kubernetes/kubelet.conf.d')),
      because: /--config-dir\) win over its config.yaml/,
    },
    'a kubelet without --config does not read the file that lies there': {
      nodes: node({
        ...onContainerd(containerd(true)),
        'cmdline/kubelet.txt':
          '/usr/bin/kubelet\n--container-runtime-endpoint=unix:///run/containerd/containerd.sock\n',
      }),
      because: /runs without --config/,
    },
    'cri-dockerd may tell the kubelet': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
      }),
      because: /cri-dockerd reports docker’s driver over the CRI/,
    },
    'both files agree, but nobody looked at the kubelet’s flags': {
      nodes: node({
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': containerd(true),
      }),
      because: /command line, which wins over its file, was not collected/,
    },
    'docker and containerd differ, and nothing says which one the kubelet uses': {
      nodes: node({
        'cmdline/kubelet.txt': args(),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
        'files/etc/containerd/config.toml': containerd(true),
      }),
      because: /docker and containerd differ/,
    },
    'containerd 2 may tell the kubelet': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml':
          "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n  SystemdCgroup = false\n",
      }),
      because: /kubelet’s version is not in the bundle/,
    },
    'rke2 and k3s have a containerd of their own, with a file of its own': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': containerd(false),
      }),
      because: /runtime’s cgroup driver is not known/,
    },
    'k3s on a node that kubeadm set up before': {
      nodes: node({
        'cmdline/kubelet.txt': { status: 'absent' },
        'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n',
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'docker/info.json': info('cgroupfs'),
      }),
      because: /this node runs k3s/,
    },
    'the setting may be in an imported file': {
      nodes: node({
        'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock'),
        'files/var/lib/kubelet/config.yaml': config('systemd'),
        'files/etc/containerd/config.toml': 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
      }),
      because: /runtime’s cgroup driver is not known/,
    },
    'the runtime side was not collected': {
      nodes: node({ 'cmdline/kubelet.txt': args(), 'files/var/lib/kubelet/config.yaml': config('systemd') }),
      because: /runtime’s cgroup driver is not known/,
    },
    'no flag, and config.yaml was not collected': {
      nodes: node({ 'cmdline/kubelet.txt': args(), 'docker/info.json': info('systemd') }),
      because: /kubelet’s cgroup driver is not known/,
    },
    'neither kubelet file was looked for': {
      nodes: node({ 'docker/info.json': info('systemd') }),
      answers: { n: 'missing' },
    },
  },
});

describe('the remedy of cgroup-driver-mismatch', () => {
  const remedy = (files: Files) => judge([rule], node(files)).findings[0]?.remediation?.[0];
  const docker = { 'cmdline/kubelet.txt': args('--container-runtime=docker'), 'docker/info.json': info('cgroupfs') };
  const systemd = { 'files/var/lib/kubelet/config.yaml': config('systemd') };

  it('keeps the other exec-opts of daemon.json', () => {
    const step = remedy({
      ...docker,
      ...systemd,
      'files/etc/docker/daemon.json':
        '{"exec-opts": ["native.cgroupdriver=cgroupfs", "isolation=default"], "debug": true}\n',
    });
    expect(step?.run).toContain(`'{"exec-opts":["isolation=default","native.cgroupdriver=systemd"]}'`);
    expect(step?.undo).toContain('mv $f.before $f');
  });

  it('does not write into daemon.json what dockerd has on its command line', () => {
    const step = remedy({
      ...docker,
      ...systemd,
      'cmdline/dockerd.txt': '/usr/bin/dockerd\n--exec-opt\nnative.cgroupdriver=cgroupfs\n',
    });
    expect(step?.step).toContain('--exec-opt=native.cgroupdriver=cgroupfs on its command line');
    expect(step?.run).not.toContain('>');
  });

  it('changes the line of containerd that says so', () => {
    const step = remedy({
      ...systemd,
      'cmdline/kubelet.txt': args('--container-runtime-endpoint=unix:///run/containerd/containerd.sock'),
      'files/etc/containerd/config.toml': containerd(false),
    });
    expect(step?.run).toContain("f=/etc/containerd/config.toml; cp -a $f $f.before && sed -i '5s/");
  });

  it('writes neither into what crictl printed nor into a file that the kubelet does not read', () => {
    const told = remedy({ ...onContainerd(containerd(false)), 'cri/info.json': crictl(false) });
    expect(told).toBeUndefined();
    const flagless = remedy({
      'cmdline/kubelet.txt': '/usr/bin/kubelet\n--network-plugin=cni\n',
      'files/var/lib/kubelet/config.yaml': { status: 'absent' },
      'docker/info.json': info('systemd'),
    });
    expect(flagless).toBeUndefined();
  });

  it('changes the kubelet where that is the one on cgroupfs', () => {
    const files = { ...docker, 'docker/info.json': info('systemd') };
    const set = remedy({ ...files, 'files/var/lib/kubelet/config.yaml': config('cgroupfs') });
    expect(set?.run).toContain("{ sed -i '3s/cgroupfs/systemd/' $f; } && systemctl restart kubelet");
    const unset = remedy({ ...files, 'files/var/lib/kubelet/config.yaml': 'kind: KubeletConfiguration\n' });
    expect(unset?.run).toContain("printf '\\ncgroupDriver: systemd\\n' >> $f");
    const flagged = remedy({
      ...files,
      ...systemd,
      'cmdline/kubelet.txt': args('--container-runtime=docker', '--cgroup-driver=cgroupfs'),
    });
    expect(flagged?.step).toContain('beats its config file');
  });
});
