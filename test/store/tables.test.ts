import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { openCase } from '../../src/store/index.ts';
import { openListings } from '../../src/store/listings.ts';
import { DDL, TABLES } from '../../src/store/schema.ts';
import { clock, create, fill, folder } from './samples.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/tables.md'), 'utf8');

describe('docs/tables.md', () => {
  const db = new Database(':memory:');
  for (const sql of DDL) db.exec(sql);
  /** The text under the heading that names a table, or the rows of the caches' table. */
  const section = (table: string) =>
    page.split(/^#{2,3} /m).find((part) => new RegExp(`^[^\\n]*\\b${table}\\b`).test(part)) ??
    page.split('\n').find((line) => line.startsWith(`| \`${table}\``)) ??
    '';

  it.each(TABLES)('names every column of %s', (table) => {
    const columns = (db.pragma(`table_info(${table})`) as { name: string }[]).map((c) => c.name);
    expect(columns.length).toBeGreaterThan(1);
    const text = section(table);
    expect(columns.filter((c) => !text.includes(`\`${c}\``))).toEqual([]);
  });

  it('names no table that is not there', () => {
    const headings = [...page.matchAll(/^### (.+)$/gm)].flatMap((m) => (m[1] as string).split(', '));
    expect(headings.filter((h) => !TABLES.includes(h))).toEqual([]);
  });

  it('has examples that run', () => {
    const store = create(join(folder(), 'a.netcase'));
    fill(store);
    const examples = [...page.matchAll(/^ {4}netcase query "(.+)"$/gm)].map((m) => m[1] as string);
    expect(examples.length).toBeGreaterThan(3);
    for (const sql of examples) expect(store.query(sql).length, sql).toBeGreaterThan(0);
  });
});

describe('listings', () => {
  it('filter by parameters, never by text', async () => {
    const path = join(folder(), 'a.netcase');
    fill(create(path));
    const store = openCase(path, { mode: 'read', clock });
    const listings = await openListings(store);
    expect(listings.findings()).toHaveLength(1);
    expect(listings.findings({ severity: 'high', node: 'node-2' })).toMatchObject([{ nodes: 'node-1 node-2' }]);
    for (const odd of ["' OR 1=1 --", '%', 'node', '"', "node-1' UNION SELECT", '\u0000']) {
      expect(listings.findings({ node: odd }), odd).toEqual([]);
      expect(listings.findings({ rule: odd })).toEqual([]);
      expect(listings.evidence({ status: odd })).toEqual([]);
    }
    expect(listings.evidence({ node: 'node-2', status: 'absent' })).toMatchObject([
      { id: 'netns.ss-listen', instance: '7' },
    ]);
    expect(listings.nodes().map((n) => [n.id, n.bundles, n.source])).toEqual([
      ['node-1', 2, 'netcase_node-1.tar.gz'],
      ['node-2', 1, 'netcase_node-2.tar.gz'],
      ['node-4', 1, 'netcase_node-4.tar.gz'],
    ]);
    expect(listings.coverage()).toEqual([{ rule: 'ip-forward-disabled', kind: 'findings', nodes: 2 }]);
    expect(listings.history().map((e) => e.seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(listings.history({ type: 'note.added' })).toHaveLength(1);
    store.close();
  });
});
