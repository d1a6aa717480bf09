import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { ReadBundle, ReadResult } from '../../src/bundle/index.ts';
import { expandInputs, readBundle, readBundleBytes, readFolder, readInput } from '../../src/bundle/index.ts';
import { growthPerUnit, LINEAR } from '../support/linear.ts';
import { bundleGz, bundleTar, FILES, member, sha, tar } from '../support/tar-builder.ts';

const dir = mkdtempSync(join(tmpdir(), 'netcase-inputs-'));
afterAll(() => rmSync(dir, { recursive: true }));

const bundleOf = (r: ReadResult | undefined): ReadBundle => {
  if (!r?.ok) throw new Error(r?.problem.message);
  return r.bundle;
};
const put = (path: string, data: string | Buffer) => {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), data);
};
const codes = (b: ReadBundle) => b.problems.map((p) => p.code);
const named = async (...args: string[]) =>
  (await expandInputs(args.map((a) => (/^[@-]/.test(a) ? a : join(dir, a))))).inputs.map((i) => i.name);

describe('folders', () => {
  it('reads an unpacked bundle with the same checks', async () => {
    mkdirSync(join(dir, 'unpacked'));
    writeFileSync(join(dir, 'unpacked.tgz'), bundleGz());
    execFileSync('tar', ['xzf', join(dir, 'unpacked.tgz'), '-C', join(dir, 'unpacked'), '--strip-components=1']);
    const b = bundleOf(await readFolder(join(dir, 'unpacked')));
    expect(b).toMatchObject({ format: 'folder', source: 'unpacked', nodeName: 'node-a', complete: true, problems: [] });
    expect(b.evidence).toEqual(bundleOf(await readBundleBytes(bundleGz())).evidence);
    put('unpacked/host/ip/addr.txt', 'changed');
    symlinkSync('/etc/passwd', join(dir, 'unpacked/host/ip/link.txt'));
    execFileSync('mkfifo', [join(dir, 'unpacked/host/ip/neigh.txt')]);
    const changed = bundleOf(await readFolder(join(dir, 'unpacked')));
    expect(codes(changed).sort()).toEqual(['altered', 'link-refused', 'type-refused']);
    expect(changed.members.has('host/ip/addr.txt')).toBe(false);
    expect(changed.sha256).not.toBe(b.sha256);
  });

  it('reads loose evidence files as one node', async () => {
    for (const [path, text] of Object.entries(FILES)) put(`loose/web-1/${path}`, text);
    put('loose/web-1/files/etc/cni/net.d/10-flannel.conflist', '{}');
    put('loose/web-1/README.md', 'mine');
    const b = bundleOf(await readFolder(join(dir, 'loose/web-1')));
    expect(b).toMatchObject({ format: 'loose-files', nodeName: 'node-a', complete: true, collectedAt: null });
    expect(b.evidence.map((e) => [e.id, e.instance, e.status])).toEqual([
      ['cni.conf', '10-flannel.conflist', 'ok'],
      ['fw.iptables-save', undefined, 'ok'],
      ['ip.addr', undefined, 'ok'],
      ['sys.hostname', undefined, 'ok'],
    ]);
    expect(b.members.get('README.md')?.record).toBeNull();
    expect(codes(b)).toEqual(['loose-files']);
    put('loose/web-2/host/ip/addr.txt', 'x');
    expect(bundleOf(await readFolder(join(dir, 'loose/web-2'))).nodeName).toBe('web-2');
    expect(bundleOf(await readFolder(join(dir, 'loose/web-2'), { node: 'n2' })).nodeName).toBe('n2');
    expect(await named('loose')).toEqual(['web-1', 'web-2']);
  });

  it('reads loose files in an archive; a cut one is open-world', async () => {
    const archive = tar(member('host/ip/addr.txt', 'x'), member('host/ip/link.txt', 'y'));
    const b = bundleOf(await readBundleBytes(archive, { name: 'n1.tar' }));
    expect(b).toMatchObject({ format: 'loose-files', nodeName: 'n1', complete: true });
    const cut = bundleOf(await readBundleBytes(archive.subarray(0, 1024 + 513), { name: 'n1.tar' }));
    expect(cut.complete).toBe(false);
    expect(cut.evidence.every((e) => e.status === 'truncated')).toBe(true);
  });

  it('refuses a folder that is neither, and one over the limits', async () => {
    put('other/a.txt', 'x');
    expect(await readFolder(join(dir, 'other'))).toMatchObject({ ok: false, problem: { code: 'not-a-bundle' } });
    expect(await readFolder(join(dir, 'nope'))).toMatchObject({ ok: false, problem: { code: 'unreadable' } });
    expect(await readFolder(join(dir, 'loose/web-1'), { limits: { members: 3 } })).toMatchObject({
      problem: { code: 'too-many-members' },
    });
    expect(await readFolder(join(dir, 'loose/web-1'), { limits: { expanded: 10 } })).toMatchObject({
      problem: { code: 'too-large' },
    });
    expect(await readFolder(join(dir, 'loose/web-1'), { limits: { member: 10 } })).toMatchObject({
      problem: { code: 'member-too-large' },
    });
  });

  it('is not led in circles by links', async () => {
    put('loop/host/ip/addr.txt', 'x');
    symlinkSync('.', join(dir, 'loop/host/again'));
    expect(codes(bundleOf(await readFolder(join(dir, 'loop'))))).toEqual(['link-refused', 'loose-files']);
  });
});

