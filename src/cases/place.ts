import { createHash } from 'node:crypto';
import type { Analysis, Format, LogPlace } from '../report/index.ts';
import { render } from '../report/index.ts';
import type { CaseFile } from '../store/index.ts';
import { Failure } from './failure.ts';

/** The newest analysis of a case, with its place in the log. */
export function latestAnalysis(store: CaseFile): { analysis: Analysis; place: LogPlace } {
  const event = store.latestAnalysis();
  if (event === null)
    throw new Failure('usage', 'this case has not been analysed yet; run netcase analyze --case FILE');
  const blob = store.readBlob(event.payload.analysisBlob);
  if (blob === null)
    throw new Failure(
      'damaged',
      'the analysis is not in the case file; run netcase verify and then netcase analyze --case FILE',
    );
  return {
    analysis: JSON.parse(Buffer.from(blob).toString()) as Analysis,
    place: { position: event.seq, head: event.hash },
  };
}

/** Notes in the log that a report was made, so that `verify` can tell it from any other file. One event a format and text. */
export function recordReport(store: CaseFile, format: Format, text: string, position: number): void {
  const sha256 = createHash('sha256').update(text).digest('hex');
  store.append({
    type: 'report.rendered',
    key: `report ${position} ${format} ${sha256}`,
    payload: { format, sha256, position },
  });
}

/** Renders the newest analysis again: same case position, same bytes. */
export async function renderAgain(store: CaseFile, format: Format): Promise<string> {
  const { analysis, place } = latestAnalysis(store);
  const text = await render(format, analysis, place);
  recordReport(store, format, text, place.position);
  return text;
}
