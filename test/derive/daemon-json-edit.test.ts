import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { setInDaemonJson } from '../../src/derive/daemon-json-edit.ts';
import { NodeFacts } from '../../src/engine/index.ts';
import { type Files, nodeEvidence } from '../support/rule-table.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-daemon-json-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
// no systemd here: what matters is whether it would be asked
writeFileSync(join(dir, 'systemctl'), `#!/bin/sh\necho "$@" >> ${dir}/asked\n`);
chmodSync(join(dir, 'systemctl'), 0o755);
const env = { ...process.env, PATH: `${dir}:${process.env['PATH']}` };
const sh = (command: string) => spawnSync('sh', ['-c', command], { env, encoding: 'utf8' });

const KEYS = { bip: '10.200.0.1/24', 'default-address-pools': [{ base: '10.201.0.0/16', size: 24 }] };
const PATH = 'files/etc/docker/daemon.json';
/** The commands for a node whose dockerd reads `file`, of which `content` was collected. */
const commands = (file: string, content: Files[string] | undefined, back: object | null = null) =>
  setInDaemonJson(
    KEYS,
    new NodeFacts(
      nodeEvidence('node-a', {
        files: {
          'cmdline/dockerd.txt': `/usr/bin/dockerd\n--config-file=${file}\n`,
          ...(content === undefined ? {} : { [PATH]: content }),
        },
      }),
    ),
    back as Readonly<Record<string, unknown>> | null,
  );

const OLD =
  '{\n  "log-driver": "json-file", "bip": "172.17.0.1/16",\n\t"exec-opts": ["native.cgroupdriver=systemd"]\n}\n';
const cases: readonly (readonly [what: string, collected: Files[string] | undefined, real: string | null])[] = [
  ['a file with other keys', OLD, OLD],
  ['a file that was not collected', undefined, OLD],
  ['no file, and nobody looked', undefined, null],
  ['no file', { status: 'absent' }, null],
];

describe.skipIf(spawnSync('python3', ['-V']).status !== 0)('commands that set keys of daemon.json', () => {
  it.each(cases)('%s: sets, keeps, and takes back', (what, collected, real) => {
    const file = join(dir, what.replaceAll(/\W/g, '-'), 'daemon.json');
    execFileSync('mkdir', ['-p', join(file, '..')]);
    if (real !== null) writeFileSync(file, real);
    const { run, undo } = commands(file, collected);
    expect(sh(run)).toMatchObject({ status: 0, stderr: '' });
    const old = real === null ? {} : (JSON.parse(real) as object);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ ...old, ...KEYS });
    expect(sh(undo)).toMatchObject({ status: 0, stderr: '' });
    if (real === null) expect(existsSync(file)).toBe(false);
    else expect(readFileSync(file, 'utf8')).toBe(real);
    expect(readFileSync(join(dir, 'asked'), 'utf8').trim().split('\n').slice(-2)).toEqual([
      'restart docker',
      'restart docker',
    ]);
  });

  it('leaves a file that is no JSON as it is, and does not restart docker', () => {
    const file = join(dir, 'broken.json');
    writeFileSync(file, '{ "bip": }');
    rmSync(join(dir, 'asked'), { force: true });
    const { run } = commands(file, '{ "bip": }');
    expect(sh(run).status).not.toBe(0);
    expect(readFileSync(file, 'utf8')).toBe('{ "bip": }');
    expect(existsSync(join(dir, 'asked'))).toBe(false);
  });

  it.each(cases)('%s: going back says what dockerd would not go back to by itself', (what, collected, real) => {
    const file = join(dir, `${what.replaceAll(/\W/g, '-')}-back`, 'daemon.json');
    execFileSync('mkdir', ['-p', join(file, '..')]);
    if (real !== null) writeFileSync(file, real);
    const { run, undo } = commands(file, collected, { bip: '172.17.0.9/16' });
    expect(sh(`${run} && ${undo}`)).toMatchObject({ status: 0, stderr: '' });
    const old = real === null ? {} : (JSON.parse(real) as object);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ ...old, bip: '172.17.0.9/16' });
  });

  it('without --config-file it is the usual place', () => {
    expect(setInDaemonJson({ mtu: 1450 }, null).run).toMatch(/^f=\/etc\/docker\/daemon\.json; /);
  });
});
