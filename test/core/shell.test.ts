import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { rule as interfaceForwarding } from '../../rules/forwarding/interface-forwarding-disabled.ts';
import { rule as cgroupDriver } from '../../rules/kubelet/cgroup-driver-mismatch.ts';
import { type Prefix, parsePrefix } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { acceptAnswers, acceptRange } from '../../src/derive/accept-range.ts';
import { setInDaemonJson } from '../../src/derive/daemon-json-edit.ts';
import { moveNetwork } from '../../src/derive/docker-ranges.ts';
import { NodeFacts } from '../../src/engine/index.ts';
import { overlayNode } from '../support/overlay-node.ts';
import { judge, nodeEvidence } from '../support/rule-table.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-shell-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
/** No command is found there: only the shell itself can do something. */
const sh = (command: string) =>
  spawnSync('/bin/sh', ['-c', command], { cwd: dir, env: { PATH: '/nowhere' }, encoding: 'utf8', timeout: 20_000 });

describe('a word of a shell', () => {
  it('is what it was, whatever it holds', () => {
    const text = fc.string({ unit: fc.constantFrom(...` '"\\$\`;&|<>(){}[]*?!#~=%-/.aA0é`), maxLength: 12 });
    fc.assert(
      fc.property(text, (word) => {
        expect(sh(`printf %s ${shellWord(word)}`).stdout).toBe(word);
      }),
      { numRuns: 60 },
    );
    expect(shellWord('net.ipv4.conf.flannel/1.forwarding=1')).toBe('net.ipv4.conf.flannel/1.forwarding=1');
    expect(shellWord('a\nb')).toBe("'a?b'");
  });
});

const EVIL = 'e;>pwned;$(>pwned)`>pwned`';
const commands = (steps: readonly object[] | undefined): string[] =>
  (steps ?? []).flatMap((step) =>
    Object.entries(step).flatMap(([key, text]) =>
      /^(run|verify|undo)$/.test(key) && typeof text === 'string' ? [text] : [],
    ),
  );

const interfaces = () => {
  const node = overlayNode({ n: 1, peers: [2], flannelForwarding: '0' });
  const renamed = (text: unknown) =>
    typeof text === 'string' ? text.replaceAll('flannel.1', `flannel.${EVIL}`) : text;
  const files = Object.fromEntries(
    Object.entries(node.files).map(([path, text]) => [path, renamed(text)]),
  ) as typeof node.files;
  return judge([interfaceForwarding], { a: { files } }).findings.flatMap((f) => commands(f.remediation));
};
const kubelet = () =>
  judge([cgroupDriver], {
    a: {
      files: {
        'cmdline/kubelet.txt': `/usr/bin/kubelet\n--config=/x/${EVIL}\n--container-runtime=docker\n`,
        'files/var/lib/kubelet/config.yaml': 'kind: KubeletConfiguration\ncgroupDriver: cgroupfs\n',
        'docker/info.json': '{"CgroupDriver":"systemd"}\n',
      },
    },
  }).findings.flatMap((f) => commands(f.remediation));
const daemonJson = (absent: boolean) => {
  const files = {
    'cmdline/dockerd.txt': `/usr/bin/dockerd\n--config-file=/x/${EVIL}\n`,
    ...(absent ? { 'files/etc/docker/daemon.json': { status: 'absent' as const } } : {}),
  };
  return commands([setInDaemonJson({ bip: '10.200.0.1/24' }, new NodeFacts(nodeEvidence('a', { files })))]);
};
const network = () =>
  commands([moveNetwork(EVIL, parsePrefix('172.20.0.0/16') as Prefix, () => false, 'docker network ls') ?? {}]);

describe('a name out of a hostile bundle does nothing in a pasted command', () => {
  it.each([
    ['a device', interfaces],
    ['the kubelet’s config file', kubelet],
    ['dockerd’s config file', () => daemonJson(false)],
    ['dockerd’s config file that is absent', () => daemonJson(true)],
    ['a docker network', network],
    ['an nft chain', () => commands([acceptRange('fw.nft-json', `nft inet ${EVIL} ${EVIL}`, '10.0.0.0/8')])],
    ['an nft chain with answers', () => commands([acceptAnswers('fw.nft-json', `nft inet t ${EVIL}`) ?? {}])],
    [
      'an iptables chain',
      () => commands([acceptRange('fw.iptables-save', `${EVIL.replace('/', '')}/${EVIL}`, '10.0.0.0/8')]),
    ],
  ])('%s', (_, make) => {
    const list = make();
    expect(list.filter((command) => command.includes('pwned')).length).toBeGreaterThan(1);
    for (const command of list) {
      sh(command);
      expect(existsSync(join(dir, 'pwned')), command).toBe(false);
    }
  });
});
