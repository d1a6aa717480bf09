import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { ReadResult } from '../../src/bundle/index.ts';
import { readBundle, readBundleBytes } from '../../src/bundle/index.ts';
import {
  bundleGz,
  bundleTar,
  END,
  FILES,
  gnuLong,
  header,
  member,
  padded,
  pax,
  paxRecord,
  sha,
  tar,
} from '../support/tar-builder.ts';

const dir = mkdtempSync(join(tmpdir(), 'netcase-hostile-'));
afterAll(() => rmSync(dir, { recursive: true }));

const ROOT = 'netcase_node-a_20261124T120000Z_abcdef/';
const evil = 'EVIL-CONTENT';
const codesOf = (r: ReadResult) => (r.ok ? r.bundle.problems.map((p) => p.code) : [`refused:${r.problem.code}`]);
const base256 = (value: number) => {
  const b = Buffer.alloc(12);
  b[0] = 0x80;
  b.writeUIntBE(value, 6, 6);
  return b;
};

// [name, parts put into an honest bundle before its manifest, expected problem or refusal]
const cases: [string, Buffer[], string][] = [
  ['dot-dot', [member('../../etc/cron.d/x', evil)], 'name-traversal'],
  ['dot-dot inside', [member(`${ROOT}host/../../x`, evil)], 'name-traversal'],
  ['dot-dot at the end', [member(`${ROOT}..`, evil)], 'name-traversal'],
  ['absolute', [member('/etc/passwd', evil)], 'name-absolute'],
  ['double slash', [member('//etc/passwd', evil)], 'name-absolute'],
  ['drive letter', [member('C:/Windows/x', evil)], 'name-drive'],
  ['drive relative', [member('c:x', evil)], 'name-drive'],
  ['backslash traversal', [member(`${ROOT}a\\..\\..\\x`, evil)], 'name-backslash'],
  ['backslash absolute', [member('\\\\server\\share', evil)], 'name-backslash'],
  ['backslash drive', [member(`${ROOT}C:\\x`, evil)], 'name-backslash'],
  ['NUL in the name', [member('x', evil, { name: Buffer.from(`${ROOT}a\0.txt`) })], 'name-nul'],
  ['NUL in the prefix', [member('x', evil, { prefix: Buffer.from('p\0q') })], 'name-nul'],
  ['NUL in a pax name', [pax({ path: `${ROOT}a\0b` }), member('x', evil)], 'refused:readers-disagree|name-nul'],
  ['NUL in a GNU long name', [member('././@LongLink', 'a\0b\0', { type: 'L' }), member('x', evil)], 'name-nul'],
  ['newline', [member(`${ROOT}a\nb`, evil)], 'name-control'],
  ['terminal escape', [member(`${ROOT}\u001b]0;x\u0007`, evil)], 'name-control'],
  ['C1 control', [member(`${ROOT}\u009b31m`, evil)], 'name-control'],
  ['too deep', [member(`${'d/'.repeat(40)}x`, evil)], 'name-too-deep'],
  ['too long', [gnuLong('n'.repeat(2000)), member('x', evil)], 'name-too-long'],
  ['pax dot-dot', [pax({ path: '../../x' }), member('x', evil)], 'name-traversal'],
  ['pax absolute', [pax({ path: '/x' }), member('x', evil)], 'name-absolute'],
  ['prefix dot-dot', [member('x', evil, { prefix: '../..' })], 'name-traversal'],
  ['long name dot-dot', [gnuLong('../x'), member('x', evil)], 'name-traversal'],
  ['old GNU long name', [gnuLong('../x', 'N'), member('x', evil)], 'name-traversal'],
  ['symbolic link', [member(`${ROOT}l`, '', { type: '2', link: '/etc/shadow' })], 'link-refused'],
  [
    'symbolic link, then a file through it',
    [member(`${ROOT}l`, '', { type: '2', link: '/tmp' }), member(`${ROOT}l/x`, evil)],
    'link-refused',
  ],
  ['hard link', [member(`${ROOT}l`, '', { type: '1', link: `${ROOT}bundle.json` })], 'link-refused'],
  ['link by pax', [pax({ linkpath: '/etc/shadow' }), member(`${ROOT}l`, '', { type: '2', link: 'x' })], 'link-refused'],
  ['character device', [member(`${ROOT}d`, '', { type: '3' })], 'type-refused'],
  ['block device', [member(`${ROOT}d`, '', { type: '4' })], 'type-refused'],
  ['FIFO', [member(`${ROOT}d`, '', { type: '6' })], 'type-refused'],
  ['GNU dump folder', [member(`${ROOT}d/`, '', { type: 'D' })], 'type-refused'],
  ['GNU sparse', [member(`${ROOT}s`, evil, { type: 'S' })], 'type-refused'],
  ['pax sparse', [pax({ 'GNU.sparse.major': '1', 'GNU.sparse.name': 'x' }), member(`${ROOT}s`, evil)], 'type-refused'],
  ['continuation', [member(`${ROOT}s`, evil, { type: 'M' })], 'type-refused'],
  ['volume header', [member('vol', '', { type: 'V' })], 'type-refused'],
  ['unknown type', [member(`${ROOT}s`, evil, { type: 'Q' })], 'type-refused'],
  ['setuid', [member(`${ROOT}suid`, evil, { mode: 0o4755 })], 'setuid'],
  [
    'not UTF-8',
    [member('x', evil, { name: Buffer.concat([Buffer.from(ROOT), Buffer.from([0xff, 0xfe])]) })],
    'name-not-utf8',
  ],
  ['duplicate', [member(`${ROOT}host/ip/addr.txt`, evil)], 'duplicate-member'],
  ['duplicate by dots', [member(`${ROOT}host//ip/./addr.txt`, evil)], 'duplicate-member'],
  ['duplicate bundle.json', [member(`${ROOT}bundle.json`, '{}')], 'duplicate-member'],
  ['outside the root', [member('other/host/ip/addr.txt', evil)], 'outside-root'],
  ['added', [member(`${ROOT}host/ip/neigh.txt`, evil)], 'added-member'],
  ['lone zero block', [Buffer.alloc(512), member(`${ROOT}z`, evil)], 'lone-zero-block'],
  ['early end', [END], 'trailing-data'],
  ['bad checksum', [member(`${ROOT}z`, evil, { checksum: 1 })], 'bad-header-checksum'],
  [
    'tar in a bad member',
    [header({ name: 'z', size: 1024, checksum: 1 }), member(`${ROOT}host/ip/neigh.txt`, evil)],
    'bad-header-checksum',
  ],
  ['negative size', [member(`${ROOT}z`, '', { size: Buffer.alloc(12, 0xff) })], 'refused:bad-size'],
  ['unreadable size', [member(`${ROOT}z`, '', { size: Buffer.from('12x\0') })], 'refused:bad-size'],
  ['size over the limit', [member(`${ROOT}z`, '', { size: base256(1024 ** 3) })], 'refused:member-too-large'],
  ['8 EiB', [member(`${ROOT}z`, '', { size: Buffer.from('800000007fffffffffffffff', 'hex') })], 'refused:bad-size'],
  ['size past the end', [member(`${ROOT}z`, '', { size: 100_000 })], 'truncated'],
  ['pax size', [pax({ size: '0' }), member(`${ROOT}z`, padded(member('hidden', evil)))], 'refused:pax-override'],
  ['global pax size', [pax({ size: '0' }, 'g'), member(`${ROOT}z`, evil)], 'refused:pax-override'],
  ['global pax path', [pax({ path: 'x' }, 'g'), member(`${ROOT}z`, evil)], 'refused:pax-override'],
  ['pax of wrong length', [pax('99 path=x\n'), member(`${ROOT}z`, evil)], 'refused:bad-pax'],
  [
    'pax with a record in a record',
    [pax(paxRecord('comment', `x\n${paxRecord('path', 'evil')}`)), member(`${ROOT}z`, evil)],
    'refused:readers-disagree',
  ],
  ['pax over 64 KiB', [pax({ comment: 'x'.repeat(70_000) }), member(`${ROOT}z`, evil)], 'refused:meta-too-large'],
  ['long name over 64 KiB', [gnuLong('n'.repeat(70_000)), member('x', evil)], 'refused:meta-too-large'],
  ['link target on a file', [member(`${ROOT}z`, padded(member('hidden', evil)), { link: 'x' })], 'refused:bad-header'],
  ['link without a target', [member(`${ROOT}z`, '', { type: '2' })], 'refused:bad-header'],
  ['no name', [member('x', evil, { name: '' })], 'refused:bad-header'],
  ['folder with data', [member(`${ROOT}d/`, padded(member('hidden', evil)), { type: '5' })], 'refused:bad-header'],
  [
    'data in the fill bytes',
    [Buffer.concat([header({ name: `${ROOT}f`, size: 1 }), Buffer.alloc(512, 0x41)])],
    'padding-not-zero',
  ],
];

