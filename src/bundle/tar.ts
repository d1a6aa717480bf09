import { Parser } from 'tar/parse';
import type { Limits, Problems } from './model.ts';
import { Refusal } from './model.ts';
import { displayName } from './names.ts';
import { Referee } from './referee.ts';

/** A regular member whose name is safe, in archive order; names may still repeat. */
export interface RawMember {
  readonly path: string;
  readonly bytes: Buffer;
  /** The archive ends inside it. */
  readonly cut: boolean;
}

export interface TarContent {
  readonly members: readonly RawMember[];
  /** The end-of-archive marker is missing. */
  readonly cut: boolean;
}

const disagree = (what: string) =>
  new Refusal(
    'readers-disagree',
    `Two readers see different members in this archive (${what}); it is forged or badly damaged. Ask for the original file.`,
  );

/**
 * Reads a tar pushed in chunks of any size. The referee sees each chunk first (limits, silent drops); node-tar's
 * strict Parser has to report exactly the members that the referee saw, else the archive is refused. Throws Refusal.
 */
export class TarReader {
  readonly #referee: Referee;
  readonly #parser: Parser;
  readonly #parts: Buffer[][] = [];
  readonly #reported: { path: string; size: number }[] = [];
  #first = true;

  constructor(limits: Limits, problems: Problems) {
    this.#referee = new Referee(limits, problems);
    this.#parser = new Parser({
      gzip: false,
      brotli: false,
      zstd: false,
      maxMetaEntrySize: limits.meta,
      // every warning is either the referee's too (checksums, cuts) or shows as a member that it did not report
      onwarn: () => {},
      onReadEntry: (entry) => {
        const parts: Buffer[] = [];
        this.#reported.push({ path: entry.path, size: entry.size });
        this.#parts.push(parts);
        entry.on('data', (part: Buffer) => parts.push(part));
      },
    });
    this.#parser.on('error', (error: Error) => {
      throw disagree(displayName(error.message));
    });
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    const over = this.#referee.ended;
    this.#referee.push(chunk);
    if (over) return;
    if (this.#first && chunk[0] === 0x1f)
      throw new Refusal('nested-compression', 'The archive is compressed twice; unpack the outer layer first.');
    this.#first = false;
    this.#parser.write(chunk);
  }

  finish(): TarContent {
    const { cut, cutEntry } = this.#referee.finish();
    this.#parser.end();
    const seen = this.#referee.entries.filter((e) => e.reported);
    if (seen.length !== this.#reported.length) throw disagree(`${seen.length} against ${this.#reported.length}`);
    const members: RawMember[] = [];
    for (const [i, entry] of seen.entries()) {
      const other = this.#reported[i] as { path: string; size: number };
      if (other.path !== entry.rawName || other.size !== entry.size) throw disagree(`"${displayName(entry.rawName)}"`);
      if (entry.path === null) continue;
      const parts = this.#parts[i] as Buffer[];
      const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      const isCut = entry === cutEntry && bytes.length < entry.size;
      if (!isCut && bytes.length !== entry.size) throw disagree(`size of "${displayName(entry.rawName)}"`);
      members.push({ path: entry.path, bytes, cut: isCut });
    }
    return { members, cut };
  }
}
