import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import type { ReadBundle, ReadResult } from '../../src/bundle/index.ts';
import { readBundle, readBundleBytes } from '../../src/bundle/index.ts';
import { growthPerUnit, LINEAR } from '../support/linear.ts';
import type { BundleSpec } from '../support/tar-builder.ts';
import { bundleGz, bundleJson, bundleTar, FILES, member, sha } from '../support/tar-builder.ts';

const dir = mkdtempSync(join(tmpdir(), 'netcase-read-'));
afterAll(() => rmSync(dir, { recursive: true }));

const bundleOf = (r: ReadResult): ReadBundle => {
  if (!r.ok) throw new Error(r.problem.message);
  return r.bundle;
};
const read = async (spec: BundleSpec = {}) => bundleOf(await readBundleBytes(bundleGz(spec)));
const codes = (b: ReadBundle) => b.problems.map((p) => p.code);
const record = (b: ReadBundle, path: string) => b.evidence.find((e) => e.path === path);

describe('an honest bundle', () => {
  it('gives identity, evidence and bytes without a problem', async () => {
    const gz = bundleGz({
      records: [
        {
          id: 'bridge.brctl-show',
          path: 'host/bridge/brctl-show.txt',
          status: 'missing',
          rc: null,
          reason: 'tool not found',
          bytes: 0,
        },
      ],
    });
    const path = join(dir, 'netcase_node-a_20261124T120000Z_abcdef.tar.gz');
    writeFileSync(path, gz);
    const b = bundleOf(await readBundle(path));
    expect(b.problems).toEqual([]);
    expect(b).toMatchObject({
      source: 'netcase_node-a_20261124T120000Z_abcdef.tar.gz',
      format: 'netcase-bundle/1',
      sha256: sha(gz),
      size: gz.length,
      nodeName: 'node-a',
      collectedAt: '2026-11-22T10:22:19.000Z',
      collector: { name: 'netcase-collect.sh', version: '0.1.0' },
      context: { uid: 0, netns: '4026531833', pid1netns: '4026531833', mode: 'host' },
      complete: true,
      identity: {
        bundleId: '0123456789abcdef0123456789abcdef',
        hostname: 'node-a',
        bootId: 'boot-1',
        machineIdSha256: 'a'.repeat(64),
      },
    });
    expect(b.evidence.map((e) => [e.id, e.status, e.manifestLine])).toEqual([
      ['sys.hostname', 'ok', 2],
      ['ip.addr', 'ok', 3],
      ['fw.iptables-save', 'ok', 4],
      ['bridge.brctl-show', 'missing', 5],
    ]);
    const addr = b.members.get('host/ip/addr.txt');
    expect(Buffer.from(addr?.bytes ?? []).toString()).toBe(FILES['host/ip/addr.txt']);
    expect(addr?.record).toBe(record(b, 'host/ip/addr.txt'));
    expect([...b.members.keys()].sort()).toEqual(
      ['SHA256SUMS', 'bundle.json', ...Object.keys(FILES), 'manifest.json'].sort(),
    );
    expect(JSON.stringify({ ...b, members: [...b.members.keys()] })).not.toContain(dir);
  });

  it('is the same as a plain tar and without a root folder', async () => {
    const plain = bundleOf(await readBundleBytes(bundleTar()));
    const flat = bundleOf(await readBundleBytes(bundleGz({ root: './' })));
    for (const b of [plain, flat]) {
      expect(b.problems).toEqual([]);
      expect(b.complete).toBe(true);
      expect(b.evidence).toEqual((await read()).evidence);
    }
  });

  it('reads what the real collector writes', async () => {
    const ran = spawnSync('sh', ['collectors/netcase-collect.sh', '-o', dir, '--quick'], { encoding: 'utf8' });
    // 1: an item that timed out on a busy machine is said in a bundle that is whole
    expect([0, 1], ran.stderr).toContain(ran.status);
    const b = bundleOf(await readBundle(ran.stdout.split('\n')[0] as string));
    expect(b.problems).toEqual([]);
    expect(b.complete).toBe(true);
    expect(b.evidence.length).toBeGreaterThan(80);
    expect(b.evidence.every((e) => e.manifestLine !== undefined)).toBe(true);
  }, 180_000);

  it('names the node: caller, bundle.json, hostname.txt, file name', async () => {
    const named = bundleOf(await readBundleBytes(bundleGz(), { node: 'my node/../7' }));
    expect(named.nodeName).toBe('my-node-..-7');
    expect((await read({ bundleJson: { node: { name: 'given', hostname: 'h' } } })).nodeName).toBe('given');
    expect((await read({ bundleJson: { node: null } })).nodeName).toBe('node-a');
    const files = { 'host/ip/addr.txt': '' };
    const anonymous = bundleOf(
      await readBundleBytes(bundleGz({ files, bundleJson: { node: {} } }), { name: '/home/x/worker-7.tgz' }),
    );
    expect(anonymous.nodeName).toBe('worker-7');
    expect(anonymous.source).toBe('worker-7.tgz');
    expect((await read({ bundleJson: { node: { hostname: '\u001b[31m<b>ü' } } })).nodeName).toMatch(
      /^[A-Za-z0-9._-]{1,63}$/,
    );
  });

  it('keeps stderr files as members without a record of their own', async () => {
    const b = await read({
      files: { ...FILES, 'host/ip/addr.txt.err': 'warning\n' },
      record: (r) => (r['path'] === 'host/ip/addr.txt' ? { ...r, stderr: 'host/ip/addr.txt.err' } : r),
    });
    expect(b.problems).toEqual([]);
    expect(b.members.get('host/ip/addr.txt.err')?.record).toBeNull();
    expect(record(b, 'host/ip/addr.txt')?.stderr).toBe('host/ip/addr.txt.err');
  });
});

