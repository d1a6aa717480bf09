import { writeSync } from 'node:fs';
import { Command, Errors, Flags } from '@oclif/core';
import type { Failure } from '../cases/failure.ts';
import { isFailure } from '../cases/failure.ts';
import { terminal } from '../report/visible.ts';
import { atLeast, SEVERITIES, type Severity } from '../rule/index.ts';

/** The exit codes of README.md. */
export const EXIT = {
  clean: 0,
  findings: 1,
  usage: 2,
  refused: 3,
  incomplete: 4,
  damaged: 5,
  locked: 6,
  internal: 70,
  interrupted: 130,
} as const;

const BY_KIND: Record<Failure['kind'], number> = {
  usage: EXIT.usage,
  refused: EXIT.refused,
  damaged: EXIT.damaged,
  locked: EXIT.locked,
  io: EXIT.refused,
  internal: EXIT.internal,
};

export const caseFlag = Flags.string({ description: 'case file', default: './incident.netcase', helpValue: 'FILE' });
export const jsonFlag = Flags.boolean({ description: 'one JSON document instead of a table' });
export const textOrJsonFlag = Flags.option({
  options: ['text', 'json'] as const,
  default: 'text' as const,
  description: 'output format',
})();
export const outputFlag = Flags.string({
  char: 'o',
  default: '-',
  description: 'where to write; - is stdout',
  helpValue: 'FILE|-',
});
export const manyOutputsFlag = Flags.string({
  char: 'o',
  description: 'where to write; - is stdout; with several formats the suffix is changed',
  helpValue: 'FILE|-',
});
export const failOnFlag = Flags.option({
  options: SEVERITIES,
  default: 'high' as const,
  description: 'exit 1 when a finding is at least this severe',
})();
/** Changes that `trace` and `reach` assume, in order; parsed by cases/what-if.ts. */
export const ifFlag = Flags.string({
  multiple: true,
  description: 'a change to assume: an iptables, sysctl, ip or bridge command and @NODE; may be given more than once',
  helpValue: 'CHANGE',
});

/** Prints results on stdout, messages on stderr, and turns failures into one sentence and an exit code. */
export abstract class NetcaseCommand extends Command {
  /** The result. Text from bundles must already be safe (`terminal`). */
  protected out(text: string): void {
    writeWhole(1, text.endsWith('\n') ? text : `${text}\n`);
  }

  /** The result, to a file or to stdout. */
  protected async write(output: string, text: string): Promise<void> {
    if (output === '-') {
      this.out(text);
      return;
    }
    const { writeOutput } = await import('../cases/output.ts');
    writeOutput(output, text);
    this.say(`wrote ${output}`);
  }

  /** What was read and written; the exit code of an input that was refused, or of findings. */
  protected tell(
    {
      stdout,
      written,
      refused,
    }: {
      readonly stdout: string;
      readonly written: readonly string[];
      readonly refused: readonly { readonly sentence: string }[];
    },
    worst: Severity | 'none',
    failOn: Severity,
  ): void {
    for (const { sentence } of refused) this.say(`netcase: ${sentence}`);
    if (stdout !== '') this.out(stdout);
    for (const path of written) this.say(`wrote ${path}`);
    if (refused.length > 0) this.exit(EXIT.refused);
    if (atLeast(worst, failOn)) this.exit(EXIT.findings);
  }

  /** The result as JSON for a program or as text for a person. */
  protected async writeResult(
    { format, output }: { readonly format: 'text' | 'json'; readonly output: string },
    result: unknown,
    text: () => Promise<string>,
  ): Promise<void> {
    await this.write(output, format === 'json' ? `${JSON.stringify(result, null, 2)}\n` : await text());
  }

  protected say(text: string): void {
    writeWhole(2, `${text}\n`);
  }

  protected override async catch(thrown: Error): Promise<void> {
    const error = await inOurWords(thrown);
    if (isFailure(error)) {
      this.say(`netcase: ${terminal(error.message)}`);
      this.exit(BY_KIND[error.kind]);
    }
    if (error instanceof Errors.ExitError) throw error;
    if (error instanceof Errors.CLIError) {
      this.say(`netcase: ${terminal(usageSentence(error.message))}; see netcase ${this.id} --help`);
      this.exit(EXIT.usage);
    }
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') this.exit(0);
    this.say(
      `netcase: internal error: ${terminal(error.message)}${process.env['DEBUG'] === undefined ? ' (set DEBUG=1 for the place)' : `\n${error.stack ?? ''}`}`,
    );
    this.exit(EXIT.internal);
  }
}

/** What goes wrong with a case after it was opened: a full disk, another writer. */
async function inOurWords(error: Error): Promise<Error> {
  return error.name === 'CaseError' ? ((await import('../cases/open.ts')).asFailure(error) as Error) : error;
}

/** What oclif says of a wrong call in several lines, with what was meant for its own help. */
function usageSentence(message: string): string {
  const lines = message.split('\n').map((line) => line.trim());
  const said = lines.filter((line) => line !== '' && !/^(See more help|The following errors? occurred)/.test(line));
  return said
    .map((line) => line.replace(/^[A-Z]/, (c) => c.toLowerCase()).replace(/^parsing (.*)/, '$1:'))
    .join('; ')
    .replace(/:; /g, ': ');
}

/** Aligned columns; every cell is made safe for a terminal. */
export function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [head, ...rows].map((row) =>
    row.map((cell) => terminal(cell === null || cell === undefined ? '-' : String(cell))),
  );
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  return `${cells
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')}\n`;
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes all of a text before it returns. process.stdout takes a text and lets an exit with a code drop what the reader of the pipe was too
 * slow for: half a JSON document, silently.
 */
function writeWhole(fd: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(0);
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, 5);
    }
  }
}