describe.each(['tar', 'gz'])('hostile members in a %s', (kind) => {
  it.each(cases)('%s', async (_, parts, expected) => {
    const bytes = kind === 'gz' ? bundleGz({ extra: parts }) : bundleTar({ extra: parts });
    const result = await readBundleBytes(bytes);
    const codes = codesOf(result);
    expect(codes.some((c) => expected.split('|').includes(c))).toBe(true);
    const problems = result.ok ? result.bundle.problems : [result.problem];
    for (const p of problems) {
      expect(p.message).toMatch(/[.;)]$/);
      expect(p.message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
    }
    if (!result.ok) return;
    for (const [path, m] of result.bundle.members) {
      expect(path).not.toMatch(/\.\.|^\/|^[A-Za-z]:|[\u0000-\u001f]/);
      if (Buffer.from(m.bytes).includes(evil)) expect(m.record?.status).toBe('unknown');
    }
  });
});

it('has at least 40 of them', () => expect(cases.length).toBeGreaterThanOrEqual(40));

describe('details', () => {
  it('tells a link target', async () => {
    const r = await readBundleBytes(
      bundleGz({ extra: [member('l', '', { type: '2', link: '/etc/shadow\u001b[2J' })] }),
    );
    expect(r.ok && r.bundle.problems[0]?.message).toContain('a symbolic link to "/etc/shadow\\u{1b}[2J"');
  });

  it('keeps the first of two and tells both hashes', async () => {
    const r = await readBundleBytes(bundleGz({ extra: [member(`${ROOT}host/ip/addr.txt`, evil)] }));
    if (!r.ok) throw new Error();
    const first = FILES['host/ip/addr.txt'] as string;
    expect(r.bundle.members.get('host/ip/addr.txt')?.sha256).toBe(sha(first));
    expect(r.bundle.problems.find((p) => p.code === 'duplicate-member')?.hashes).toEqual([sha(first), sha(evil)]);
  });

  it('takes names that differ only in Unicode form as the same', async () => {
    const files = { ...FILES, 'files/\u00e9.txt': 'one' };
    const r = await readBundleBytes(bundleGz({ files, extra: [member(`${ROOT}files/e\u0301.txt`, evil)] }));
    expect(codesOf(r)).toEqual(['duplicate-member']);
  });

  it('reads honest long names: pax, GNU and prefix', async () => {
    const long = `netns/${'n'.repeat(60)}/${'m'.repeat(90)}/addr.json`;
    for (const part of [
      [pax({ path: `${ROOT}${long}`, mtime: '1.5' }), member('x', 'long')],
      [gnuLong(`${ROOT}${long}`), member('x', 'long')],
      [member('m'.repeat(90), 'long', { prefix: `${ROOT}netns/${'n'.repeat(60)}` })],
      [pax({ comment: 'git' }, 'g'), member(`${ROOT}x`, 'long')],
    ]) {
      const r = await readBundleBytes(bundleGz({ extra: part }));
      expect(codesOf(r)).toEqual(['added-member']);
    }
  });

  it('accepts folders and old or contiguous files', async () => {
    const r = await readBundleBytes(
      bundleGz({
        first: [member(ROOT, '', { type: '5' })],
        extra: [
          member(`${ROOT}host/`, '', { type: '0' }),
          member(`${ROOT}a`, 'x', { type: '\0' }),
          member(`${ROOT}b`, 'x', { type: '7' }),
        ],
      }),
    );
    expect(codesOf(r)).toEqual(['added-member', 'added-member']);
  });

  it('bounds the list of problems', async () => {
    const many = Array.from({ length: 3000 }, (_, i) => member(`../${i}`));
    const r = await readBundleBytes(bundleGz({ extra: many }));
    expect(r.ok && r.bundle.problems.length).toBe(501);
    expect(codesOf(r).at(-1)).toBe('more-problems');
  });
});

