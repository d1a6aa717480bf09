import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import type { Database } from 'better-sqlite3';

export type Row = Record<string, unknown>;

/** A query that was refused or gave no answer; the message says why. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

export interface QueryLimits {
  /** More rows than this are refused, never cut. */
  readonly rows?: number;
  readonly milliseconds?: number;
}

interface Answer {
  readonly rows?: Row[];
  readonly error?: string;
}

const ROWS = 100_000;
const MILLISECONDS = 30_000;
const LARGEST_ANSWER = 256 * 1024 * 1024;

/**
 * One SELECT over a case. SQLite cannot be interrupted from inside this build, so a case in a file is read by a child process that
 * can be killed.
 */
export function queryCase(target: string | Database, sql: string, limits: QueryLimits = {}): Row[] {
  const { rows = ROWS, milliseconds = MILLISECONDS } = limits;
  const start = sql.replace(/^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/, '');
  if (!/^(?:select|with|values)\b/i.test(start))
    throw new QueryError('only one SELECT, WITH or VALUES statement is run');
  // they tell about this machine, not about the case
  if (/\bpragma_\w/i.test(sql)) throw new QueryError('pragma functions are not run');
  const answer = typeof target === 'string' ? inChild(target, sql, rows, milliseconds) : select(target, sql, rows);
  if (answer.rows === undefined) throw new QueryError(answer.error ?? 'no answer');
  return answer.rows;
}

function inChild(path: string, sql: string, rows: number, milliseconds: number): Answer {
  const driver = createRequire(import.meta.url).resolve('better-sqlite3');
  const code = `${select}\n(${child})(select)`;
  const run = spawnSync(process.execPath, ['--max-old-space-size=1024', '-e', code], {
    input: JSON.stringify({ driver, path, sql, rows }),
    timeout: milliseconds,
    killSignal: 'SIGKILL',
    maxBuffer: LARGEST_ANSWER,
    stdio: ['pipe', 'pipe', 'ignore'],
    // nothing of the parent's Node flags or debugger
    env: {},
  });
  const failure = (run.error as NodeJS.ErrnoException | undefined)?.code;
  if (failure === 'ETIMEDOUT') return { error: `no answer within ${milliseconds / 1000} s` };
  if (failure === 'ENOBUFS') return { error: 'the answer is larger than 256 MiB; select less' };
  if (run.status !== 0) return { error: 'the query process ended without an answer' };
  return JSON.parse(run.stdout.toString()) as Answer;
}

/** Runs in the child from its own text: it may use nothing of this module. */
function child(run: typeof select): void {
  const { createRequire: from } = process.getBuiltinModule('node:module');
  const fs = process.getBuiltinModule('node:fs');
  const { driver, path, sql, rows } = JSON.parse(fs.readFileSync(0, 'utf8'));
  const Driver = from(driver)(driver);
  let answer: Answer;
  try {
    const db = new Driver(path, { readonly: true, fileMustExist: true, timeout: 5000 });
    for (const pragma of ['trusted_schema = OFF', 'cell_size_check = ON', 'mmap_size = 0', 'temp_store = MEMORY'])
      db.pragma(pragma);
    answer = run(db, sql, rows);
  } catch (error) {
    answer = { error: (error as Error).message };
  }
  process.stdout.write(JSON.stringify(answer));
}

/** Also runs in the child: it may use nothing of this module. Bytes come out as lower-case hex. */
function select(db: Database, sql: string, most: number): Answer {
  try {
    const statement = db.prepare(sql);
    if (!statement.readonly || !statement.reader) return { error: 'only one SELECT, WITH or VALUES statement is run' };
    const rows: Row[] = [];
    for (const row of statement.iterate() as IterableIterator<Row>) {
      if (rows.length === most) return { error: `more than ${most} rows; add a LIMIT or select less` };
      for (const key of Object.keys(row))
        if (row[key] instanceof Uint8Array) row[key] = (row[key] as Buffer).toString('hex');
      rows.push(row);
    }
    return { rows };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
