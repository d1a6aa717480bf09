import type { Database } from 'better-sqlite3';
import type { CaseEvent, Payload } from './event-types.ts';
import { statements } from './projection.ts';
import { NEWEST_FIRST } from './projection-bundles.ts';

/** One bundle of the case. */
export interface BundleRow {
  readonly sha256: string;
  readonly node: string;
  readonly hostname: string | null;
  readonly machineId: string | null;
  readonly bootId: string | null;
  readonly collectedAt: string | null;
  readonly recordedAt: string;
  readonly source: string;
  readonly format: string;
  readonly size: number;
  readonly complete: boolean;
  /** The newest snapshot of its node. */
  readonly current: boolean;
  /** Version of the collector. */
  readonly collector: string | null;
  readonly context: {
    readonly uid: number | null;
    readonly netns: string | null;
    readonly pid1netns: string | null;
    readonly mode: string | null;
  };
  readonly evidenceBlob: string;
}

const COLUMNS = `sha256, node, hostname, machine_id AS machineId, boot_id AS bootId, collected_at AS collectedAt,
  recorded_at AS recordedAt, source, format, size, complete, current, collector, context, evidence_blob AS evidenceBlob`;

/** Reads the projections for the uses. */
export class Rows {
  readonly #sql: ReturnType<typeof statements>;
  /** Asked for once a bundle while ingesting: kept, with the changes of a new bundle's node only. */
  #bundles: { rows: Map<string, BundleRow>; list: readonly BundleRow[] | null; dataVersion: number } | null = null;

  constructor(db: Database) {
    this.#sql = statements(db);
  }

  bundles(): readonly BundleRow[] {
    const dataVersion = this.#dataVersion();
    if (this.#bundles?.dataVersion !== dataVersion) {
      const all = this.#sql(`SELECT ${COLUMNS} FROM bundle ORDER BY seq`).all().map(bundleRow);
      this.#bundles = { rows: new Map(all.map((b) => [b.sha256, b])), list: all, dataVersion };
    }
    this.#bundles.list ??= [...this.#bundles.rows.values()];
    return this.#bundles.list;
  }

  /** The bundles of the first `position` events, but for those that were withdrawn since; `current` as it was then. */
  bundlesAt(position: number): readonly BundleRow[] {
    const newest = `seq = first_value(seq) OVER (PARTITION BY node ORDER BY ${NEWEST_FIRST})`;
    const columns = COLUMNS.replace('current,', `${newest} AS current,`);
    return this.#sql(`SELECT ${columns} FROM bundle WHERE seq <= ? ORDER BY seq`).all(position).map(bundleRow);
  }

  noteEvent(event: CaseEvent): void {
    if (event.type === 'bundle.withdrawn') this.forget();
    if (event.type !== 'bundle.ingested' || this.#bundles === null) return;
    const siblings = this.#sql(`SELECT ${COLUMNS} FROM bundle WHERE node = ? ORDER BY seq`).all(event.payload.node);
    for (const row of siblings.map(bundleRow)) this.#bundles.rows.set(row.sha256, row);
    this.#bundles.list = null;
  }

  forget(): void {
    this.#bundles = null;
  }

  rejected(): Payload<'bundle.rejected'>[] {
    return this.#sql(
      'SELECT source, sha256, code, message FROM rejected ORDER BY seq',
    ).all() as Payload<'bundle.rejected'>[];
  }

  isWithdrawn(bundle: string): boolean {
    return this.#sql('SELECT 1 FROM withdrawn WHERE bundle = ?').get(bundle) !== undefined;
  }

  accepted(now: string): Record<string, { because: string; until: string | null }> {
    const rows = this.#sql('SELECT finding, because, until FROM accepted ORDER BY finding').all();
    const open = (rows as { finding: string; because: string; until: string | null }[]).filter(
      // a bare date holds to its end
      ({ until }) => until === null || now.slice(0, until.length) <= until,
    );
    return Object.fromEntries(open.map(({ finding, because, until }) => [finding, { because, until }]));
  }

  latestAnalysis(): number | null {
    const seq = this.#sql(
      `SELECT a.seq FROM analysis a WHERE EXISTS (SELECT 1 FROM blob b WHERE b.sha256 = unhex(a.blob)) ORDER BY a.seq DESC LIMIT 1`,
    )
      .pluck()
      .get();
    return (seq as number | undefined) ?? null;
  }

  /** Changes when another connection has written. */
  #dataVersion(): number {
    return this.#sql('PRAGMA data_version').pluck().get() as number;
  }
}

function bundleRow(row: unknown): BundleRow {
  const r = row as Omit<BundleRow, 'complete' | 'current' | 'context'> & {
    complete: number;
    current: number;
    context: string;
  };
  return { ...r, complete: r.complete === 1, current: r.current === 1, context: JSON.parse(r.context) };
}
