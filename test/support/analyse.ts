import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');

export interface JsonCite {
  readonly node: string;
  readonly evidence: string;
  readonly path: string;
  readonly line?: number;
  readonly text?: string;
  readonly absent?: string;
}

/** The Analysis JSON (schema/analysis.v1.json), as far as tests read it. */
export interface AnalysisJson {
  readonly schemaVersion: 1;
  readonly case: { readonly position: number; readonly head: string };
  readonly verdict: { readonly severity: string; readonly sentence: string };
  readonly nodes: readonly { readonly id: string; readonly bundles: readonly { readonly sha256: string }[] }[];
  readonly findings: readonly {
    readonly id: string;
    readonly rule: string;
    readonly severity: string;
    readonly confidence: string;
    readonly nodes: readonly string[];
    readonly message: string;
    readonly cites: readonly JsonCite[];
    readonly remediation: readonly { readonly run?: string }[];
  }[];
  readonly causes: readonly { readonly finding: string; readonly rank: number; readonly explains: readonly string[] }[];
  readonly unknown: readonly {
    readonly rule: string;
    readonly nodes: readonly string[];
    readonly because: string;
    readonly kind: string;
  }[];
  readonly missingNodes: readonly { readonly node: string }[];
  readonly verdicts: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly problems: readonly { readonly code: string; readonly message: string }[];
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command that users run, on Node 24, in a folder of the caller's. */
export function netcase(
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: Buffer } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(root, 'bin/netcase.cjs'), ...args],
      {
        cwd: options.cwd ?? root,
        env: { ...process.env, NODE_ENV: '', ...options.env },
        maxBuffer: 256 * 1024 * 1024,
        encoding: 'utf8',
      },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr }),
    );
    child.stdin?.end(options.input);
  });
}

/** Analyses bundles with the real command into a fresh case; the JSON and the exit code. */
export async function analyse(
  inputs: readonly string[],
  flags: readonly string[] = [],
): Promise<{ code: number; json: AnalysisJson; stderr: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'nc-analyse-'));
  try {
    const ran = await netcase([
      'analyze',
      ...inputs,
      '--case',
      join(dir, 'c.netcase'),
      '--format',
      'json',
      '-o',
      '-',
      '--quiet',
      ...flags,
    ]);
    if (ran.stdout === '') throw new Error(`no output (exit ${ran.code}): ${ran.stderr}`);
    return { code: ran.code, json: JSON.parse(ran.stdout) as AnalysisJson, stderr: ran.stderr };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export function serious(json: AnalysisJson): string[] {
  return json.findings
    .filter((f) => !['low', 'info'].includes(f.severity))
    .map((f) => `${f.severity} ${f.id}: ${f.message}`);
}
