// temporary
import { createHash } from 'node:crypto';
import Database from 'better-sqlite3';
import { decodeBlob, type EncodedBlob } from './blob.ts';
export class CaseError extends Error { code: string; constructor(code: string, m: string) { super(m); this.code = code; } }
export interface BundleRow { sha256: string; node: string; hostname: string|null; machineId: string|null; bootId: string|null; collectedAt: string|null; source: string; format: string; complete: boolean; current: boolean; collector: string|null; context: {uid:number|null;netns:string|null;pid1netns:string|null;mode:string|null}; evidenceBlob: string }
export type CaseEvent = any;
export class CaseFile {
  db: any; clock: () => string;
  constructor(path: string, clock: () => string) { this.db = new Database(path); this.clock = clock; this.db.pragma('journal_mode=WAL'); this.db.pragma('synchronous=FULL');
    this.db.exec('create table if not exists event(seq integer primary key, type text, key text unique, recorded_at text, payload text, hash text); create table if not exists blob(sha256 text primary key, codec text, size int, bytes blob); create table if not exists res(k text primary key, v blob)'); }
  transaction<T>(f: () => T): T { return this.db.transaction(f)(); }
  head() { const r = this.db.prepare('select seq, hash from event order by seq desc limit 1').get(); return { position: r?.seq ?? 0, hash: r?.hash ?? '0'.repeat(64) }; }
  append(e: { type: string; key: string; payload: any }): CaseEvent { const k = this.eventByKey(e.key); if (k) return k; const h = this.head(); const p = JSON.stringify(e.payload); const hash = createHash('sha256').update(h.hash + e.type + p).digest('hex'); this.db.prepare('insert into event values(?,?,?,?,?,?)').run(h.position + 1, e.type, e.key, this.clock(), p, hash); return this.eventByKey(e.key); }
  eventByKey(k: string): CaseEvent | null { const r = this.db.prepare('select * from event where key=?').get(k); return r ? { seq: r.seq, type: r.type, recordedAt: r.recorded_at, payload: JSON.parse(r.payload), hash: r.hash } : null; }
  *events(): Generator<CaseEvent> { for (const r of this.db.prepare('select * from event order by seq').all()) yield { seq: r.seq, type: r.type, recordedAt: r.recorded_at, payload: JSON.parse(r.payload), hash: r.hash }; }
  putBlobs(l: EncodedBlob[]) { const s = this.db.prepare('insert or ignore into blob values(?,?,?,?)'); for (const b of l) s.run(b.sha256, b.codec, b.size, b.bytes); }
  readBlob(sha: string): Uint8Array | null { const r = this.db.prepare('select * from blob where sha256=?').get(sha); return r ? decodeBlob(r) : null; }
  bundles(): BundleRow[] { const all = [...this.events()].filter((e) => e.type === 'bundle.ingested').map((e) => e.payload); return all.map((p) => ({ ...p, hostname: p.identity.hostname, machineId: p.identity.machineIdSha256, bootId: p.identity.bootId, collector: p.collector?.version ?? null, current: all.filter((q) => q.node === p.node).sort((a, b) => a.collectedAt < b.collectedAt ? 1 : -1)[0] === p })); }
  evidenceOf(sha: string): unknown { const b = this.bundles().find((x) => x.sha256 === sha)!; return JSON.parse(Buffer.from(this.readBlob(b.evidenceBlob)!).toString()); }
  rejected(): any[] { return [...this.events()].filter((e) => e.type === 'bundle.rejected').map((e) => e.payload); }
  accepted(): Record<string, any> { return {}; }
  latestAnalysis(): CaseEvent | null { return [...this.events()].filter((e) => e.type === 'analysis.completed').at(-1) ?? null; }
  putNodeResult(b: string, r: string, n: string, v: Uint8Array) { this.db.prepare('insert or replace into res values(?,?)').run(`${b} ${r} ${n}`, v); }
  getNodeResult(b: string, r: string, n: string): Uint8Array | null { return this.db.prepare('select v from res where k=?').get(`${b} ${r} ${n}`)?.v ?? null; }
  replay() {} verify(): string[] { return []; } query(sql: string): any[] { return this.db.prepare(sql).all(); } close() { this.db.close(); }
}
export function openCase(path: string, o: { mode: string; clock: () => string }): CaseFile { return new CaseFile(path, o.clock); }
