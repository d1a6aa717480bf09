import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { flush, handle, run, settings } from '@oclif/core';

const root = join(import.meta.dirname, '..');
/** Where oclif finds the commands: of the built program, or TypeScript in a checkout. */
const target = import.meta.filename.endsWith('.ts') ? './src/commands/index.ts' : './bin/commands.cjs';

/** Runs one command line. Exit codes are those of README.md; a closed pipe (| head) is no error. */
export async function main(argv: readonly string[]): Promise<void> {
  process.stdout.on('error', closedPipe);
  process.stderr.on('error', closedPipe);
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
  // oclif would look for a TypeScript toolchain; Node reads the sources itself
  settings.enableAutoTranspile = false;
  const pjson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  pjson.oclif.commands.target = target;
  try {
    await run([...argv], { root, pjson });
    await flush();
  } catch (error) {
    if (!/^command .* not found$/s.test((error as Error).message)) return handle(error as Error);
    // oclif takes words behind a command for a part of its name
    const flags = argv.findIndex((word, i) => i > 0 && word.startsWith('-'));
    const called = argv.slice(0, flags < 0 ? argv.length : flags).join(' ');
    process.stderr.write(`netcase: there is no command ${JSON.stringify(called)}; netcase --help lists them\n`);
    process.exitCode = 2;
  }
}

function closedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
}
