import type { Format } from '../report/index.ts';
import { render, SUFFIX } from '../report/index.ts';
import { decided } from '../report/verdict.ts';
import type { AnyRule, Severity } from '../rule/index.ts';
import { worst } from '../rule/index.ts';
import { type IngestRequest, ingestInto } from './ingest.ts';
import { judgeCase } from './judge.ts';
import { openForWriting } from './open.ts';
import type { Opened } from './prepare.ts';
import { checkOutput, type Wanted, type Written, writeReports } from './written.ts';

export interface AnalyzeRequest extends Wanted<Format> {
  readonly inputs: readonly string[];
  readonly caseFile: string;
  readonly rules: readonly AnyRule[];
  readonly jobs: number;
  readonly node?: string;
  readonly onStart: IngestRequest['onStart'];
  readonly onBundle: () => void;
}

export interface AnalyzeDone extends Written {
  readonly refused: readonly { readonly source: string; readonly sentence: string }[];
  /** Gravest finding that nobody accepted. */
  readonly worstOpen: Severity | 'none';
  readonly nodes: number;
  readonly decided: number;
  readonly undecided: number;
}

/** The main job: ingest what is new, judge the whole case, write the report. */
export async function analyze(request: AnalyzeRequest): Promise<AnalyzeDone> {
  checkOutput(request);
  const store = openForWriting(request.caseFile, request.inputs.length > 0);
  try {
    const opened: Opened = new Map();
    const { refused } = await ingestInto(store, request, true, opened);
    const { analysis, place } = await judgeCase(store, request.rules, opened);
    const output = await writeReports(store, request, SUFFIX, place.position, (format) =>
      render(format, analysis, place),
    );
    const open = analysis.findings.filter((f) => analysis.accepted[f.id] === undefined);
    const nodes = new Set(analysis.bundles.map((b) => b.node)).size;
    return { ...output, refused, worstOpen: worst(open), nodes, ...decided(analysis) };
  } finally {
    store.close();
  }
}
