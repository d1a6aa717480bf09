import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { netcase, root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-messages-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const demo = join(root, 'fixtures/bundles/demo');
const at = (name: string) => join(dir, name);

beforeAll(async () => {
  expect((await netcase(['analyze', demo, '--case', at('ok'), '--quiet'])).code).toBe(1);
  expect((await netcase(['ingest', demo, '--case', at('unjudged'), '--quiet'])).code).toBe(0);
  const [bundle] = readdirSync(demo).filter((n) => n.endsWith('.tar.gz'));
  mkdirSync(at('empty'));
  writeFileSync(at('text'), 'this is no case and no bundle\n'.repeat(40));
  writeFileSync(at('nothing.tar.gz'), '');
  writeFileSync(at('head.tar.gz'), readFileSync(join(demo, bundle as string)).subarray(0, 40));
  const whole = readFileSync(at('ok'));
  writeFileSync(at('cut'), whole.subarray(0, 20_000));
}, 300_000);

const CASE = ['--case', at('ok')];
const FRESH = ['--case', at('fresh')];
/** Words -> exit code, and what the one sentence says: what, where, and what to do. */
const calls: readonly (readonly [words: readonly string[], code: number, ...says: RegExp[]])[] = [
  [['nonsense'], 2, /no command "nonsense"/, /netcase --help/],
  [['findings', 'more', 'words'], 2, /no command "findings more words"/],
  [['analyze', '--nonsense'], 2, /nonexistent flag: --nonsense/, /netcase analyze --help/],
  [['analyze', demo, '--format', 'pdf'], 2, /--format=pdf/, /html, md, json/],
  [['analyze', demo, '--jobs', 'many'], 2, /--jobs: expected an integer but received: many/],
  [['trace', ...CASE], 2, /missing required flag from; missing required flag to/],
  [['explain'], 2, /missing 1 required arg: rule/],
  [['query', 'select 1', '--json', '--csv', ...CASE], 2, /--json.*--csv/],

  [['findings', '--case', at('none')], 2, /no case file .*none/, /netcase analyze BUNDLE/],
  [['report', '--case', at('none')], 2, /no case file .*none/, /netcase analyze BUNDLE/],
  [['findings', '--case', at('text')], 5, /^netcase: text is not a netcase case file/, /the right --case/],
  [['verify', '--case', at('empty')], 5, /^netcase: empty is not a regular file/, /the right --case/],
  [['nodes', '--case', at('cut')], 5, /^netcase: cut is damaged \(.*\); restore a copy/],
  [['ingest', demo, '--case', at('none/c')], 3, /c could not be used \(ENOENT\); make its folder/],
  [['coverage', '--case', at('unjudged')], 2, /not been analysed yet; run netcase analyze/],

  [['ingest', at('gone.tar.gz'), ...FRESH], 3, /gone\.tar\.gz/, /check the path/],
  [['ingest', at('empty'), ...FRESH], 3, /Folder ".*empty" holds no/],
  [['ingest', at('nothing.tar.gz'), ...FRESH], 3, /nothing\.tar\.gz/, /is empty/, /Send the bundle again/],
  [['ingest', at('head.tar.gz'), ...FRESH], 3, /head\.tar\.gz/],
  [['ingest', at('text'), ...FRESH], 3, /text/, /netcase-collect\.sh/],
  [['ingest', '-', ...FRESH], 3, /stdin/, /is empty/],
  [['ingest', at('no*.zip'), ...FRESH], 3, /No file matches/, /check the pattern/],

  [['explain', 'nonsense'], 2, /no rule nonsense; netcase rules/],
  [['why', 'nonsense', '--node', 'node-a', ...CASE], 2, /no rule nonsense; netcase rules/],
  [['why', 'ip-forward-disabled', '--node', 'node-z', ...CASE], 2, /no node node-z .*; netcase nodes/],
  [['findings', '--rule', 'nonsense', ...CASE], 2, /no rule nonsense; netcase rules/],
  [['findings', '--node', 'node-z', ...CASE], 2, /no node node-z .*; netcase nodes/],
  [['history', '--type', 'nonsense', ...CASE], 2, /no event type nonsense/, /bundle\.ingested/],
  [['trace', '--from', 'node-z', '--to', 'node-a', ...CASE], 2, /no node node-z; the case has node-a/],
  [['trace', '--from', 'node-a', '--to', '10.0.0.1:99999', ...CASE], 2, /99999 of 10\.0\.0\.1:99999 .*65535/],
  [['reach', '--if', 'reboot @node-a', ...CASE], 2, /--if "reboot" is not understood/],
  [['accept', 'nonsense/x', '--because', 'y', ...CASE], 2, /no finding nonsense\/x .*; netcase findings/],
  [['query', 'select nowhere from finding', ...CASE], 2, /no such column: nowhere; docs\/tables\.md/],
  [['report', ...CASE, '-o', at('none/r.html')], 3, /r\.html could not be written \(ENOENT\); make its folder/],
  [['verify', ...CASE, at('gone.html')], 3, /report .*gone\.html could not be read \(ENOENT\); check the path/],
];

describe('a wrong call is told in one sentence', () => {
  it.each(
    calls.map(([words, ...rest]) => [words.map((w) => w.replaceAll(dir, '')).join(' '), words, ...rest] as const),
  )('%s', async (_, words, code, ...says) => {
    const ran = await netcase(words);
    expect(ran.code, ran.stderr).toBe(code);
    expect(ran.stderr.trim().split('\n')).toHaveLength(1);
    for (const said of [/^netcase: /, ...says]) expect(ran.stderr).toMatch(said);
    expect(ran.stderr).not.toMatch(/internal error|^ +at /m);
  });

  it('a case that another writer holds', async () => {
    const db = new Database(at('ok'));
    db.exec('begin immediate');
    try {
      const ran = await netcase(['replay', ...CASE]);
      expect(ran.code, ran.stderr).toBe(6);
      expect(ran.stderr).toBe('netcase: case locked by another netcase; wait for it to end and try again\n');
    } finally {
      db.close();
    }
  });
});
