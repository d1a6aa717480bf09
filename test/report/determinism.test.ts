import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-same-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const demo = join(root, 'fixtures/bundles/demo');
const bundles = readdirSync(demo)
  .filter((n) => n.endsWith('.tar.gz'))
  .sort();

interface Setting {
  readonly TZ: string;
  readonly LANG: string;
  readonly umask: string;
  readonly order: readonly string[];
}

/** Runs the real command in a folder of its own; the bytes of each report. */
function run(
  name: string,
  { TZ, LANG, umask, order }: Setting,
): { cwd: string; home: string; sums: Record<string, string> } {
  const home = join(dir, name, 'home/zz-canary');
  const cwd = join(home, 'zz-canary-work');
  mkdirSync(cwd, { recursive: true });
  cpSync(demo, join(cwd, 'in'), { recursive: true });
  const args = ['analyze', ...order.map((b) => `in/${b}`), '--case', 'c.netcase', '--quiet'];
  const env = {
    ...process.env,
    NODE_ENV: '',
    SOURCE_DATE_EPOCH: '1800000000',
    TZ,
    LANG,
    LC_ALL: LANG,
    HOME: home,
    USER: 'zz-canary',
  };
  const sh = (rest: readonly string[]) =>
    spawnSync(
      'sh',
      ['-c', `umask ${umask}; exec "$@"`, 'sh', process.execPath, join(root, 'bin/netcase.cjs'), ...rest],
      { cwd, env },
    );
  const made = sh([...args, '--format', 'html', '--format', 'md', '--format', 'json', '-o', 'out.html']);
  expect(made.status, String(made.stderr)).toBe(1);
  const sums: Record<string, string> = {};
  for (const format of ['html', 'md', 'json']) {
    const bytes = readFileSync(join(cwd, `out.${format}`));
    sums[format] = createHash('sha256').update(bytes).digest('hex');
    const again = sh(['report', '--case', 'c.netcase', '--format', format, '-o', '-']);
    expect(again.stdout.equals(bytes), `report --format ${format} gives the same bytes`).toBe(true);
  }
  return { cwd, home, sums };
}

it('same bundles, same bytes: time zone, language, umask and folder do not matter', () => {
  const first = run('a', { TZ: 'UTC', LANG: 'C', umask: '022', order: bundles });
  const second = run('b/deeper', { TZ: 'Asia/Kathmandu', LANG: 'tr_TR.UTF-8', umask: '077', order: bundles });
  expect(second.sums).toEqual(first.sums);
});

it('names nothing of the analyst’s machine, in any report or in the case file', () => {
  const { cwd } = run('c', { TZ: 'UTC', LANG: 'C', umask: '022', order: bundles });
  for (const file of readdirSync(cwd)) {
    if (file === 'in') continue;
    const text = readFileSync(join(cwd, file)).toString('latin1');
    // a host called "vm" is a word of the evidence too
    for (const canary of ['zz-canary', dir, root, `${tmpdir()}/`, `${userInfo().homedir}/`, hostname()])
      if (canary.length > 4) expect(text.includes(canary), `${canary} in ${file}`).toBe(false);
  }
});

it('the findings do not depend on the order of the arguments', () => {
  const findings = (name: string, order: readonly string[]) => {
    const { cwd } = run(name, { TZ: 'UTC', LANG: 'C', umask: '022', order });
    const { findings: f, causes, unknown, verdicts, nodes } = JSON.parse(readFileSync(join(cwd, 'out.json'), 'utf8'));
    return { f, causes, unknown, verdicts, nodes: nodes.map((n: { id: string }) => n.id).sort() };
  };
  expect(findings('e', [...bundles].reverse())).toEqual(findings('d', bundles));
});