describe('compression', () => {
  it('tells a second gzip member and trailing bytes', async () => {
    const honest = bundleGz();
    const twice = await readBundleBytes(Buffer.concat([honest, bundleGz()]));
    expect(codesOf(twice)).toEqual(['gzip-members', 'trailing-data']);
    expect(codesOf(await readBundleBytes(Buffer.concat([honest, gzipSync('')])))).toEqual(['gzip-members']);
    expect(codesOf(await readBundleBytes(Buffer.concat([honest, Buffer.from('tail')])))).toEqual(['gzip-trailing']);
    expect(codesOf(await readBundleBytes(Buffer.concat([honest, Buffer.alloc(64)])))).toEqual(['gzip-trailing']);
    expect(codesOf(await readBundleBytes(Buffer.concat([honest, Buffer.from([0x1f, 0x8b, 8, 0])])))).toContain(
      'truncated',
    );
  });

  it('reads a bundle split over several gzip members', async () => {
    const whole = bundleTar();
    const parts = [0, 700, 1500, whole.length]
      .slice(0, 3)
      .map((at, i, all) => gzipSync(whole.subarray(at, all[i + 1] ?? whole.length)));
    const r = await readBundleBytes(Buffer.concat(parts));
    expect(r.ok && r.bundle.complete).toBe(true);
    expect(codesOf(r)).toEqual(['gzip-members']);
  });

  it('tells a false CRC or length, and still uses what its hash proves', async () => {
    for (const at of [-8, -1]) {
      const gz = bundleGz();
      gz[gz.length + at] = (gz.at(at) as number) ^ 1;
      const r = await readBundleBytes(gz);
      expect(codesOf(r)).toEqual(['damaged']);
      expect(r.ok && [r.bundle.complete, r.bundle.evidence.map((e) => e.status)]).toEqual([false, ['ok', 'ok', 'ok']]);
    }
  });

  it('refuses very many gzip members', async () => {
    const r = await readBundleBytes(Buffer.concat(Array.from({ length: 10_050 }, () => gzipSync('\0'))));
    expect(codesOf(r)).toEqual(['refused:gzip-members']);
  }, 180_000);

  it('does not believe a small length trailer', async () => {
    const zeros = Buffer.alloc(64 * 1024 * 1024);
    const body = deflateRawSync(zeros);
    const gz = Buffer.concat([Buffer.from('1f8b0800000000000003', 'hex'), body, Buffer.alloc(8)]);
    expect(codesOf(await readBundleBytes(gz))).toEqual(['refused:bomb']);
  });
});

