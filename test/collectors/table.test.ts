import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root, script } from './lab-node.ts';

const text = readFileSync(script, 'utf8');

/** id, path, timeout, cap, sensitivity of each `item` call of the script. */
const items = [...text.matchAll(/^\s*item ([\w.-]+) ('[^']+'|\S+) (\d+) (\d+) (S\d) /gm)].map((m) =>
  [m[1], m[2]!.replaceAll("'", ''), m[3], m[4], m[5]].join('\t'),
);

const rows = readFileSync(join(root, 'collectors/evidence.tsv'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split('\t'));

describe('collector and evidence.tsv', () => {
  it('has the same items with the same limits', () => {
    expect(items.toSorted()).toEqual(rows.map((r) => [r[0], r[1], r[4], r[5], r[6]].join('\t')).toSorted());
    // The pattern above must not have missed a call.
    expect(items.length).toBe(text.split('\n').filter((l) => /^\s*item [a-z]/.test(l)).length);
  });

  it('is clean for shellcheck', () => {
    const ran = spawnSync('shellcheck', ['-s', 'sh', script], { encoding: 'utf8' });
    if (ran.error !== undefined && !process.env.CI) return console.log('shellcheck is not installed: skipped');
    expect(ran.stdout + ran.stderr).toBe('');
    expect(ran.status).toBe(0);
  });

  it('keeps to POSIX and its own names', () => {
    expect(text).not.toMatch(/^\s*(local|declare|typeset) /m);
    // These register the tables that they ask for: docs/collector.md, Guards.
    expect(text).not.toMatch(/^[^#\n]*\b(iptables|ip6tables)(-legacy|-nft)? (-t|-L|-S)\b/m);
    expect(text).not.toMatch(/^[^#\n]*-save -t\b/m);
  });

  it('explains itself', () => {
    const ran = spawnSync('sh', [script, '--help'], { encoding: 'utf8' });
    expect(ran.status).toBe(0);
    for (const word of ['usage:', '-o DIR', '--unprivileged', 'exit codes:', 'interrupted'])
      expect(ran.stdout).toContain(word);
    expect(spawnSync('sh', [script, '--nonsense']).status).toBe(2);
    expect(spawnSync('sh', [script, '-o']).status).toBe(2);
    expect(spawnSync('sh', [script, '-o', '/no/such/dir']).status).toBe(2);
    expect(spawnSync('sh', [script, '--ref-epoch', 'x']).status).toBe(2);
  });
});
