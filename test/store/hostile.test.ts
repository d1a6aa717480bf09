import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { openCase } from '../../src/store/index.ts';
import { EXPECTED_SCHEMA } from '../../src/store/schema.ts';
import { clock, create, fill, folder, sha } from './samples.ts';

const open = (path: string, mode: 'read' | 'write' | 'create' = 'read') => openCase(path, { mode, clock });
const refusal = (code: string) => expect.objectContaining({ name: 'CaseError', code });

/** A closed, filled case and a way to change it as another program could. */
function victim(): { path: string; change: (sql: string) => void } {
  const path = join(folder(), 'a.netcase');
  const store = create(path);
  fill(store);
  store.close();
  return {
    path,
    change(sql) {
      const db = new Database(path);
      db.unsafeMode();
      db.pragma('writable_schema = ON');
      db.exec(sql);
      db.close();
    },
  };
}

describe('a file that is no case', () => {
  it.each(['read', 'write', 'create'] as const)('is refused and left as it is (%s)', (mode) => {
    const dir = folder();
    const text = join(dir, 'text');
    writeFileSync(text, 'hello\n');
    const other = join(dir, 'other.db');
    const db = new Database(other);
    db.exec('CREATE TABLE t(x)');
    db.close();
    const bytes = readFileSync(other);
    mkdirSync(join(dir, 'folder'));
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    create(join(dir, 'real')).close();
    symlinkSync(join(dir, 'real'), join(dir, 'link'));
    for (const name of ['text', 'other.db', 'folder', 'fifo', 'link'])
      expect(() => open(join(dir, name), mode), name).toThrow(refusal('not-a-case'));
    for (const name of ['', ':memory:']) expect(() => open(name, mode)).toThrow(refusal('not-a-case'));
    expect(readFileSync(text, 'utf8')).toBe('hello\n');
    expect(readFileSync(other).equals(bytes)).toBe(true);
  });

  it('is not made by reading', () => {
    const path = join(folder(), 'none');
    expect(() => open(path)).toThrow(refusal('io'));
    expect(() => open(path, 'write')).toThrow(refusal('io'));
    expect(() => statSync(path)).toThrow();
    writeFileSync(path, '');
    expect(() => open(path)).toThrow(refusal('not-a-case'));
  });
});