/** The least of three: a few milliseconds are easily doubled by what else the machine does. */
function apart(path: string): ReturnType<typeof once> {
  return [once(path), once(path), once(path)].reduce((a, b) => (b.ms < a.ms ? b : a));
}

/** Reads one file in a process of its own: its processor time (others may keep the machine busy) and peak memory. */
function once(path: string): { code: string; ms: number; rssMiB: number } {
  const script = `
    import { readFileSync } from 'node:fs';
    import { readInput } from '${join(process.cwd(), 'src/bundle/index.ts')}';
    // once before: compiling and the first collection of garbage are no cost of the file
    await readInput(process.argv[1]);
    const before = process.cpuUsage();
    const [r] = await readInput(process.argv[1]);
    // ru_maxrss would count the parent's memory before exec
    const peak = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
    const { user, system } = process.cpuUsage(before);
    const ms = (user + system) / 1000;
    console.log(JSON.stringify({ code: r.ok ? 'read' : r.problem.code, ms, rssMiB: peak / 1024 }));`;
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script, path], { encoding: 'utf8' }));
}

describe('cost', () => {
  it('refuses a bomb (1 MB to 1 GiB) as quickly as a quarter of it, and in bounded memory', () => {
    const zero = Buffer.alloc(64 * 1024 * 1024);
    const head = header({ name: 'x', size: 200 * 1024 * 1024 });
    const [quarter, whole] = [4, 16].map((parts) => {
      const path = join(dir, `bomb-${parts}.tgz`);
      writeFileSync(path, gzipSync(Buffer.concat([head, ...Array<Buffer>(parts).fill(zero)]), { level: 9 }));
      return apart(path);
    }) as [ReturnType<typeof apart>, ReturnType<typeof apart>];
    for (const { code, rssMiB } of [quarter, whole]) {
      expect(code).toBe('bomb');
      expect(rssMiB).toBeLessThan(256);
    }
    expect(whole.ms).toBeLessThan(2 * quarter.ms);
  }, 180_000);

  it('refuses a million tiny members, in no more than ten times the time of a tenth of them', () => {
    const block = Buffer.concat(Array.from({ length: 1000 }, (_, i) => header({ name: `${i}` })));
    const [few, many] = [100, 1000].map((blocks) => {
      const path = join(dir, `tiny-${blocks}.tgz`);
      writeFileSync(path, gzipSync(Buffer.concat(Array<Buffer>(blocks).fill(block)), { level: 6 }));
      return apart(path);
    }) as [ReturnType<typeof apart>, ReturnType<typeof apart>];
    for (const { code, rssMiB } of [few, many]) {
      expect(['too-many-members', 'bomb']).toContain(code);
      expect(rssMiB).toBeLessThan(256);
    }
    expect(many.ms).toBeLessThan(10 * few.ms);
    const plain = join(dir, 'tiny.tar');
    writeFileSync(plain, Buffer.concat(Array<Buffer>(100).fill(block)));
    expect(apart(plain).code).toBe('too-many-members');
  }, 180_000);

  it('refuses pipes and devices without waiting', async () => {
    const fifo = join(dir, 'pipe');
    expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
    for (const path of [fifo, '/dev/zero', '/dev/null', '/dev/random'])
      expect(await readBundle(path)).toMatchObject({ ok: false, problem: { code: 'not-a-file' } });
    expect((await readBundle('/proc/self/status')).ok).toBe(false);
  });
});

