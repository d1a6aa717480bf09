import { createHash } from 'node:crypto';
import type { Analysis, Format, LogPlace } from '../report/index.ts';
import { render } from '../report/index.ts';
import type { CaseFile } from '../store/index.ts';
import { Failure, isFailure } from './failure.ts';
import { openForReading, openForWriting } from './open.ts';

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
export function recordReport(store: CaseFile, format: string, text: string, position: number): void {
  const sha256 = createHash('sha256').update(text).digest('hex');
  store.append({
    type: 'report.rendered',
    key: `report ${position} ${format} ${sha256}`,
    payload: { format, sha256, position },
  });
}

/**
 * Renders the newest analysis again: same case position, same bytes. A case that may only be read (a colleague's share) is rendered all the
 * same, but its log cannot note it: `recorded` is false then.
 */
export async function renderAgain(
  path: string,
  format: Format,
): Promise<{ readonly text: string; readonly recorded: boolean }> {
  const { store, recorded } = openToRender(path);
  try {
    const { analysis, place } = latestAnalysis(store);
    const text = await render(format, analysis, place);
    if (recorded) recordReport(store, format, text, place.position);
    return { text, recorded };
  } finally {
    store.close();
  }
}

function openToRender(path: string): { store: CaseFile; recorded: boolean } {
  try {
    return { store: openForWriting(path, false), recorded: true };
  } catch (error) {
    if (!isFailure(error) || error.kind !== 'io') throw error;
    return { store: openForReading(path), recorded: false };
  }
}
