import type { CaseFile } from '../store/index.ts';
import { Failure } from './failure.ts';
import { writeOutput } from './output.ts';
import { recordReport } from './place.ts';

/** What is to be written where. */
export interface Wanted<F extends string> {
  /** None: html beside the case, and the text on stdout. */
  readonly formats: readonly F[];
  /** null: beside the case (html) or stdout (one other format). */
  readonly output: string | null;
  readonly htmlBeside: string;
}

export interface Written {
  readonly stdout: string;
  /** Paths. */
  readonly written: readonly string[];
}

/** Before anything is read. */
export function checkOutput({ formats, output }: Wanted<string>): void {
  if (output === '-' && formats.length > 1)
    throw new Failure('usage', 'one format at a time goes to stdout; give -o FILE or a single --format');
}

/** Renders each format to its place, and notes it in the log (`name` is the format's there). */
export async function writeReports<F extends string>(
  store: CaseFile,
  wanted: Wanted<F>,
  suffix: Readonly<Record<F, string>>,
  position: number,
  render: (format: F) => Promise<string>,
  name: (format: F) => string = (format) => format,
): Promise<Written> {
  const written: string[] = [];
  let stdout = '';
  const formats = wanted.formats.length > 0 ? wanted.formats : ['html' as F];
  for (const format of formats) {
    const text = await render(format);
    const path = target(wanted, format, suffix, formats.length);
    if (path === '-') stdout += text;
    else {
      writeOutput(path, text);
      written.push(path);
    }
    recordReport(store, name(format), text, position);
  }
  if (wanted.formats.length === 0) stdout = await render('text' as F);
  return { stdout, written };
}

/** `-o report.html` with several formats: report.html, report.md, report.json. */
function target<F extends string>(
  { output, htmlBeside }: Wanted<F>,
  format: F,
  suffix: Readonly<Record<F, string>>,
  count: number,
): string {
  if (output === null) return format === 'html' || count > 1 ? htmlBeside.replace(/html$/, suffix[format]) : '-';
  if (output === '-' || count === 1) return output;
  const own =
    Object.values<string>(suffix).find((s) => output.endsWith(`.${s}`)) ?? /\.xml$/.exec(output)?.[0].slice(1);
  return `${own === undefined ? output : output.slice(0, -own.length - 1)}.${suffix[format]}`;
}
