import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256Of } from '../../src/store/blob.ts';
import { applyDelta, Base, encodeDelta } from '../../src/store/delta.ts';
import { BlobEncoder, decodeBlob, type EncodedBlob, encodeBlob } from '../../src/store/index.ts';
import { bundle, create, ingest, sha } from './samples.ts';

/** Rules as two nodes of a cluster have them: some lines differ, all counters do. */
function rules(node: number, cluster = 'c', lines = 1200): Buffer {
  const out: string[] = [];
  for (let i = 0; i < lines; i += 1) {
    if ((i * 31 + node) % 97 === 0) out.push(`-A KUBE-SEP-${node}-${i} -s 10.0.${node}.${i % 250}/32 -j ACCEPT`);
    const [packets, bytes] = i % 3 === 0 ? [node * i, node * i * 60] : [0, 0];
    out.push(
      `[${packets}:${bytes}] -A KUBE-SVC-${cluster}${i} -m comment --comment "ns/service-${i}" -j KUBE-SEP-${cluster}${i * 7}`,
    );
  }
  return Buffer.from(`${out.join('\n')}\n`);
}

describe('a delta', () => {
  it('gives back any text of any base', () => {
    const piece = fc.constantFrom(
      '[1:2] ',
      '[33:44] ',
      '-A X -j Y\n',
      '-A KUBE-SVC-ABCDEFGH -j KUBE-SEP-ABCDEFGH\n',
      '\n',
      '[',
      '9',
      'é',
    );
    const text = fc.array(piece, { maxLength: 60 }).map((p) => Buffer.from(p.join('')));
    fc.assert(
      fc.property(text, text, text, text, (a, b, c, d) => {
        const base = new Base(Buffer.concat([a, b, c]));
        // long enough for the delta to be worth it
        const target = Buffer.concat([a, d, c, ...Array.from({ length: 8 }, () => base.bytes)]);
        const delta = encodeDelta(base, target);
        if (delta !== null) expect(applyDelta(base.bytes, delta, target.length).equals(target)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('is small where two texts are alike, and not made where they are not', () => {
    const base = new Base(rules(1));
    for (const node of [1, 2, 9]) {
      const delta = encodeDelta(base, rules(node)) as Uint8Array;
      expect(applyDelta(base.bytes, delta, rules(node).length).equals(rules(node))).toBe(true);
      expect(delta.length).toBeLessThan(rules(node).length / 8);
    }
    expect(encodeDelta(base, rules(1, 'other'))).toBe(null);
    expect(encodeDelta(base, Buffer.alloc(0))?.length).toBe(1);
    expect(encodeDelta(new Base(Buffer.alloc(0)), rules(1))).toBe(null);
  });

  it('that is broken or hostile throws, and takes no memory', () => {
    const base = new Base(rules(1));
    const delta = encodeDelta(base, rules(2)) as Uint8Array;
    fc.assert(
      fc.property(fc.nat(delta.length - 1), fc.nat(255), (at, value) => {
        const broken = Buffer.from(delta);
        broken[at] = value;
        try {
          expect(applyDelta(base.bytes, broken, rules(2).length)).toHaveLength(rules(2).length);
        } catch (error) {
          expect((error as Error).message).toMatch(/impossible/);
        }
      }),
    );
    expect(() => applyDelta(base.bytes, Buffer.alloc(40, 255), 10)).toThrow(/impossible/);
  });
});

describe('the encoder', () => {
  const encode = (e: BlobEncoder, node: number, cluster?: string) =>
    e.encode(rules(node, cluster), undefined, 'fw.iptables-save');

  it('tells nodes of one cluster by the first, and other clusters by their own', () => {
    const encoder = new BlobEncoder();
    const store = create();
    const blobs = [];
    for (const [node, cluster] of [
      [1, 'c'],
      [2, 'c'],
      [1, 'd'],
      [2, 'd'],
      [3, 'c'],
    ] as const) {
      blobs.push({ blob: encode(encoder, node, cluster), text: rules(node, cluster) });
      encoder.settle();
    }
    expect(blobs.map((b) => b.blob.codec)).toEqual(['zstd', 'delta', 'zstd', 'delta', 'delta']);
    expect(blobs[3]?.blob.base).toBe(blobs[2]?.blob.sha256);
    store.putBlobs(blobs.map((b) => b.blob));
    for (const { blob, text } of blobs)
      expect(Buffer.from(store.readBlob(blob.sha256) as Uint8Array).equals(text)).toBe(true);
    expect(store.verify()).toEqual([]);
  });

  it('takes nothing as a base that did not reach the case', () => {
    const encoder = new BlobEncoder();
    expect(encode(encoder, 1).codec).toBe('zstd');
    encoder.discard();
    expect(encode(encoder, 2).codec).toBe('zstd');
    encoder.settle();
    const delta = encode(encoder, 3);
    expect(delta.base).toBe(sha256Of(rules(2)));
    expect(() => create().putBlobs([delta])).toThrow(/base/);
    expect(() => decodeBlob(delta)).toThrow(/base/);
  });

  it('leaves small files and other kinds alone', () => {
    const encoder = new BlobEncoder();
    for (const node of [1, 2]) {
      expect(encoder.encode(rules(node), undefined, 'log.journal').codec).toBe('zstd');
      expect(encoder.encode(rules(node, 'c', 20), undefined, 'fw.iptables-save').codec).toBe('zstd');
      encoder.settle();
    }
  });
});

it('a base that is purged leaves its deltas whole', () => {
  const encoder = new BlobEncoder();
  const store = create();
  const texts = [rules(1), rules(2)];
  const blobs = texts.map((text) => {
    const blob = encoder.encode(text, undefined, 'fw.iptables-save');
    encoder.settle();
    return blob;
  });
  expect(blobs[1]?.codec).toBe('delta');
  for (const n of [0, 1]) {
    const sample = bundle(n + 1);
    const rulesBlob = blobs[n];
    if (rulesBlob === undefined) throw new Error();
    const list = encodeBlob(
      Buffer.from(
        JSON.stringify({
          records: [{ id: 'fw.iptables-save', path: 'x', status: 'ok', sha256: rulesBlob.sha256 }],
          problems: [],
        }),
      ),
    );
    const { event } = sample;
    ingest(store, {
      blobs: [rulesBlob, list],
      event: { ...event, payload: { ...event.payload, evidenceBlob: list.sha256 } },
    });
  }
  store.append({ type: 'bundle.withdrawn', key: 'w', payload: { sha256: sha(1), because: 'x' } });
  expect(store.readBlob(blobs[0]?.sha256 ?? '')).toBe(null);
  expect(Buffer.from(store.readBlob(blobs[1]?.sha256 ?? '') as Uint8Array).equals(texts[1] as Buffer)).toBe(true);
  expect(store.verify()).toEqual([]);
});

describe('packs of small files', () => {
  const text = (name: string, n = 30) => Buffer.from(`${name} of this node\n`.repeat(n));
  const files = (...names: string[]) =>
    names.map((n) => ({ bytes: text(n), sha256: sha256Of(text(n)), kind: 'sys.x' }));

  it('hold small files together, large ones stay apart, equal ones come once', () => {
    const store = create();
    const large = Buffer.from(Array.from({ length: 4000 }, (_, i) => `line ${i}\n`).join(''));
    const { blobs, packs } = new BlobEncoder().encodeAll([
      ...files('a', 'b', 'a'),
      { bytes: large, sha256: sha256Of(large), kind: 'log.journal' },
      { bytes: Buffer.alloc(0), sha256: sha256Of(Buffer.alloc(0)), kind: 'fw.x' },
    ]);
    expect(blobs.map((b) => b.codec).sort()).toEqual(['slice', 'slice', 'slice', 'zstd', 'zstd']);
    expect(packs).toHaveLength(1);
    store.putBlobs(blobs);
    for (const bytes of [text('a'), text('b'), large, Buffer.alloc(0)])
      expect(Buffer.from(store.readBlob(sha256Of(bytes)) as Uint8Array).equals(bytes)).toBe(true);
    expect(store.verify()).toEqual([]);
  });

  it('logs stay in the archive that they came in, unless they are too little of it', () => {
    const log = Buffer.from(Array.from({ length: 9000 }, (_, i) => `line ${i} of a journal\n`).join(''));
    const plain = Buffer.concat([Buffer.alloc(512), log, text('a'), text('b')]);
    const gz = gzipSync(plain);
    const part = (from: number, length: number, kind: string) => {
      const bytes = plain.subarray(from, from + length);
      return { bytes, sha256: sha256Of(bytes), kind };
    };
    const at = 512 + log.length;
    const all = [
      part(512, log.length, 'log.journal'),
      part(at, text('a').length, 'sys.a'),
      part(at + text('a').length, text('b').length, 'sys.b'),
    ];
    const archive = { sha256: sha256Of(gz), gz, plain };
    const { blobs, packs } = new BlobEncoder().encodeAll(all, archive);
    expect(blobs.map((b) => b.codec)).toEqual(['raw', 'member', 'zstd', 'slice', 'slice']);
    expect(packs).toEqual([archive.sha256, blobs[2]?.sha256]);
    const store = create();
    store.putBlobs(blobs);
    for (const f of all)
      expect(Buffer.from(store.readBlob(f.sha256) as Uint8Array).equals(Buffer.from(f.bytes))).toBe(true);
    expect(store.verify()).toEqual([]);
    expect(new BlobEncoder().encodeAll(all.slice(1), archive).blobs.map((b) => b.codec)).toEqual([
      'zstd',
      'slice',
      'slice',
    ]);
  });

  it('a single small file needs no pack, and a slice is refused without its pack', () => {
    expect(new BlobEncoder().encodeAll(files('a')).packs).toEqual([]);
    const { blobs } = new BlobEncoder().encodeAll(files('a', 'b'));
    expect(() => create().putBlobs(blobs.slice(1))).toThrow(/base/);
    const [pack, slice] = blobs as [EncodedBlob, EncodedBlob];
    const plain = decodeBlob(pack);
    expect(() => decodeBlob({ ...slice, bytes: new Uint8Array([255, 255, 255, 255]) }, () => plain)).toThrow(/place/);
    expect(() => decodeBlob({ ...slice, bytes: new Uint8Array(3) }, () => plain)).toThrow(/place/);
    expect(() => decodeBlob({ ...slice, bytes: new Uint8Array([1, 0, 0, 0]) }, () => plain)).toThrow(/not those/);
  });

  it('a withdrawn bundle goes out of the file, what others share with it stays', () => {
    const store = create();
    for (const [n, names] of [
      [1, ['shared', 'own of 1', 'more of 1']],
      [2, ['shared', 'own of 2', 'more of 2']],
    ] as const) {
      const { blobs, packs } = new BlobEncoder().encodeAll(files(...names));
      const records = names.map((name) => ({ id: 'sys.x', path: name, status: 'ok', sha256: sha256Of(text(name)) }));
      const list = encodeBlob(Buffer.from(JSON.stringify({ records, problems: [], packs })));
      const { event } = bundle(n);
      ingest(store, {
        blobs: [...blobs, list],
        event: { ...event, payload: { ...event.payload, evidenceBlob: list.sha256 } },
      });
    }
    const stored = () => store.query('SELECT codec, count(*) AS n FROM blob GROUP BY codec ORDER BY codec');
    expect(stored()).toEqual([
      { codec: 'slice', n: 5 },
      { codec: 'zstd', n: 4 },
    ]);
    store.append({ type: 'bundle.withdrawn', key: 'w', payload: { sha256: sha(1), because: 'x' } });
    expect(store.readBlob(sha256Of(text('own of 1')))).toBe(null);
    for (const name of ['shared', 'own of 2', 'more of 2'])
      expect(Buffer.from(store.readBlob(sha256Of(text(name))) as Uint8Array).equals(text(name))).toBe(true);
    // the pack of bundle 1 is gone, that of bundle 2 is as it was
    expect(stored()).toEqual([
      { codec: 'slice', n: 2 },
      { codec: 'zstd', n: 3 },
    ]);
    expect(store.verify()).toEqual([]);
  });
});
