import { randomBytes } from 'node:crypto';
import { closeSync, constants, fsyncSync, lstatSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Failure } from './failure.ts';

/**
 * Writes a report whole or not at all: a temporary file beside the target (O_EXCL, O_NOFOLLOW, 0600), synced, then renamed over it.
 * A target that is a link or no regular file is refused: it may point out of the folder that the user meant.
 */
export function writeOutput(path: string, text: string): void {
  const temp = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    const existing = lstatSync(path, { throwIfNoEntry: false });
    if (existing !== undefined && !existing.isFile()) {
      throw new Failure('io', `${path} is not a regular file; give another name with -o`);
    }
    const fd = openSync(temp, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temp, path);
  } catch (error) {
    try {
      unlinkSync(temp);
    } catch {
      // it was never made, or the rename took it
    }
    if (error instanceof Failure) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure(
      'io',
      `${path} could not be written (${code}); ${adviceFor(code)}, or give another place with -o`,
    );
  }
}

function adviceFor(code: string | undefined): string {
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'make its folder';
  return code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
    ? 'check the permissions of its folder'
    : 'free space';
}
