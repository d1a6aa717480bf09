import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { rule } from '../../rules/kubelet/cgroup-driver-mismatch.ts';
import { type Files, judge } from '../support/rule-table.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-cgroup-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
// no systemd here: what matters is whether it would be asked
writeFileSync(join(dir, 'systemctl'), `#!/bin/sh\necho "$@" >> ${dir}/asked\n`);
chmodSync(join(dir, 'systemctl'), 0o755);
const env = { ...process.env, PATH: `${dir}:${process.env['PATH']}` };

const KUBELET =
  'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n# cgroupfs was the default\ncgroupDriver: cgroupfs\n';
const CONTAINERD =
  'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata.options]\n  SystemdCgroup = false\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\n  SystemdCgroup = false\n';
const args =
  '/usr/bin/kubelet\n--config=/var/lib/kubelet/config.yaml\n--container-runtime-endpoint=unix:///run/containerd/containerd.sock\n';

/** Runs the remedy on a copy of the node's file; what the file holds then, and after taking it back. */
function tried(files: Files, path: string, content: string): { now: string; back: string; asked: string[] } {
  const step = judge([rule], { n: { files } }).findings[0]?.remediation?.[0];
  const file = join(dir, path.replaceAll('/', '-'));
  writeFileSync(file, content);
  rmSync(join(dir, 'asked'), { force: true });
  const sh = (command: string | undefined) => {
    expect(command).toContain(path);
    const ran = spawnSync('sh', ['-c', command?.replaceAll(path, file) ?? 'false'], { env, encoding: 'utf8' });
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    return readFileSync(file, 'utf8');
  };
  const now = sh(step?.run);
  const asked = readFileSync(join(dir, 'asked'), 'utf8').trim().split('\n');
  const back = sh(step?.undo);
  expect(existsSync(`${file}.before`)).toBe(false);
  return { now, back, asked };
}

describe('the remedy of cgroup-driver-mismatch, as it is pasted', () => {
  it('changes the kubelet’s setting and nothing else', () => {
    const files = {
      'cmdline/kubelet.txt': args,
      'files/var/lib/kubelet/config.yaml': KUBELET,
      'files/etc/containerd/config.toml': CONTAINERD.replaceAll('false', 'true'),
    };
    const { now, back, asked } = tried(files, '/var/lib/kubelet/config.yaml', KUBELET);
    expect(now).toBe(KUBELET.replace('cgroupDriver: cgroupfs', 'cgroupDriver: systemd'));
    expect(back).toBe(KUBELET);
    expect(asked).toEqual(['restart kubelet']);
  });

  it('adds the setting to a kubelet’s file that has none', () => {
    const unset = KUBELET.replace('cgroupDriver: cgroupfs\n', '');
    const files = {
      'cmdline/kubelet.txt': args,
      'files/var/lib/kubelet/config.yaml': unset,
      'files/etc/containerd/config.toml': CONTAINERD.replaceAll('false', 'true'),
    };
    const { now, back } = tried(files, '/var/lib/kubelet/config.yaml', unset);
    expect(now).toBe(`${unset}\ncgroupDriver: systemd\n`);
    expect(back).toBe(unset);
  });

  it('changes the runtime that pods get, not the others of containerd', () => {
    const files = {
      'cmdline/kubelet.txt': args,
      'files/var/lib/kubelet/config.yaml': KUBELET.replace('cgroupDriver: cgroupfs', 'cgroupDriver: systemd'),
      'files/etc/containerd/config.toml': CONTAINERD,
    };
    const { now, back, asked } = tried(files, '/etc/containerd/config.toml', CONTAINERD);
    expect(now.split('\n').map((l) => l.trim())).toEqual(
      [...CONTAINERD.split('\n').slice(0, 4), 'SystemdCgroup = true', ''].map((l) => l.trim()),
    );
    expect(back).toBe(CONTAINERD);
    expect(asked).toEqual(['restart containerd', 'restart kubelet']);
  });
});
