import { createHash } from 'node:crypto';
import type { Database } from 'better-sqlite3';
import { statements } from './projection.ts';

/** What one parse of one evidence file is saved under. `ruleset` '' means: of no rule set. */
export interface FactKey {
  readonly bundle: string;
  readonly kind: string;
  readonly instance: string;
  readonly evidence: string;
  readonly parserVersion: string;
  readonly ruleset?: string;
}

/** Work saved beside the log; the engine decides what the bytes mean, and any of them may be gone. */
export class Caches {
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: Database) {
    this.#sql = statements(db);
  }

  putFact(key: FactKey, json: Uint8Array): void {
    this.#sql('INSERT OR REPLACE INTO fact_cache VALUES (?, ?, ?, ?, ?, ?, ?)').run(
      ...values(key),
      seal(values(key), json),
    );
  }

  getFact(key: FactKey): Uint8Array | null {
    const found = this.#sql(
      `SELECT json FROM fact_cache WHERE bundle = ? AND kind = ? AND instance = ? AND evidence = ? AND parser_version = ? AND ruleset = ?`,
    )
      .pluck()
      .get(...values(key));
    return unseal(values(key), found);
  }

  /** The saved facts of one kind, by bundle: one read for a whole fleet. */
  factsOf({ kind, instance, evidence, parserVersion, ruleset }: Omit<FactKey, 'bundle'>): Map<string, Uint8Array> {
    const rows = this.#sql(
      'SELECT bundle, json FROM fact_cache WHERE kind = ? AND instance = ? AND evidence = ? AND parser_version = ? AND ruleset = ?',
    ).all(kind, instance, evidence, parserVersion, ruleset ?? '') as { bundle: string; json: unknown }[];
    const found = new Map<string, Uint8Array>();
    for (const { bundle, json } of rows) {
      const key = { bundle, kind, instance, evidence, parserVersion, ...(ruleset === undefined ? {} : { ruleset }) };
      const whole = unseal(values(key), json);
      if (whole !== null) found.set(bundle, whole);
    }
    return found;
  }

  putNodeResult(bundle: string, ruleset: string, node: string, json: Uint8Array): void {
    this.#sql('INSERT OR REPLACE INTO node_result_cache VALUES (?, ?, ?, ?)').run(
      bundle,
      ruleset,
      node,
      seal([bundle, ruleset, node], json),
    );
  }

  getNodeResult(bundle: string, ruleset: string, node: string): Uint8Array | null {
    const found = this.#sql('SELECT json FROM node_result_cache WHERE bundle = ? AND ruleset = ? AND node = ?')
      .pluck()
      .get(bundle, ruleset, node);
    return unseal([bundle, ruleset, node], found);
  }

  /** Everything saved for a rule set, one row in memory at a time, in the order of bundle and node. */
  *nodeResults(
    ruleset: string,
  ): Generator<{ readonly bundle: string; readonly node: string; readonly json: Uint8Array }> {
    const rows = this.#sql('SELECT bundle, node FROM node_result_cache WHERE ruleset = ? ORDER BY bundle, node').all(
      ruleset,
    );
    for (const { bundle, node } of rows as { bundle: string; node: string }[]) {
      const json = this.getNodeResult(bundle, ruleset, node);
      if (json !== null) yield { bundle, node, json };
    }
  }

  /** Drops what another rule set left behind. */
  keepOnly(ruleset: string): void {
    this.#sql('DELETE FROM node_result_cache WHERE ruleset <> ?').run(ruleset);
    this.#sql("DELETE FROM fact_cache WHERE ruleset NOT IN ('', ?)").run(ruleset);
  }

  forget(bundle: string): void {
    for (const table of ['fact_cache', 'node_result_cache'])
      this.#sql(`DELETE FROM ${table} WHERE bundle = ?`).run(bundle);
  }
}

function values(k: FactKey): string[] {
  return [k.bundle, k.kind, k.instance, k.evidence, k.parserVersion, k.ruleset ?? ''];
}

const SEAL = 16;

/** A flipped bit in saved work must not become an answer: the bytes carry a sum over themselves and their key. */
function seal(key: readonly string[], json: Uint8Array): Uint8Array {
  return Buffer.concat([sum(key, json), json]);
}

function unseal(key: readonly string[], stored: unknown): Uint8Array | null {
  if (!(stored instanceof Uint8Array) || stored.length < SEAL) return null;
  const json = stored.subarray(SEAL);
  return sum(key, json).equals(stored.subarray(0, SEAL)) ? json : null;
}

function sum(key: readonly string[], json: Uint8Array): Buffer {
  return createHash('sha256').update(JSON.stringify(key)).update(json).digest().subarray(0, SEAL);
}
