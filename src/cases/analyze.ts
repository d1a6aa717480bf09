import type { Format } from '../report/index.ts';
import { render, SUFFIX } from '../report/index.ts';
import { decided } from '../report/verdict.ts';
import type { AnyRule, Severity } from '../rule/index.ts';
import { worst } from '../rule/index.ts';
import { Failure } from './failure.ts';
import { type IngestRequest, ingestInto } from './ingest.ts';
import { judgeCase } from './judge.ts';
import { openForWriting } from './open.ts';
import { writeOutput } from './output.ts';
import { recordReport } from './place.ts';
import type { Opened } from './prepare.ts';

export interface AnalyzeRequest {
  readonly inputs: readonly string[];
  readonly caseFile: string;
  readonly rules: readonly AnyRule[];
  readonly jobs: number;
  readonly node?: string;
  readonly formats: readonly Format[];
  /** null: beside the case (html) or stdout (one other format). */
  readonly output: string | null;
  readonly htmlBeside: string;
  readonly onStart: IngestRequest['onStart'];
  readonly onBundle: () => void;
}

export interface AnalyzeDone {
  readonly stdout: string;
  readonly written: readonly string[];
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
    const written: string[] = [];
    let stdout = '';
    const formats: readonly Format[] = request.formats.length > 0 ? request.formats : ['html'];
    for (const format of formats) {
      const text = await render(format, analysis, place);
      const path = target(request, format, formats.length);
      if (path === '-') stdout += text;
      else {
        writeOutput(path, text);
        written.push(path);
      }
      recordReport(store, format, text, place.position);
    }
    if (request.formats.length === 0) stdout = await render('text', analysis, place);
    const open = analysis.findings.filter((f) => analysis.accepted[f.id] === undefined);
    const nodes = new Set(analysis.bundles.map((b) => b.node)).size;
    return { stdout, written, refused, worstOpen: worst(open), nodes, ...decided(analysis) };
  } finally {
    store.close();
  }
}

function checkOutput({ formats, output }: AnalyzeRequest): void {
  if (output === '-' && formats.length > 1)
    throw new Failure('usage', 'one format at a time goes to stdout; give -o FILE or a single --format');
}

/** `-o report.html` with several formats: report.html, report.md, report.json. */
function target(request: AnalyzeRequest, format: Format, count: number): string {
  if (request.output === null)
    return format === 'html' || count > 1 ? request.htmlBeside.replace(/html$/, SUFFIX[format]) : '-';
  if (request.output === '-' || count === 1) return request.output;
  return `${request.output.replace(/\.(html|md|json|sarif|junit\.xml|xml|txt)$/, '')}.${SUFFIX[format]}`;
}