describe('a case that another program changed', () => {
  it.each([
    ['another application', 'PRAGMA application_id = 7', 'not-a-case'],
    ['a later format', 'PRAGMA user_version = 99', 'newer'],
    ['a further table', 'CREATE TABLE more(x)', 'damaged'],
    [
      'a further view',
      'CREATE VIEW more AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r',
      'damaged',
    ],
    ['a view in the place of a table', 'DROP TABLE note; CREATE VIEW note AS SELECT 1 AS seq', 'damaged'],
    ['a further trigger', 'CREATE TRIGGER more AFTER INSERT ON note BEGIN DELETE FROM accepted; END', 'damaged'],
    ['a further index', 'CREATE INDEX more ON note(text)', 'damaged'],
    ['a missing trigger', 'DROP TRIGGER event_kept', 'damaged'],
    [
      'a weaker trigger',
      'DROP TRIGGER event_kept; CREATE TRIGGER event_kept BEFORE DELETE ON event BEGIN SELECT 1; END',
      'damaged',
    ],
    ['a generated column', 'ALTER TABLE note ADD COLUMN g TEXT GENERATED ALWAYS AS (text)', 'damaged'],
    [
      'an edited definition',
      "UPDATE sqlite_schema SET sql = replace(sql, 'note', 'note ') WHERE name = 'note'",
      'damaged',
    ],
  ])('%s is refused', (_, sql, code) => {
    const { path, change } = victim();
    change(sql);
    for (const mode of ['read', 'write', 'create'] as const) expect(() => open(path, mode)).toThrow(refusal(code));
  });

  it('has exactly the known schema when it is whole', () => {
    const { path } = victim();
    const db = new Database(path);
    const rows = db.prepare('SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL').all() as Record<
      string,
      string
    >[];
    db.close();
    expect(rows.map((r) => `${r['type']} ${r['name']} ${r['sql']}`).sort()).toEqual(EXPECTED_SCHEMA);
  });

  it('cannot change or delete an event, or leave a gap', () => {
    const { path } = victim();
    const db = new Database(path);
    for (const sql of [
      "UPDATE event SET payload = '{}' WHERE seq = 2",
      'DELETE FROM event WHERE seq = 2',
      "INSERT INTO event VALUES (99, 'note.added', 1, 'z', '', '{}', '', '')",
      "INSERT OR REPLACE INTO event VALUES (2, 'note.added', 1, 'z', '', '{}', '', '')",
      "INSERT OR REPLACE INTO event SELECT max(seq) + 1, type, version, 'case', '', '', '', '' FROM event",
    ])
      expect(() => db.exec(sql), sql).toThrow(/events are/);
    db.close();
  });

  /** Runs SQL with the guards of the log taken away and put back, as somebody with time would. */
  const forge = (change: (sql: string) => void, sql: string) => {
    const guards = EXPECTED_SCHEMA.filter((s) => s.startsWith('trigger ')).map((s) => s.replace(/^trigger \w+ /, ''));
    const names = guards.map((g) => /TRIGGER (\w+)/.exec(g)?.[1]);
    change(`${names.map((n) => `DROP TRIGGER ${n};`).join('')} ${sql}; ${guards.join(';')}`);
  };

  it.each([
    [
      'an edited event',
      "UPDATE event SET payload = replace(payload, 'node-1', 'node-9') WHERE seq = 2",
      /event 2 .* its hash differs/,
    ],
    ['an edited time', "UPDATE event SET recorded_at = '2020-01-01T00:00:00.000Z' WHERE seq = 3", /event 3/],
    ['a deleted event', 'DELETE FROM event WHERE seq = 4', /gap/],
    ['a cut log', 'DELETE FROM event WHERE seq = 10', /its end was cut off/],
    [
      'swapped events',
      'UPDATE event SET seq = -1 WHERE seq = 2; UPDATE event SET seq = 2 WHERE seq = 3; UPDATE event SET seq = 3 WHERE seq = -1',
      /event 2/,
    ],
    ['an odd payload', "UPDATE event SET payload = '[]' WHERE seq = 2", /event 2/],
    ['an edited blob', "UPDATE blob SET bytes = x'00' WHERE rowid = 1", /blob .* is damaged/],
    ['a deleted blob', 'DELETE FROM blob WHERE rowid = 1', /is gone/],
    ['an edited finding', "UPDATE finding SET severity = 'info'", /table finding/],
    ['an edited bundle', 'UPDATE bundle SET current = 1 - current', /table bundle/],
    ['an edited word', "UPDATE word SET text = 'denied' WHERE text = 'ok'", /table evidence/],
    ['a forged acceptance', `INSERT INTO accepted VALUES ('f', 'fine', NULL, '', 4)`, /table accepted/],
  ])('%s is found by verify', (_, sql, message) => {
    const { path, change } = victim();
    forge(change, sql);
    let problems: string[];
    try {
      const store = open(path);
      problems = store.verify();
      store.close();
    } catch (error) {
      problems = [(error as Error).message];
    }
    expect(problems.join('\n')).toMatch(message);
  });

  it('does not answer from a cache that was changed', () => {
    const { path, change } = victim();
    change(`UPDATE node_result_cache SET json = CAST(json || ' ' AS BLOB)`);
    const store = open(path);
    expect(store.getNodeResult(sha(1), 'r1', 'node-1')).toBe(null);
    store.close();
  });

  it('has its projections made again when another version made them, also when only read', () => {
    const { path, change } = victim();
    change("UPDATE projection SET version = 99; DELETE FROM bundle; UPDATE finding SET severity = 'info'");
    const reader = open(path);
    expect(reader.bundles()).toHaveLength(4);
    expect(reader.query('SELECT severity FROM finding')).toEqual([{ severity: 'high' }]);
    reader.close();
    const writer = open(path, 'write');
    expect(writer.bundles()).toHaveLength(4);
    expect(writer.verify()).toEqual([]);
    writer.close();
  });
});

describe('a damaged case', () => {
  it('that was cut is refused or found out', () => {
    const { path } = victim();
    const size = statSync(path).size;
    for (let at = 0; at < size; at += 4096 * 3 + 100) {
      const cut = `${path}.cut`;
      copyFileSync(path, cut);
      truncateSync(cut, at);
      expect(() => open(cut), `cut at ${at}`).toThrow(expect.objectContaining({ name: 'CaseError' }));
    }
  });

  it('with any flipped bit is refused, found out by verify, or unharmed', () => {
    const { path } = victim();
    const contents = (file: string) => {
      const store = open(file);
      try {
        return {
          problems: store.verify(),
          data: JSON.stringify([store.head(), [...store.events()], store.bundles(), store.accepted()]),
        };
      } finally {
        store.close();
      }
    };
    const whole = contents(path);
    expect(whole.problems).toEqual([]);
    const bytes = readFileSync(path);
    const flips = Number(process.env['NETCASE_FLIPS'] ?? 200);
    const outcome = { refused: 0, found: 0, unharmed: 0 };
    let random = 12345;
    for (let i = 0; i < flips; i += 1) {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      const bit = Math.floor((random / 2 ** 32) * bytes.length * 8);
      const copy = Buffer.from(bytes);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      const file = `${path}.flip`;
      writeFileSync(file, copy);
      try {
        const { problems, data } = contents(file);
        if (problems.length > 0) outcome.found += 1;
        else {
          expect(data, `bit ${bit}`).toBe(whole.data);
          outcome.unharmed += 1;
        }
      } catch (error) {
        expect(error, `bit ${bit}`).toMatchObject({ name: 'CaseError' });
        outcome.refused += 1;
      }
    }
    expect(outcome.found + outcome.refused).toBeGreaterThan(0);
    console.log(`${flips} flipped bits:`, outcome);
  });
});
