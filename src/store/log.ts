import type { Database } from 'better-sqlite3';
import { canonicalJson } from './canonical.ts';
import { eventHash, GENESIS } from './chain.ts';
import { CaseError } from './error.ts';
import type { CaseEvent, NewEvent } from './event-types.ts';
import { checkPayload, currentVersion, EVENT_TYPES, liftPayload } from './event-types.ts';
import { statements } from './projection.ts';

/** An event as its row has it: what the hash is made of. */
export interface EventRow {
  readonly seq: number;
  readonly type: string;
  readonly version: number;
  readonly key: string;
  readonly recorded_at: string;
  readonly payload: string;
  readonly prev_hash: string;
  readonly hash: string;
}

export interface Head {
  /** Number of events. */
  readonly position: number;
  readonly hash: string;
}

/** The append-only table of events. */
export class Log {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: Database) {
    this.#sql = statements(db);
  }

  head(): Head {
    const row = this.#sql('SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1').get() as EventRow | undefined;
    return row === undefined ? { position: 0, hash: GENESIS } : { position: row.seq, hash: row.hash };
  }

  /** Adds at the end. The caller holds the write lock and has looked for the key. */
  add(event: NewEvent, recordedAt: string): CaseEvent {
    checkPayload(event.type, event.payload);
    const { position, hash: prev } = this.head();
    const fields = {
      seq: position + 1,
      type: event.type,
      version: currentVersion(event.type),
      key: event.key,
      recordedAt,
      payload: canonicalJson(event.payload),
    };
    const hash = eventHash(prev, fields);
    const { seq, type, version, key, payload } = fields;
    this.#sql('INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)').run(
      seq,
      type,
      version,
      key,
      recordedAt,
      payload,
      prev,
      hash,
    );
    return { seq, type, key, recordedAt, payload: JSON.parse(payload), hash } as CaseEvent;
  }

  byKey(key: string): CaseEvent | null {
    const row = this.#sql('SELECT * FROM event WHERE key = ?').get(key) as EventRow | undefined;
    return row === undefined ? null : lift(row);
  }

  at(seq: number): CaseEvent | null {
    const row = this.row(seq);
    return row === undefined ? null : lift(row);
  }

  row(seq: number): EventRow | undefined {
    return this.#sql('SELECT * FROM event WHERE seq = ?').get(seq) as EventRow | undefined;
  }

  /** Rows as stored from position `from` on, one in memory at a time; the log may be appended to meanwhile. */
  *rows(from = 1): Generator<EventRow> {
    const next = this.#sql('SELECT * FROM event WHERE seq >= ? ORDER BY seq LIMIT 1');
    let seq = from;
    for (;;) {
      const row = next.get(seq) as EventRow | undefined;
      if (row === undefined) return;
      yield row;
      seq = row.seq + 1;
    }
  }

  *events(from = 1): Generator<CaseEvent> {
    for (const row of this.rows(from)) yield lift(row);
  }

  /** The file may hold events of a later netcase; better to say so than to answer from a part of the log. */
  refuseNewer(): void {
    const kinds = this.#sql('SELECT min(seq) AS seq, type, max(version) AS version FROM event GROUP BY type').all();
    for (const k of kinds as { seq: number; type: string; version: number }[]) {
      const known = EVENT_TYPES.find((t) => t === k.type);
      if (known === undefined || k.version > currentVersion(known))
        throw new CaseError(
          'newer',
          `this case holds ${k.type} version ${k.version}, which this netcase does not know: upgrade netcase`,
        );
    }
  }
}

function lift(row: EventRow): CaseEvent {
  const { seq, type, key, recorded_at: recordedAt, hash } = row;
  return { seq, type, key, recordedAt, payload: liftPayload(seq, type, row.version, row.payload), hash } as CaseEvent;
}
