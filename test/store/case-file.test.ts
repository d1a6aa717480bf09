import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/store/canonical.ts';
import { CaseError, decodeBlob, encodeBlob, openCase, QueryError } from '../../src/store/index.ts';
import { analyse, bundle, clock, create, fill, folder, ingest, sha } from './samples.ts';

describe('the log', () => {
  it('starts with case.opened and gives the same head for the same events and clock', () => {
    const [a, b] = [create(), create()];
    fill(a);
    fill(b);
    expect(a.head()).toEqual(b.head());
    expect(a.head().position).toBe([...a.events()].length);
    expect([...a.events()].map((e) => e.seq)).toEqual([...a.events()].map((_, i) => i + 1));
    expect([...a.events()][0]?.type).toBe('case.opened');
    expect([...a.events(9)].map((e) => e.seq)).toEqual([9, 10]);
    expect(a.verify()).toEqual([]);
    const other = create(undefined, () => '2026-05-04T03:02:02.000Z');
    fill(other);
    expect(other.head().hash).not.toBe(a.head().hash);
  });

  it('makes one event of one key', () => {
    const store = create();
    ingest(store, bundle(1));
    const head = store.head();
    ingest(store, bundle(1));
    expect(store.head()).toEqual(head);
    const again = store.append({ type: 'note.added', key: bundle(1).event.key, payload: { text: 'other' } });
    expect(again.type).toBe('bundle.ingested');
    expect(store.eventByKey(bundle(1).event.key)?.seq).toBe(2);
    expect(store.eventByKey('none')).toBe(null);
  });

  it('rolls back all of a failed transaction, also what it remembered of bundles', () => {
    const store = create();
    ingest(store, bundle(1));
    expect(store.bundles()).toHaveLength(1);
    const head = store.head();
    expect(() =>
      store.transaction(() => {
        ingest(store, bundle(2));
        expect(store.bundles()).toHaveLength(2);
        throw new Error('stop');
      }),
    ).toThrow('stop');
    expect(store.bundles()).toHaveLength(1);
    expect(store.head()).toEqual(head);
    expect(store.verify()).toEqual([]);
  });

  it('takes no payload that is not of its type', () => {
    const store = create();
    expect(() => store.append({ type: 'note.added', key: 'k', payload: { text: 7 } as never })).toThrow(
      /note.added: text/,
    );
    expect(() => store.append({ type: 'bundle.withdrawn', key: 'k', payload: { sha256: 'x', because: '' } })).toThrow(
      /bundle.withdrawn: sha256/,
    );
    expect(store.head().position).toBe(1);
  });

  it('reads back every text, surrogates and NUL included', () => {
    const store = create();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (key, text) => {
        const { seq } = store.append({ type: 'note.added', key: `n ${key}`, payload: { text } });
        expect(store.eventByKey(`n ${key}`)?.seq).toBe(seq);
      }),
    );
    store.append({ type: 'note.added', key: 'lone \ud800', payload: { text: 'lone \udfff' } });
    expect(store.eventByKey('lone \ud800')?.payload).toEqual({ text: 'lone \ufffd' });
    expect(store.verify()).toEqual([]);
  });

  it('writes canonical JSON', () => {
    expect(canonicalJson({ b: 1, a: [1e21, -0, 'é\u2028"', undefined], '\u20ac': true, c: undefined, 1: null })).toBe(
      '{"1":null,"a":[1e+21,0,"é\u2028\\"",null],"b":1,"\u20ac":true}',
    );
    expect(() => canonicalJson(Number.NaN)).toThrow();
  });
});

describe('bundles', () => {
  it('calls the newest snapshot of a node by its own clock the current one, in any order of arrival', () => {
    const samples = [
      bundle(1, 'n', '2026-05-02T00:00:00.000Z'),
      bundle(2, 'n', '2026-05-03T00:00:00.000Z'),
      bundle(3, 'n', null),
      bundle(4, 'm', null),
      bundle(5, 'n', '2026-05-03T00:00:00.000Z'),
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(samples, { minLength: 5 }), (order) => {
        const store = openCase(join(folder(), 'a'), { mode: 'create', clock });
        for (const s of order) {
          ingest(store, s);
          store.bundles();
        }
        const current = store.bundles().filter((b) => b.current);
        expect(current.map((b) => b.sha256).sort()).toEqual([sha(4), sha(5)]);
        expect(store.query('SELECT * FROM node ORDER BY id')).toEqual([
          { id: 'm', bundles: 1, collected_at: null },
          { id: 'n', bundles: 4, collected_at: '2026-05-03T00:00:00.000Z' },
        ]);
        store.close();
      }),
      { numRuns: 8 },
    );
  });

  it('gives the evidence as it was recorded', () => {
    const store = create();
    ingest(store, bundle(1));
    expect(store.evidenceOf(sha(1))).toMatchObject({ records: [{ id: 'sys.uname' }, {}, { status: 'absent' }] });
    expect(store.evidenceOf(sha(2))).toBe(null);
    expect(store.bundles()[0]).toMatchObject({ complete: true, collector: '1', context: { uid: 0 }, size: 1001 });
    expect(store.query('SELECT id, instance, status, reason, blob FROM evidence')[2]).toEqual({
      id: 'netns.ss-listen',
      instance: '7',
      status: 'absent',
      reason: 'no ss',
      blob: '',
    });
  });

  it('purges a withdrawn bundle, keeps what others share, and stays whole', () => {
    const path = join(folder(), 'a.netcase');
    const store = create(path);
    fill(store);
    analyse(store, 'analysis 2', [2]);
    const own = encodeBlob(Buffer.from('own text of bundle 1\n'.repeat(40)));
    const shared = encodeBlob(Buffer.from('net.ipv4.ip_forward = 1\n'.repeat(60)));
    expect(store.hasBlob(own.sha256)).toBe(true);
    store.append({ type: 'bundle.withdrawn', key: 'w', payload: { sha256: sha(1), because: 'wrong customer' } });
    expect(store.hasBlob(own.sha256)).toBe(false);
    expect(store.hasBlob(shared.sha256)).toBe(true);
    expect(store.isWithdrawn(sha(1))).toBe(true);
    expect(store.bundles().map((b) => b.sha256)).toEqual([sha(2), sha(3), sha(4)]);
    expect(store.getNodeResult(sha(1), 'r1', 'node-1')).toBe(null);
    // the first analysis quoted it
    expect(store.query('SELECT DISTINCT analysis_seq FROM cite')).toHaveLength(1);
    expect(store.latestAnalysis()?.key).toBe('analysis 2');
    expect(store.verify()).toEqual([]);
    const before = store.query('SELECT * FROM evidence');
    store.replay();
    expect(store.query('SELECT * FROM evidence')).toEqual(before);
    expect(store.verify()).toEqual([]);
    store.close();
  });
});

