import type { Span } from '../core/span.ts';

/** A line longer than this is cited with a column: nobody reads 30 kB of one-line JSON. */
const LONG_LINE = 200;

/** Offsets of a text as lines and columns, both from 1. */
export class LineIndex {
  readonly #starts: number[] = [0];
  readonly #length: number;

  constructor(text: string) {
    this.#length = text.length;
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  /** Where a line starts; the end of the text for a line behind the last. */
  startOf(line: number): number {
    return this.#starts[line - 1] ?? this.#length;
  }

  /** The line that holds an offset; the end of a text that ends with a newline is a line of its own. */
  lineAt(offset: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  }

  /** The lines of `length` characters at `offset`; inside one long line also the columns. */
  span(offset: number, length: number): Span {
    const line = this.lineAt(offset);
    const endLine = this.lineAt(Math.max(offset, offset + length - 1));
    if (endLine !== line) return { line, endLine };
    const start = this.#starts[line - 1]!;
    const stop = this.#starts[line] ?? this.#length;
    return stop - start <= LONG_LINE ? { line, endLine } : { line, endLine, col: offset - start + 1, length };
  }
}

/** The lines of a text that are not blank, from 1, without their line ends and without a byte order mark. */
export function filledLines(text: string): { readonly line: number; readonly text: string }[] {
  const lines: { line: number; text: string }[] = [];
  let line = 0;
  for (const raw of text.split('\n')) {
    line += 1;
    const whole = line === 1 && raw.charCodeAt(0) === 0xfeff ? raw.slice(1) : raw;
    const clean = whole.endsWith('\r') ? whole.slice(0, -1) : whole;
    if (clean.charCodeAt(0) > 32 || /\S/.test(clean)) lines.push({ line, text: clean });
  }
  return lines;
}
