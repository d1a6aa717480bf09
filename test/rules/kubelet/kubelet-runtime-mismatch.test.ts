import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { rule } from '../../../rules/kubelet/kubelet-runtime-mismatch.ts';
import type { Files } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';

const KUBELET = 'cmdline/kubelet.txt';
const YAML = 'files/var/lib/kubelet/config.yaml';
const FLAGS = 'files/var/lib/kubelet/kubeadm-flags.env';
const TOML = 'files/etc/containerd/config.toml';
const JOURNAL = 'log/journal-kubelet.txt';
const SOCKET = 'unix:///run/containerd/containerd.sock';
const args = (...more: string[]) =>
  [
    '/usr/bin/kubelet',
    '--kubeconfig=/etc/kubernetes/kubelet.conf',
    '--config=/var/lib/kubelet/config.yaml',
    ...more,
    '',
  ].join('\n');
const config = (...lines: string[]) =>
  [
    'apiVersion: kubelet.config.k8s.io/v1beta1',
    'kind: KubeletConfiguration',
    'cgroupDriver: systemd',
    ...lines,
    '',
  ].join('\n');
const kubeadm = (flags: string) => `KUBELET_KUBEADM_ARGS="${flags}"\n`;
const absent = (name: string) => ({ status: 'absent', reason: `no process ${name}` }) as const;
/** As Docker's package containerd.io 1.6 ships it, without its comments. */
const DOCKERS = '\ndisabled_plugins = ["cri"]\n\n#root = "/var/lib/containerd"\n';
const V2 = 'version = 2\ndisabled_plugins = []\n';
const crictl = (socket = '/run/containerd/containerd.sock') =>
  `${JSON.stringify({ status: { conditions: [{ type: 'RuntimeReady', status: true }] }, config: { containerdEndpoint: socket } }, null, 2)}\n`;
const FAILED = { status: 'failed', reason: 'rc 1' } as const;
const api = (kubeletVersion: string) => ({
  'k8s/node.json': `${JSON.stringify({ kind: 'Node', metadata: { name: 'n' }, spec: {}, status: { nodeInfo: { kubeletVersion, containerRuntimeVersion: 'docker://20.10.24' } } }, null, 4)}\n`,
});
const REFUSED =
  '2026-11-24T09:59:57+0000 n systemd[1]: Started kubelet: The Kubernetes Node Agent.\n2026-11-24T09:59:57+0000 n kubelet[3391]: Error: failed to parse kubelet flag: unknown flag: --network-plugin\n2026-11-24T09:59:57+0000 n systemd[1]: kubelet.service: Main process exited, code=exited, status=1/FAILURE\n';

const on = (files: Files) => ({
  n: {
    files: {
      [KUBELET]: args(`--container-runtime-endpoint=${SOCKET}`),
      [YAML]: config(),
      [TOML]: V2,
      'cmdline/containerd.txt': '/usr/bin/containerd\n',
      ...files,
    },
  },
});
/** A kubelet that is installed and does not run. */
const down = (files: Files) =>
  on({ [KUBELET]: absent('kubelet'), [FLAGS]: kubeadm(`--container-runtime-endpoint=${SOCKET}`), ...files });