describe('random damage', () => {
  it('never throws and is never silent', async () => {
    const gz = bundleGz();
    const plain = bundleTar();
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 5 }),
        async (zip, flips) => {
          const bytes = Buffer.from(zip ? gz : plain);
          for (const [at, mask] of flips) bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ mask;
          const r = await readBundleBytes(bytes);
          if (!r.ok) return;
          for (const m of r.bundle.members.values())
            if (m.record?.status === 'ok') expect(sha(Buffer.from(m.bytes))).toBe(m.sha256);
          for (const e of r.bundle.evidence)
            if (e.status === 'ok' && r.bundle.complete && r.bundle.problems.length === 0)
              expect(sha(FILES[e.path] as string)).toBe(e.sha256);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('never throws on random members', async () => {
    const part = fc.record({
      name: fc.string({ unit: 'binary', maxLength: 90 }),
      data: fc.uint8Array({ maxLength: 600 }),
      type: fc.constantFrom(...'01234567xgLKNSVDAQ\0'),
      link: fc.string({ maxLength: 20 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
        const bytes = tar(
          ...parts.map((p) =>
            member('x', Buffer.from(p.data), { name: Buffer.from(p.name), type: p.type, link: p.link }),
          ),
        );
        const r = await readBundleBytes(bytes);
        expect(r.ok ? 'ok' : r.problem.code).not.toBe('reader-error');
      }),
      { numRuns: 400 },
    );
  });
});