describe('set archives', () => {
  const inner = (node: string) => bundleGz({ bundleJson: { node: { hostname: node } } });
  const set = (json: unknown, ...nodes: string[]) =>
    tar(
      member('netcase-set_x/set.json', JSON.stringify(json)),
      ...nodes.map((n) => member(`netcase-set_x/${n}.tar.gz`, inner(n))),
    );

  it('gives every bundle, and a problem for each expected node that is not there', async () => {
    const json = {
      site: 's',
      expected: ['a', 'b', 'c'],
      failures: [
        { node: 'c', reason: 'ssh: no route' },
        { node: 'd', reason: 'x' },
      ],
    };
    const results = await readInput(set(json, 'a', 'b'));
    expect(results.map((r) => (r.ok ? r.bundle.nodeName : r.problem.code))).toEqual([
      'a',
      'b',
      'node-not-collected',
      'node-not-collected',
    ]);
    expect(results[0]).toMatchObject({ bundle: { source: 'a.tar.gz', sha256: sha(inner('a')) } });
    expect(results[2]).toMatchObject({ problem: { message: expect.stringContaining('Node "c"') } });
    expect(results[2]).toMatchObject({ problem: { message: expect.stringContaining('ssh: no route') } });
  });

  it('goes one level deep', async () => {
    const nested = tar(member('set.json', '{}'), member('inner.tar.gz', set({}, 'a')));
    expect(await readInput(nested)).toMatchObject([{ ok: false, problem: { code: 'set-archive' } }]);
    expect(await readBundleBytes(set({}, 'a'))).toMatchObject({ ok: false, problem: { code: 'set-archive' } });
  });

  it('survives a cut set, a bad member and an odd set.json', async () => {
    const whole = set({ expected: [1, null], failures: 'x' }, 'a', 'b');
    const cut = await readInput(whole.subarray(0, whole.length - 1900));
    expect(cut.map((r) => (r.ok ? r.bundle.nodeName : r.problem.code))).toEqual(['a', 'truncated', 'truncated']);
    const bad = await readInput(
      tar(member('set.json', '[['), member('x.tar.gz', 'no archive'), member('a.tar.gz', inner('a'))),
    );
    expect(bad.map((r) => r.ok)).toEqual([false, true]);
    expect(await readInput(tar(member('set.json', '{}')))).toMatchObject([{ problem: { code: 'empty-set' } }]);
  });
});

