import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { acceptAnswers, acceptRange } from '../../src/derive/accept-range.ts';
import { labsAvailable } from '../support/lab/index.ts';

const RANGE = '10.244.0.0/16';

describe.skipIf(!labsAvailable())('commands that let a range through, on a kernel', () => {
  const where = [
    ['fw.iptables-save', 'filter/FORWARD > DOCKER-USER', 'iptables -P FORWARD DROP', 'iptables-save'],
    [
      'fw.iptables-legacy-save',
      'mangle/FORWARD',
      'iptables-legacy -t mangle -A FORWARD -j DROP',
      'iptables-legacy-save',
    ],
    [
      'fw.nft',
      'nft inet guard fw1',
      `nft add table inet guard; nft 'add chain inet guard fw1 { type filter hook forward priority 0; policy drop; }'; nft add rule inet guard fw1 udp dport 53 drop`,
      'nft list ruleset',
    ],
  ] as const;
  const range = where.map((w) => ['a range', ...w, acceptRange(w[0], w[1], RANGE), RANGE] as const);
  const answers = where.map((w) => ['answers', ...w, acceptAnswers(w[0], w[1])!, /established/i] as const);

  it.each([...range, ...answers])('%s %s %s', (_what, _evidence, _place, fault, dump, commands, shown) => {
    const { run, verify, undo } = commands;
    const strip = `sed -E 's/\\[[0-9]+:[0-9]+\\]//; /^#/d'`;
    const script = `set -e
${fault}
${dump} | ${strip} >/tmp/before
${run}
{ ${verify}
} >/tmp/verified
${dump} | ${strip} >/tmp/with
${undo}
${dump} | ${strip} >/tmp/after
diff /tmp/before /tmp/after
! diff -q /tmp/before /tmp/with >/dev/null
cat /tmp/verified /tmp/with`;
    const ran = spawnSync('unshare', ['-n', '-m', 'bash', '-c', `mount -t tmpfs none /tmp\n${script}`], {
      encoding: 'utf8',
    });
    expect(ran).toMatchObject({ status: 0 });
    expect(ran.stdout).toMatch(shown);
  });
});

it('raw comes before tracking: nothing there can tell an answer', () => {
  expect(acceptAnswers('fw.iptables-save', 'raw/PREROUTING')).toBeNull();
});