testRule(rule, {
  finds: {
    'the CRI is off, as Docker’s package has it': {
      nodes: on({ [TOML]: DOCKERS, 'cri/info.json': FAILED }),
      expect: [
        {
          key: 'cri-disabled',
          severity: 'high',
          confidence: 'proven',
          nodes: ['n'],
          message:
            /^The kubelet of n is told to use \/run\/containerd\/containerd\.sock, and \/etc\/containerd\/config\.toml turns the CRI/,
          cites: [
            `--container-runtime-endpoint=${SOCKET}`,
            'disabled_plugins = ["cri"]',
            'absent: the file itself (failed',
          ],
        },
      ],
    },
    'the same, and the kubelet does not run': {
      nodes: down({ [TOML]: DOCKERS }),
      expect: [
        {
          severity: 'critical',
          confidence: 'proven',
          message: /; it does not run$/,
          cites: [
            'KUBELET_KUBEADM_ARGS=',
            'disabled_plugins = ["cri"]',
            'absent: the file itself (absent: no process kubelet)',
          ],
        },
      ],
    },
    'by the whole name, in a file of version 2': {
      nodes: on({ [TOML]: 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' }),
      expect: [{ confidence: 'likely', cites: ['--container-runtime-endpoint', 'disabled_plugins = ['] }],
    },
    'nobody serves the endpoint': {
      nodes: on({ 'cmdline/containerd.txt': absent('containerd') }),
      expect: [
        {
          key: 'no containerd',
          severity: 'high',
          confidence: 'proven',
          cites: ['--container-runtime-endpoint', 'absent: the file itself (absent: no process containerd)'],
        },
      ],
    },
    'the same over a file that containerd 1.6 refuses': {
      nodes: on({
        [TOML]: 'version = 2\ndisabled_plugins = ["cri"]\n',
        'cmdline/containerd.txt': absent('containerd'),
      }),
      expect: [
        {
          key: 'no containerd',
          cites: ['--container-runtime-endpoint', 'absent: the file itself', 'disabled_plugins = ["cri"]'],
        },
      ],
    },
    'the only containerd is dockerd’s own': {
      nodes: on({
        'cmdline/containerd.txt':
          'containerd\n--config\n/var/run/docker/containerd/containerd.toml\n--log-level\ninfo\n',
      }),
      expect: [{ key: 'no containerd', cites: ['--container-runtime-endpoint', 'absent: the file itself'] }],
    },
    'cri-dockerd does not run': {
      nodes: on({
        [KUBELET]: args(),
        [YAML]: config('containerRuntimeEndpoint: unix:///var/run/cri-dockerd.sock'),
        'cmdline/cri-dockerd.txt': absent('cri-dockerd'),
      }),
      expect: [
        {
          key: 'no cri-dockerd',
          cites: ['containerRuntimeEndpoint: unix:///var/run/cri-dockerd.sock', 'absent: the file itself'],
        },
      ],
    },
    'docker’s own socket speaks no CRI': {
      nodes: down({ [FLAGS]: kubeadm('--container-runtime-endpoint=unix:///var/run/docker.sock') }),
      expect: [
        { key: 'no-cri /run/docker.sock', severity: 'critical', cites: ['docker.sock', 'absent: the file itself'] },
      ],
    },
    'a flag of dockershim: the kubelet says so itself': {
      nodes: down({
        [FLAGS]: kubeadm('--network-plugin=cni --pod-infra-container-image=k8s.gcr.io/pause:3.5'),
        [JOURNAL]: REFUSED,
      }),
      expect: [
        {
          key: 'flag network-plugin',
          severity: 'critical',
          confidence: 'proven',
          message: /ends over the flag --network-plugin/,
          cites: ['unknown flag: --network-plugin', '--network-plugin=cni', 'absent: the file itself'],
        },
      ],
    },
    'the same by the release that it last reported': {
      nodes: down({ [FLAGS]: kubeadm('--container-runtime=remote'), ...api('v1.27.3') }),
      expect: [
        {
          key: 'flag container-runtime',
          severity: 'critical',
          confidence: 'likely',
          cites: ['--container-runtime=remote', '"v1.27.3"', 'absent: the file itself'],
        },
      ],
    },
  },
  passes: {
    'containerd runs': { nodes: on({}) },
    'by default, containerd': { nodes: on({ [KUBELET]: args() }) },
    'crictl gets an answer, whatever the file says': { nodes: on({ [TOML]: DOCKERS, 'cri/info.json': crictl() }) },
    'docker behind cri-dockerd: the CRI of containerd may be off': {
      nodes: on({
        [KUBELET]: args('--container-runtime-endpoint=unix:///run/cri-dockerd.sock'),
        [TOML]: DOCKERS,
        'cmdline/cri-dockerd.txt': '/usr/bin/cri-dockerd\n',
      }),
    },
    'dockershim of a kubelet before 1.24, which runs': {
      nodes: on({
        [KUBELET]: args('--network-plugin=cni'),
        [TOML]: DOCKERS,
        'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
      }),
    },
    'the containerd of RKE2 or k0s, with a socket of its own': {
      nodes: on({
        [KUBELET]: args('--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock'),
        'cmdline/containerd.txt':
          'containerd\n-c\n/var/lib/rancher/rke2/agent/etc/containerd/config.toml\n-a\n/run/k3s/containerd/containerd.sock\n',
      }),
    },
    'CRI-O': {
      nodes: on({
        [KUBELET]: args('--container-runtime-endpoint=unix:///var/run/crio/crio.sock'),
        'cmdline/crio.txt': '/usr/bin/crio\n',
      }),
    },
  },
  notApplicable: {
    'docker alone': {
      nodes: {
        n: {
          files: {
            [KUBELET]: absent('kubelet'),
            [YAML]: { status: 'absent' },
            [FLAGS]: { status: 'absent' },
            [TOML]: DOCKERS,
          },
        },
      },
    },
    k3s: {
      nodes: {
        n: {
          files: {
            [KUBELET]: absent('kubelet'),
            [YAML]: { status: 'absent' },
            [FLAGS]: { status: 'absent' },
            'cmdline/k3s.txt': '/usr/local/bin/k3s\nserver\n',
            [TOML]: DOCKERS,
          },
        },
      },
    },
  },
  unknown: {
    'files of a kubelet alone': {
      nodes: { n: { files: { [YAML]: config(), [TOML]: DOCKERS } } },
      because: /whether the kubelet runs, and with which flags, was not collected/,
    },
    'the kubelet is down, its runtime is not': {
      nodes: down({}),
      because: /^the kubelet does not run, containerd does: nothing that was collected tells why$/,
    },
    'the same with a flag that some releases refuse': {
      nodes: down({ [FLAGS]: kubeadm(`--network-plugin=cni --container-runtime-endpoint=${SOCKET}`) }),
      because: /a kubelet from 1\.24 on would refuse --network-plugin, and its release is not known/,
    },
    'the file turns the CRI off, and pods run': {
      nodes: on({ [TOML]: DOCKERS, 'netns/index.txt': '4026532001 812 pause - /run/netns/cni-1\n' }),
      because: /yet pods run: whether containerd was started since is not known/,
    },
    'the whole name in a file of version 1, which containerd 1.6 takes no notice of': {
      nodes: on({ [TOML]: 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n' }),
      because: /line 1 of \/etc\/containerd\/config\.toml names the CRI of containerd as other releases do/,
    },
    'a socket that nobody knows': {
      nodes: on({ [KUBELET]: args('--container-runtime-endpoint=unix:///run/other.sock') }),
      because: /whether anybody serves \/run\/other\.sock/,
    },
    'what runs was not collected': {
      nodes: { n: { files: { [KUBELET]: args(`--container-runtime-endpoint=${SOCKET}`), [YAML]: config() } } },
      because: /whether containerd, which the kubelet is told to use, runs was not collected/,
    },
  },
});

it.each([
  ['KUBELET_KUBEADM_ARGS="--network-plugin=cni --a=b"', 'KUBELET_KUBEADM_ARGS=" --a=b"'],
  ['KUBELET_KUBEADM_ARGS="--a=b --network-plugin cni --c"', 'KUBELET_KUBEADM_ARGS="--a=b --c"'],
  ['KUBELET_KUBEADM_ARGS="--a=b --network-plugin=cni"', 'KUBELET_KUBEADM_ARGS="--a=b"'],
  [
    'KUBELET_KUBEADM_ARGS="--network-plugin-mtu=9 --network-plugin=cni"',
    'KUBELET_KUBEADM_ARGS="--network-plugin-mtu=9"',
  ],
])('the remedy takes the flag out of %s', (line, left) => {
  const { findings } = judge([rule], down({ [FLAGS]: `${line}\n`, [JOURNAL]: REFUSED }));
  const run = findings[0]?.remediation?.[0]?.run ?? '';
  const dir = mkdtempSync(join(tmpdir(), 'nc-flag-'));
  const file = join(dir, 'kubeadm-flags.env');
  writeFileSync(file, `${line}\n`);
  const pasted = run.replace('/var/lib/kubelet/kubeadm-flags.env', file).replaceAll('systemctl', ':');
  expect(spawnSync('sh', ['-c', pasted]).status).toBe(0);
  expect(readFileSync(file, 'utf8')).toBe(`${left}\n`);
  expect(readFileSync(`${file}.before`, 'utf8')).toBe(`${line}\n`);
  rmSync(dir, { recursive: true });
});
