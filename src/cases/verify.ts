import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Failure } from './failure.ts';
import { openForReading } from './open.ts';

/** Checks a case and, for each report file, that its bytes are those that this log says were rendered. */
export function verifyCase(
  path: string,
  reports: readonly string[],
): { problems: readonly string[]; lines: readonly string[] } {
  const store = openForReading(path);
  try {
    const problems = [...store.verify()];
    const { position, hash } = store.head();
    const lines = problems.length > 0 ? [] : [`case is whole: ${position} events, head ${hash}`];
    const rendered = new Map<string, number>();
    for (const event of store.events())
      if (event.type === 'report.rendered') rendered.set(event.payload.sha256, event.payload.position);
    for (const report of reports) {
      const sha256 = createHash('sha256').update(read(report)).digest('hex');
      const at = rendered.get(sha256);
      if (at === undefined)
        problems.push(`${basename(report)} (sha256 ${sha256}) was not rendered from this case, or was changed since`);
      else lines.push(`${basename(report)} was rendered from this case at position ${at}`);
    }
    return { problems, lines };
  } finally {
    store.close();
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure('io', `the report ${path} could not be read (${code}); check the path and its permissions`);
  }
}