describe('arguments', () => {
  it('finds files, folders, patterns, lists and standard input', async () => {
    for (const name of ['in/b.tar.gz', 'in/a.tgz', 'in/c.tar', 'in/notes.txt', 'in/deep/d.tgz']) put(name, bundleGz());
    expect(await named('in')).toEqual(['a.tgz', 'b.tar.gz', 'c.tar']);
    expect(await named('in/*.tgz', 'in/[bc].tar*', '-')).toEqual(['a.tgz', 'b.tar.gz', 'c.tar', 'stdin']);
    expect(await named('in/**/?.tgz')).toEqual(['a.tgz', 'd.tgz']);
    expect(await named('in/a.tgz', 'in', 'in/../in/a.tgz')).toEqual(['a.tgz', 'b.tar.gz', 'c.tar']);
    put('list.txt', `# mine\n${join(dir, 'in/a.tgz')}\n\n-\n@other\n${join(dir, 'in/c.*')}\r\n`);
    expect(await named(`@${join(dir, 'list.txt')}`)).toEqual(['a.tgz', 'c.tar']);
  });

  it('folders of folders only when they are asked for; links are not followed, nor is a ring walked twice', async () => {
    put('deep/acme/prod/eu/a.tar.gz', 'x');
    put('deep/acme/prod/node-1/host/ip/addr.txt', 'x');
    put('deep/globex/b.tgz', 'x');
    put('deep/notes/readme.txt', 'x');
    put('elsewhere/c.tar.gz', 'x');
    symlinkSync(join(dir, 'deep'), join(dir, 'deep/acme/ring'));
    symlinkSync(join(dir, 'elsewhere'), join(dir, 'deep/linked'));
    const deep = async (path: string) => {
      const { inputs, unreadable } = await expandInputs([join(dir, path)], true);
      return [inputs.map((i) => i.path.slice(dir.length + 1)), unreadable.map((u) => u.code)];
    };
    expect(await deep('deep')).toEqual([
      ['deep/acme/prod/eu/a.tar.gz', 'deep/acme/prod/node-1', 'deep/globex/b.tgz'],
      [],
    ]);
    expect(await deep('deep/notes')).toEqual([[], ['nothing-found']]);
    expect(await named('deep')).toEqual([]);
  });

  it('tells what is not there, in a sentence and without folders', async () => {
    const { inputs, unreadable } = await expandInputs(
      ['nope.tgz', 'no*pe', 'other', 'in/notes.txt', '@nolist'].map((a) =>
        a.startsWith('@') ? `@${join(dir, a.slice(1))}` : join(dir, a),
      ),
    );
    expect(inputs.map((i) => i.name)).toEqual(['notes.txt']);
    expect(unreadable.map((u) => u.code)).toEqual(['unreadable', 'no-match', 'nothing-found', 'unreadable']);
    for (const u of unreadable) {
      expect(u.message).toMatch(/^.*[.]$/);
      expect(JSON.stringify(u)).not.toContain(dir);
    }
  });

  it('takes wildcards in linear time', async () => {
    put('wild/'.concat('a'.repeat(200), '.tgz'), 'x');
    const look = async (stars: number) => expect(await named(`wild/${'*a'.repeat(stars)}*b`)).toEqual([]);
    expect(await growthPerUnit(look, 15, 20)).toBeLessThan(LINEAR / 2);
  });
});

describe('large bundles', () => {
  it('streams what is over 64 MiB, with the same result', async () => {
    const big = randomBytes(40 * 1024 * 1024);
    const spec = {
      files: { ...FILES, 'log/journal-a.txt': big, 'log/journal-b.txt': big.subarray(1) },
      ids: { 'log/journal-a.txt': 'log.journal', 'log/journal-b.txt': 'log.journal' },
    };
    const plain = bundleTar(spec);
    for (const [name, bytes] of [
      ['big.tar', plain],
      ['big.tgz', bundleGz(spec)],
    ] as const) {
      put(name, bytes);
      const b = bundleOf(await readBundle(join(dir, name)));
      expect(b).toMatchObject({ complete: true, problems: [], sha256: sha(bytes), size: bytes.length });
      expect(b.evidence.map((e) => e.status)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
      expect(Buffer.compare(Buffer.from(b.members.get('log/journal-a.txt')?.bytes ?? []), big)).toBe(0);
    }
    put('cut.tgz', bundleGz(spec).subarray(0, 70 * 1024 * 1024));
    const cut = bundleOf(await readBundle(join(dir, 'cut.tgz')));
    expect(cut.complete).toBe(false);
    expect(cut.evidence.map((e) => e.status)).toEqual([
      'truncated',
      'truncated',
      'truncated',
      'truncated',
      'truncated',
    ]);
  }, 180_000);

  it('streams a small file whose length trailer cannot be believed', async () => {
    const gz = Buffer.concat([bundleGz(), Buffer.from([9, 9, 9, 9])]);
    expect(bundleOf(await readBundleBytes(gz)).complete).toBe(true);
  });
});

it('leaves no trace of the analyst in the value', async () => {
  for (const path of ['unpacked', 'loose/web-1', 'in/a.tgz', 'in/notes.txt']) {
    const [r] = await readInput(join(dir, path));
    const text = JSON.stringify(r?.ok ? { ...r.bundle, members: [...r.bundle.members.keys()] } : r);
    for (const secret of [dir, process.cwd(), tmpdir(), `/${userInfo().username}/`]) expect(text).not.toContain(secret);
  }
});
