import { Failure } from './failure.ts';

/** One simple command of a line, as a shell reads it, without redirections, substitutions or variables. */
export interface Words {
  readonly words: readonly string[];
  /** The command as it was written. */
  readonly text: string;
  /** `&&`, `;` behind it. */
  readonly next: string;
}

export function refuse(command: string, because: string): never {
  throw new Failure('usage', `--if "${command}" is not understood: ${because}`);
}

/** Splits a command line at `;` and `&&`, words by quotes as a shell does; `# ...` is a comment. */
export function shellWords(line: string): readonly Words[] {
  const done: Words[] = [];
  let words: string[] = [];
  let word: string | null = null;
  let from = 0;
  const endWord = () => {
    if (word !== null) words.push(word);
    word = null;
  };
  const endCommand = (at: number, next: string) => {
    endWord();
    if (words.length > 0) done.push({ words, text: line.slice(from, at).trim(), next });
    words = [];
    from = at + next.length;
  };
  let at = 0;
  for (; at < line.length; at += 1) {
    const c = line[at] as string;
    if (c === "'" || c === '"') {
      const stop = closing(line, at, c);
      word =
        (word ?? '') + (c === '"' ? line.slice(at + 1, stop).replace(/\\(["\\$`])/g, '$1') : line.slice(at + 1, stop));
      at = stop;
    } else if (c === '\\') {
      word = (word ?? '') + (line[at + 1] ?? '');
      at += 1;
    } else if (c === ' ' || c === '\t' || c === '\n') endWord();
    else if (c === ';') endCommand(at, ';');
    else if (c === '&' && line[at + 1] === '&') {
      endCommand(at, '&&');
      at += 1;
    } else if (c === '#' && word === null) break;
    else if (/[|&<`$()]/.test(c)) refuse(line, `"${c}" needs a shell; give the one command that changes something`);
    else word = (word ?? '') + c;
  }
  endCommand(Math.min(at, line.length), '');
  return done;
}

function closing(line: string, at: number, quote: string): number {
  for (let i = at + 1; i < line.length; i += 1) {
    if (quote === '"' && line[i] === '\\') i += 1;
    else if (line[i] === quote) return i;
  }
  return refuse(line, `a ${quote} is not closed`);
}
