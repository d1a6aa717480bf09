import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { netcase } from '../support/analyse.ts';
import { type BundleSpec, bundleGz } from '../support/tar-builder.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-ingest-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function put(name: string, bytes: Buffer): string {
  const path = join(dir, name);
  writeFileSync(path, bytes);
  return path;
}
const made = (name: string, spec: BundleSpec = {}) => put(name, bundleGz(spec));
const cut = (name: string) => {
  const whole = bundleGz({ files: { 'host/ip/addr.txt': '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536\n'.repeat(900) } });
  return put(name, whole.subarray(0, (2 * whole.length) / 3));
};

async function ingest(name: string, ...inputs: string[]) {
  const ran = await netcase(['ingest', ...inputs, '--case', join(dir, `${name}.netcase`), '--quiet']);
  return { ...ran, said: ran.stderr.split('\n').filter((l) => l !== '') };
}

const REST = 'what is in it counts, what is not in it proves nothing: send it again or collect again';

describe('netcase ingest of a damaged bundle says so in one sentence, and takes it', () => {
  const cases: readonly (readonly [what: string, path: string, said: string | RegExp])[] = [
    ['cut', cut('cut.tar.gz'), /^netcase: cut\.tar\.gz of node.* is not whole: the compressed file ends too early.*/],
    [
      'its last file is missing',
      made('unsummed.tar.gz', { sums: null }),
      `netcase: unsummed.tar.gz of node-a is not whole: SHA256SUMS, the last file of a bundle, is not there: a partial upload; ${REST}`,
    ],
    [
      'the collector was interrupted',
      made('interrupted.tar.gz', { end: { complete: false } }),
      `netcase: interrupted.tar.gz of node-a is not whole: the collector was interrupted before its end; ${REST}`,
    ],
    [
      'a file was changed later',
      made('altered.tar.gz', {
        record: (r) => (r['id'] === 'ip.addr' ? { ...r, sha256: 'b'.repeat(64) } : r),
        sums: (t) => t.replace(/^\w+(?= {2}host\/ip\/addr\.txt)/m, 'b'.repeat(64)),
      }),
      /^netcase: altered\.tar\.gz of node-a is not as it was collected: "host\/ip\/addr\.txt" is not what was collected.*; netcase analyze says what that leaves open$/,
    ],
    [
      'hostile names reach the terminal escaped',
      made('hostile.tar.gz', { end: { complete: false }, bundleJson: { node: { hostname: 'a\u001b[31m', name: '' } } }),
      /^[^\u001b]* is not whole: [^\u001b]*$/,
    ],
  ];
  it.each(cases)('%s', async (what, path, said) => {
    const ran = await ingest(what.replaceAll(' ', '-'), path);
    expect(ran.said).toEqual([typeof said === 'string' ? said : expect.stringMatching(said)]);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^1 events added/);
  });

  it('one sentence a bundle, also of many, and beside what was refused: 3', async () => {
    const inputs = [
      cut('b1.tar.gz'),
      made('b2.tar.gz'),
      made('b3.tar.gz', { sums: null }),
      put('b4.tar.gz', Buffer.alloc(9)),
    ];
    const ran = await ingest('many', ...inputs);
    expect(ran.said).toHaveLength(3);
    expect(ran.said[0]).toMatch(/^netcase: b1\.tar\.gz of .* is not whole/);
    expect(ran.said[1]).toMatch(/^netcase: b3\.tar\.gz of .* is not whole/);
    expect(ran.said[2]).toMatch(/b4\.tar\.gz/);
    expect(ran.code).toBe(3);
  });

  it('says it again when the bundle comes again', async () => {
    const path = made('again.tar.gz', { sums: null });
    const [first, second] = [await ingest('again', path), await ingest('again', path)];
    expect(second.said).toEqual(first.said);
    expect(second.stdout).toMatch(/^0 events added/);
  });

  it('is silent about a whole one', async () => {
    const ran = await ingest('whole', made('whole.tar.gz'));
    expect(ran.said).toEqual([]);
    expect(ran.code).toBe(0);
  });
});