describe('blobs', () => {
  it('come back as they went in', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (bytes) => {
        const encoded = encodeBlob(bytes);
        expect(Buffer.from(decodeBlob(encoded)).equals(Buffer.from(bytes))).toBe(true);
      }),
    );
    const text = encodeBlob(Buffer.from('abc\n'.repeat(5000)));
    expect(text.codec).toBe('zstd');
    expect(() => decodeBlob({ ...text, size: 10 })).toThrow();
    expect(() => decodeBlob({ ...text, sha256: sha(1) })).toThrow(/not those/);
  });
});

describe('acceptances', () => {
  it('expire by the clock at the end of their day', () => {
    const path = join(folder(), 'a.netcase');
    fill(create(path));
    const at = (now: string) => {
      const store = openCase(path, { mode: 'read', clock: () => now });
      try {
        return store.accepted();
      } finally {
        store.close();
      }
    };
    expect(at('2026-05-04T23:59:59.000Z')).toEqual({
      'ip-forward-disabled/node-1:all': { because: 'lab', until: '2026-05-04' },
    });
    expect(at('2026-05-05T00:00:00.000Z')).toEqual({});
  });
});

describe('caches', () => {
  it('give back what was put, and nothing that was changed since', () => {
    const store = create();
    const key = { bundle: sha(1), kind: 'k', instance: '', evidence: 'e', parserVersion: '1' };
    store.caches.putFact(key, Buffer.from('fact'));
    store.putNodeResult('b', 'r', 'n', Buffer.from('result'));
    expect(String(store.caches.getFact(key))).toBe('fact');
    expect(store.caches.getFact({ ...key, parserVersion: '2' })).toBe(null);
    expect([...store.caches.nodeResults('r')].map((r) => String(r.json))).toEqual(['result']);
    store.caches.keepOnly('s');
    expect(store.getNodeResult('b', 'r', 'n')).toBe(null);
    expect(String(store.caches.getFact(key))).toBe('fact');
  });
});

describe('query', () => {
  it('answers a SELECT and refuses the rest', () => {
    const path = join(folder(), 'a.netcase');
    const store = create(path);
    fill(store);
    expect(store.query('-- note\n/* x */ select count(*) as n from bundle')).toEqual([{ n: 4 }]);
    expect(store.query('with a(x) as (values (1)) select x from a')).toEqual([{ x: 1 }]);
    for (const sql of [
      'delete from bundle',
      'pragma table_info(event)',
      "attach '/tmp/x' as y",
      'select 1; select 2',
      'select * from pragma_database_list',
      'with a as (select 1) delete from bundle',
      'select nothing from nowhere',
      'explain select 1',
      '',
    ])
      expect(() => store.query(sql), sql).toThrow(QueryError);
    expect(() => store.query('select * from event', { rows: 2 })).toThrow(/more than 2 rows/);
    const forever = 'with recursive r(n) as (select 1 union all select n + 1 from r) select max(n) from r';
    expect(() => store.query(forever, { milliseconds: 700 })).toThrow(/no answer within 0.7 s/);
    expect(store.verify()).toEqual([]);
  });
});

describe('the file', () => {
  it('is one file of mode 0600 after closing, and readable in a folder that is not writable', () => {
    const path = join(folder(), 'a.netcase');
    const store = create(path);
    fill(store);
    expect(existsSync(`${path}-wal`)).toBe(true);
    store.close();
    store.close();
    expect(readdirSync(dirname(path))).toEqual(['a.netcase']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const reader = openCase(path, { mode: 'read', clock });
    expect(reader.bundles()).toHaveLength(4);
    expect(() => reader.append({ type: 'note.added', key: 'z', payload: { text: '' } })).toThrow(CaseError);
    reader.close();
    expect(readdirSync(dirname(path))).toEqual(['a.netcase']);
  });

  it('tells a second connection of new bundles', () => {
    const path = join(folder(), 'a.netcase');
    const [a, b] = [create(path), create(path)];
    ingest(a, bundle(1));
    expect(b.bundles()).toHaveLength(1);
    ingest(b, bundle(2));
    expect(a.bundles()).toHaveLength(2);
  });
});
