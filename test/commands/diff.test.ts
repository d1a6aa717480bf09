import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DiffJson } from '../../src/report/diff.ts';
import type { Analysis } from '../../src/report/index.ts';
import { encodeBlob, openCase } from '../../src/store/index.ts';
import { netcase, root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-diff-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Bundles of one lab's nodes; the labs give their nodes the same machine ids, so that these are snapshots of the same machines. */
const lab = (name: string, ...nodes: string[]) => {
  const folder = join(root, 'fixtures/bundles', name);
  return readdirSync(folder)
    .filter((f) => nodes.some((n) => f.startsWith(`netcase_${n}_`)))
    .map((f) => join(folder, f));
};
const kase = join(dir, 'a.netcase');
const at = (time: string) => ({ env: { SOURCE_DATE_EPOCH: String(Date.parse(time) / 1000) } });
const valid = new Ajv2020({ allErrors: true, strict: false, formats: { 'date-time': true } }).compile(
  JSON.parse(readFileSync(join(root, 'schema/diff.v1.json'), 'utf8')),
);

async function diff(...args: string[]): Promise<{ code: number; json: DiffJson }> {
  const ran = await netcase(['diff', ...args, '--format', 'json']);
  expect(ran.stderr).toBe('');
  const json = JSON.parse(ran.stdout) as DiffJson;
  expect(valid(json), JSON.stringify(valid.errors)).toBe(true);
  return { code: ran.code, json };
}
const rules = (list: readonly { readonly finding: { readonly rule: string } }[]) => list.map((d) => d.finding.rule);

// 16:27:59 a REJECT in FORWARD, 16:28:00 no masquerade instead, 16:28:08 no nft on node-a
const first = [...lab('forward-drops-pod-traffic', 'node-a', 'node-b')];
const second = [...lab('egress-masquerade-missing', 'node-a', 'node-b')];
const third = [...lab('bundle-incomplete', 'node-a')];

beforeAll(async () => {
  for (const [bundles, time] of [
    [first, '2026-11-20T09:00:00Z'],
    [second, '2026-11-22T09:00:00Z'],
    [third, '2026-11-24T09:00:00Z'],
  ] as const)
    expect((await netcase(['analyze', ...bundles, '--case', kase, '-q'], at(time))).code).toBeLessThan(2);
});

describe('one case over time', () => {
  it('a repair is gone by the evidence, with the lines that the rule cites now', async () => {
    const { code, json } = await diff('--case', kase, '--from', '2026-11-20', '--to', '2026-11-22');
    expect(code).toBe(1);
    expect(json.nodes).toEqual({ appeared: [], gone: [], recollected: ['node-a', 'node-b'] });
    const repaired = json.gone.find((g) => g.finding.rule === 'forward-drops-pod-traffic');
    expect(repaired).toMatchObject({ by: 'evidence', because: 'now, the rule passes on node-b' });
    const file = repaired?.proof.find((c) => c.path === 'host/fw/iptables-save.txt');
    expect(file).toMatchObject({ text: expect.stringMatching(/-j ACCEPT$/) });
    expect(rules(json.appeared)).toContain('egress-masquerade-missing');
    expect(json.appeared.every((d) => d.by === 'evidence')).toBe(true);
    expect(json.from.recorded?.verdict.severity).toBe('critical');
    expect(json.from.case.at).toBe('2026-11-20T09:00:00.000Z');
  });

  it('a day means its end; a time and a position mean themselves', async () => {
    const { json } = await diff('--case', kase, '--from', '2026-11-20', '--to', '2026-11-21');
    expect(json.to.case).toEqual(json.from.case);
    const { json: exact } = await diff('--case', kase, '--from', '2026-11-20T09:00Z', '--to', '2026-11-22T08:59:59Z');
    expect(exact.to.case).toEqual(json.from.case);
    const { json: by } = await diff('--case', kase, '--from', String(json.from.case.position));
    expect(by.from).toEqual(json.from);
    expect(by.to.case.at).toBe('2026-11-24T09:00:00.000Z');
  });

  it('what was not collected this time is unproven, and what could be decided before is said', async () => {
    const { code, json } = await diff('--case', kase, '--from', '2026-11-22');
    expect(code).toBe(4);
    expect(json.nodes.recollected).toEqual(['node-a']);
    expect(json.unproven.length + json.undecided.length).toBeGreaterThan(0);
    for (const { because, evidence } of json.unproven) {
      expect(because).toContain('not known');
      expect(evidence).toContain('fw.nft-json');
    }
    const lost = json.undecided.find((u) => u.rule === 'forward-drops-pod-traffic');
    expect(lost).toMatchObject({ nodes: ['node-a'], evidence: ['fw.nft-json'] });
    expect(json.gone.filter((g) => g.finding.nodes.includes('node-a'))).toEqual([]);
  });

  it('nothing is written', async () => {
    const before = readFileSync(kase);
    await diff('--case', kase, '--from', '1');
    expect(readFileSync(kase).equals(before)).toBe(true);
    expect(readdirSync(dir).filter((f) => f.startsWith('a.netcase-'))).toEqual([]);
  });

  it('the text says the same', async () => {
    const { stdout } = await netcase(['diff', '--case', kase, '--from', '2026-11-20', '--to', '2026-11-22']);
    expect(stdout).toMatch(/^from a\.netcase at position \d+, 2026-11-20T09:00:00\.000Z, 2 nodes: critical: /);
    expect(stdout).toContain('2 nodes judged by another bundle: node-a, node-b');
    expect(stdout).toMatch(/\nGONE \(\d+\)\n {2}critical, proven: FORWARD on node-b drops/);
    expect(stdout).toContain('by the evidence: now, the rule passes on node-b');
    expect(stdout).toMatch(/\n {4}node-b host\/fw\/iptables-save\.txt:\d+ {2}.* -j ACCEPT\n/);
  });

  it('what an analyzer of before said of the same bundles is by the analyzer', async () => {
    const old = join(dir, 'old.netcase');
    await netcase(['analyze', ...first, '--case', old, '-q'], at('2026-11-20T09:00:00Z'));
    const store = openCase(old, { mode: 'write', clock: () => '2026-11-20T10:00:00.000Z' });
    const event = store.latestAnalysis();
    const blob = store.readBlob(event?.payload.analysisBlob ?? '');
    const analysis = JSON.parse(Buffer.from(blob ?? '').toString()) as Analysis;
    const [real] = analysis.findings.filter((f) => f.rule === 'forward-drops-pod-traffic');
    if (event === null || real === undefined) throw new Error('the fixture has its finding');
    // it did not find what is there, and found what is not
    const wrong = {
      ...real,
      id: 'ip-forward-disabled/node-a:x',
      rule: 'ip-forward-disabled',
      nodes: ['node-a'] as const,
    };
    const encoded = encodeBlob(Buffer.from(JSON.stringify({ ...analysis, findings: [wrong] })));
    store.transaction(() => {
      store.putBlobs([encoded]);
      store.append({
        type: 'analysis.completed',
        key: 'analysis of another netcase',
        payload: { ...event.payload, tool: '0.0.1', analysisBlob: encoded.sha256 },
      });
    });
    const { position } = store.head();
    store.close();
    const { json } = await diff('--case', old, '--from', String(position));
    const ours = json.appeared.find((d) => d.finding.id === real.id);
    expect(ours).toMatchObject({ by: 'analyzer' });
    expect(json.gone).toMatchObject([{ finding: { id: wrong.id }, by: 'analyzer', proof: [] }]);
  });
});

describe('two cases', () => {
  it('machines of one name that are not the same are said', async () => {
    const [mine, other] = [join(dir, 'mine.netcase'), join(dir, 'other.netcase')];
    await netcase(['analyze', ...lab('healthy-vxlan', 'node-b'), '--case', mine, '-q']);
    const folder = join(dir, 'stranger');
    mkdirSync(folder);
    execFileSync('tar', ['xzf', lab('healthy-vxlan', 'node-b')[0] as string, '--strip-components=1', '-C', folder]);
    const [identity, sums] = [join(folder, 'bundle.json'), join(folder, 'SHA256SUMS')];
    const sha = () => createHash('sha256').update(readFileSync(identity)).digest('hex');
    const old = sha();
    const id = (text: string) => text.replace(/(?<="machineIdSha256":")\w{4}/, 'beef');
    writeFileSync(identity, id(readFileSync(identity, 'utf8')));
    writeFileSync(sums, readFileSync(sums, 'utf8').replace(old, sha()));
    await netcase(['analyze', folder, '--case', other, '-q']);
    const { json } = await diff(mine, other);
    expect(json.notes).toEqual([
      'node-b: not the same machine in both cases (other machine id), so what differs may be no change at all.',
    ]);
  });

  it('are compared as they stand', async () => {
    const [before, after] = [join(dir, 'before.netcase'), join(dir, 'after.netcase')];
    await netcase(['analyze', ...lab('healthy-vxlan', 'node-a', 'node-b'), '--case', before, '-q']);
    await netcase(['analyze', ...lab('healthy-vxlan', 'node-b'), '--case', after, '-q']);
    const { json } = await diff(before, after);
    expect(json.nodes).toMatchObject({ appeared: [], gone: ['node-a'], recollected: [] });
    expect(json.notes).toEqual([]);
    const { code, json: same } = await diff(before, before);
    expect(code).toBe(0);
    expect(same).toMatchObject({ appeared: [], gone: [], changed: [], unproven: [], undecided: [] });
  });
});

describe('wrong calls are usage errors', () => {
  it.each([
    [[], 'give two case files, or --case FILE and --from POSITION or DATE'],
    [['one.netcase'], 'give two case files'],
    [['--case', kase, '--from', '999'], 'there is no position 999: the log has'],
    [['--case', kase, '--from', '0'], 'there is no position 0'],
    [['--case', kase, '--from', 'yesterday'], 'yesterday is neither a position of the log nor a date'],
    [['--case', kase, '--from', '2026-02-31'], 'is neither'],
    [['--case', kase, '--from', '2020-01-01'], 'nothing was recorded until 2020-01-01: the case begins at 2026-11-20'],
    [['--case', kase, '--from', '5', '--to', '2'], '--from (position 5) is after --to (position 2)'],
    [['a.netcase', 'b.netcase', '--from', '1'], 'give two case files'],
    [[join(dir, 'no.netcase'), kase], 'there is no case file'],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await netcase(['diff', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });
});
