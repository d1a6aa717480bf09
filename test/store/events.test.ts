import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/store/canonical.ts';
import { eventHash, GENESIS } from '../../src/store/chain.ts';
import { checkPayload, currentVersion, EVENT_TYPES, liftPayload } from '../../src/store/event-types.ts';
import { openCase } from '../../src/store/index.ts';
import { clock, create, folder } from './samples.ts';

const samples = join(import.meta.dirname, '../../fixtures/events');
const files = readdirSync(samples).sort();
const read = (file: string) =>
  JSON.parse(readFileSync(join(samples, file), 'utf8')) as { type: string; version: number; payload: unknown };

describe('every event version ever written', () => {
  it('has a sample', () => {
    const expected = EVENT_TYPES.flatMap((type) =>
      Array.from({ length: currentVersion(type) }, (_, i) => `${type}.v${i + 1}.json`),
    );
    expect(files).toEqual(expected.sort());
  });

  it.each(files)('%s is lifted and projected', (file) => {
    const { type, version, payload } = read(file);
    expect(file).toBe(`${type}.v${version}.json`);
    expect(() => liftPayload(1, type, version, canonicalJson(payload))).not.toThrow();
    const path = join(folder(), 'a.netcase');
    create(path).close();
    if (type !== 'case.opened') addRow(path, type, version, canonicalJson(payload));
    const store = openCase(path, { mode: 'write', clock });
    const last = [...store.events()].at(-1);
    expect(last?.type).toBe(type);
    store.replay();
    // a sample refers to blobs that are not here
    expect(store.verify().filter((p) => !p.endsWith('is gone'))).toEqual([]);
    store.close();
  });

  it('is lifted one step a version', () => {
    const upcasts = {
      'note.added': [
        (p: unknown) => ({ words: (p as { body: string }).body }),
        (p: unknown) => ({ text: (p as { words: string }).words }),
      ],
    };
    expect(currentVersion('note.added', upcasts)).toBe(3);
    for (const [version, payload] of [
      [1, { body: 'x' }],
      [2, { words: 'x' }],
      [3, { text: 'x' }],
    ] as const)
      expect(liftPayload(1, 'note.added', version, canonicalJson(payload), upcasts)).toEqual({ text: 'x' });
    expect(() => liftPayload(1, 'note.added', 4, '{}', upcasts)).toThrow(/upgrade netcase/);
    expect(() => liftPayload(1, 'note.added', 1, '{"text":7}')).toThrow(/damaged/);
    expect(() => checkPayload('note.added', { text: '', more: 1 })).toThrow();
  });
});

describe('an event of a newer netcase', () => {
  it.each([
    ['note.added', 2],
    ['node.renamed', 1],
  ])('%s version %d is refused with advice', (type, version) => {
    const path = join(folder(), 'a.netcase');
    create(path).close();
    addRow(path, type, version, '{}');
    for (const mode of ['read', 'write', 'create'] as const)
      expect(() => openCase(path, { mode, clock })).toThrow(
        expect.objectContaining({ code: 'newer', message: expect.stringMatching(/upgrade netcase/) }),
      );
  });
});

/** A row that another version of netcase would have written. */
function addRow(path: string, type: string, version: number, payload: string): void {
  const db = new Database(path);
  const prev = db.prepare('SELECT hash FROM event ORDER BY seq DESC').pluck().get() as string | undefined;
  const row = { seq: 2, type, version, key: 'k', recordedAt: clock(), payload };
  const hash = eventHash(prev ?? GENESIS, row);
  db.prepare('INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)').run(
    2,
    type,
    version,
    'k',
    clock(),
    payload,
    prev,
    hash,
  );
  db.close();
}