describe('what the manifest says', () => {
  it('quarantines altered members and tells both hashes', async () => {
    const wrong = 'f'.repeat(64);
    const b = await read({ record: (r) => (r['id'] === 'ip.addr' ? { ...r, sha256: wrong } : r) });
    expect(record(b, 'host/ip/addr.txt')?.status).toBe('altered');
    expect(b.members.has('host/ip/addr.txt')).toBe(false);
    expect(b.problems.find((p) => p.code === 'altered')?.hashes).toEqual([
      wrong,
      sha(FILES['host/ip/addr.txt'] as string),
    ]);
  });

  it('tells added and removed members', async () => {
    const root = 'netcase_node-a_20261124T120000Z_abcdef/';
    const b = await read({
      extra: [member(`${root}host/ip/route4.txt`, 'default\n')],
      records: [{ id: 'ip.neigh', path: 'host/ip/neigh.txt', status: 'ok', rc: 0, bytes: 3, sha256: 'b'.repeat(64) }],
    });
    expect(codes(b)).toEqual(expect.arrayContaining(['added-member', 'removed-member']));
    expect(record(b, 'host/ip/route4.txt')).toMatchObject({ id: 'ip.route4', status: 'unknown' });
    expect(record(b, 'host/ip/neigh.txt')).toMatchObject({ status: 'unknown' });
  });

  it('keeps unknown ids, and takes unknown statuses as unknown', async () => {
    const b = await read({
      files: { ...FILES, 'new/thing.txt': 'x' },
      ids: { 'new/thing.txt': 'new.thing' },
      record: (r) => (r['id'] === 'ip.addr' ? { ...r, status: 'perfect' } : r),
    });
    expect(record(b, 'new/thing.txt')).toMatchObject({ id: 'new.thing', status: 'ok' });
    expect(record(b, 'host/ip/addr.txt')).toMatchObject({ status: 'unknown', reason: 'status "perfect"' });
    expect(b.complete).toBe(true);
  });

  it.each([
    ['no manifest', { noManifest: true }, 'no-manifest'],
    ['a cut manifest', { manifest: (t: string) => t.slice(0, 700), sums: null }, 'manifest-cut'],
    [
      'an altered manifest',
      { manifest: (t: string) => t.replace('"status":"ok"', '"status":"OK"') },
      'manifest-altered',
    ],
    ['a removed record', { manifest: (t: string) => t.replace(/\n\{"id":"ip.addr".*/, '') }, 'manifest-count'],
    ['text after its end', { manifest: (t: string) => `${t}{"id":"x"}\n` }, 'manifest-unreadable'],
    ['an interrupted collector', { end: { complete: false } }, 'interrupted'],
    ['no SHA256SUMS', { sums: null }, 'no-sums'],
    ['SHA256SUMS without the manifest', { sums: (t: string) => t.replace(/.*manifest.json\n/, '') }, 'sums-manifest'],
    ['no bundle.json', { noBundleJson: true }, 'no-bundle-json'],
    ['an unreadable bundle.json', { bundleJson: { format: 'other' } }, 'bundle-json'],
    ['two collections in one', { bundleJson: { id: 'ff' } }, 'mixed-bundles'],
  ] as [string, BundleSpec, string][])('%s makes the bundle open-world', async (_, spec, code) => {
    const b = await read(spec);
    expect(b.complete).toBe(false);
    expect(codes(b)).toContain(code);
  });

  it('reads a cut manifest line by line; the rest is open-world', async () => {
    const b = await read({ manifest: (t) => t.slice(0, t.indexOf('{"id":"fw.iptables-save"') + 20), sums: null });
    expect(record(b, 'host/ip/addr.txt')?.status).toBe('ok');
    expect(record(b, 'host/fw/iptables-save.txt')).toMatchObject({ id: 'fw.iptables-save', status: 'truncated' });
  });

  it('reads a re-formatted manifest, without line numbers', async () => {
    const b = await read({
      manifest: (t) => JSON.stringify(JSON.parse(t), null, 2),
      sums: (t) => t.replace(/^.*manifest.json\n/m, ''),
    });
    expect(b.evidence.map((e) => e.status)).toEqual(['ok', 'ok', 'ok']);
    expect(b.evidence.every((e) => e.manifestLine === undefined)).toBe(true);
  });

  it('believes an empty SHA256SUMS only where the collector had no hash tool', async () => {
    const strip = (r: Record<string, unknown>) => ({ ...r, sha256: undefined });
    const b = await read({ record: strip, sums: () => '' });
    expect(b.complete).toBe(true);
    expect(codes(b)).toEqual(['unhashed']);
    expect(b.evidence.every((e) => e.status === 'ok' && e.sha256 !== undefined)).toBe(true);
    const plain = bundleOf(await readBundleBytes(bundleTar({ record: strip, sums: () => '' })));
    expect(plain.complete).toBe(false);
    expect((await read({ sums: () => '' })).complete).toBe(false);
  });

  it('refuses a bundle for newer readers', async () => {
    const r = await readBundleBytes(bundleGz({ bundleJson: { minReader: 2 } }));
    expect(r).toMatchObject({ ok: false, problem: { code: 'newer-format' } });
    expect(!r.ok && r.problem.message).toContain('upgrade netcase');
  });

  it('takes absurd times as unknown', async () => {
    for (const epoch of [-1, 0, 1e300, 99999999999999, 12]) {
      const b = await read({ bundleJson: { clock: { epoch } } });
      expect([b.collectedAt, codes(b)]).toEqual([null, ['clock']]);
    }
  });

  it('is not moved by __proto__, deep or odd JSON', async () => {
    const evil = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    const b = await read({
      record: (r) => ({ ...r, ...evil, argv: ['__proto__'] }),
      bundleJson: { node: evil, context: [], clock: 'x' },
    });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(b.evidence).toHaveLength(3);
    const deep = await read({
      manifest: (t) => t.replace('"redactions":0', `"x":${'['.repeat(5000)}${']'.repeat(5000)}`),
    });
    expect(deep.complete).toBe(false);
    const huge = await readBundleBytes(bundleGz({ manifest: () => '['.repeat(1_000_000) }));
    expect(huge.ok && huge.bundle.complete).toBe(false);
  });

  it.each([
    ['empty lines', (n: number) => '\n'.repeat(4 * n)],
    ['one line', (n: number) => `{"evidence":[${'{},'.repeat(n)}{}]}`],
    ['objects', (n: number) => `[\n${'{}\n'.repeat(n)}`],
  ])('is not stopped by a manifest of %s', async (_, text) => {
    const whole = async (tar: Buffer) => {
      const r = await readBundleBytes(tar);
      return !r.ok || r.bundle.complete;
    };
    const read = async (n: number) => expect(await whole(bundleTar({ manifest: () => text(n) }))).toBe(false);
    expect(await growthPerUnit(read, 1_400_000, 20)).toBeLessThan(LINEAR / 2);
    expect(await whole(bundleTar({ sums: () => text(5_000_000).slice(0, 15_000_000) }))).toBe(false);
  });

  it('leaves out records with unsafe or repeated paths', async () => {
    const b = await read({
      records: ['../../etc/passwd', '/etc/shadow', 'a\u0000b', 'host/ip/addr.txt'].map((path) => ({
        id: 'x',
        path,
        status: 'missing',
      })),
    });
    expect(b.evidence).toHaveLength(3);
    expect(codes(b)).toEqual(['record-path', 'record-path', 'record-path', 'duplicate-record']);
  });
});

describe('what is no bundle', () => {
  it.each([
    ['nothing', Buffer.alloc(0), 'empty'],
    ['text', Buffer.from('hello\n'.repeat(300)), 'not-an-archive'],
    ['zip', Buffer.from('504b0304', 'hex'), 'unsupported-format'],
    ['gzip of text', gzipSync('hello\n'.repeat(300)), 'nothing-readable'],
    ['gzip of gzip', gzipSync(bundleGz()), 'nested-compression'],
    ['a foreign tar', gzipSync(Buffer.concat([member('etc/passwd', 'root'), Buffer.alloc(1024)])), 'not-a-bundle'],
    ['an empty tar', gzipSync(Buffer.alloc(1024)), 'not-a-bundle'],
    ['zeros', Buffer.alloc(4096), 'not-a-bundle'],
  ] as [string, Buffer, string][])('%s', async (_, bytes, code) => {
    const r = await readBundleBytes(bytes, { name: 'x.tgz' });
    expect(r).toMatchObject({ ok: false, problem: { code } });
    expect(!r.ok && r.problem.message).toMatch(/^"x.tgz" was refused\. .*\.$/);
  });

  it('is a file that is not there', async () => {
    expect(await readBundle(join(dir, 'nope.tgz'))).toMatchObject({ ok: false, problem: { code: 'unreadable' } });
    expect(JSON.stringify(await readBundle(join(dir, 'nope.tgz')))).not.toContain(dir);
  });
});

it('builds the tests on a bundle.json of the documented shape', () => {
  expect(bundleJson()).toMatchObject({ format: 'netcase-bundle', version: 1 });
});
