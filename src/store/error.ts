export type CaseErrorCode = 'damaged' | 'locked' | 'newer' | 'not-a-case' | 'io' | 'exists';

/** What is wrong with a case file, in a sentence for the analyst; the code decides the exit code. */
export class CaseError extends Error {
  readonly code: CaseErrorCode;

  constructor(code: CaseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CaseError';
    this.code = code;
  }
}

const LOCKED = 'case locked by another netcase; wait for it to end and try again';

/** What to look at, by the error code of the file system or of SQLite. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/^(ENOENT|ENOTDIR)$/, 'make its folder, or give another place with --case'],
  [
    /^(EACCES|EPERM|EROFS|SQLITE_(CANTOPEN|READONLY|PERM|AUTH))/,
    'check the permissions of the file and of its folder, or give another place with --case',
  ],
];

/** Errors of SQLite and of the file system in our words, about the case file called `name`; others (bugs) pass as they are. */
function asCaseError(error: unknown, name: string): unknown {
  if (error instanceof CaseError || !(error instanceof Error)) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return new CaseError('locked', LOCKED, { cause: error });
  if (/^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code))
    return new CaseError('damaged', damaged(name, error.message), { cause: error });
  if (code === 'SQLITE_FULL' || code === 'ENOSPC')
    return new CaseError('io', 'no space left on the disk of the case file; nothing of this step was written', {
      cause: error,
    });
  if (/^SQLITE_(IOERR|CANTOPEN|READONLY|PERM|NOLFS|AUTH|PROTOCOL)/.test(code) || /^E[A-Z]+$/.test(code))
    return new CaseError('io', `${name} could not be used (${code}); ${adviceFor(code)}`, { cause: error });
  return error;
}

const adviceFor = (code: string): string =>
  ADVICE.find(([codes]) => codes.test(code))?.[1] ?? 'check the disk that it is on';

/** `why`: SQLite's words, which may be several lines. */
export const damaged = (name: string, why: string): string =>
  `${name} is damaged (${why
    .replace(/\*{3}[^*]*\*{3}/g, '')
    .replace(/\s+/g, ' ')
    .trim()}); restore a copy of it`;

/** Runs what touches the file; failures come out as CaseError. */
export function guarded<T>(work: () => T, name = 'the case file'): T {
  try {
    return work();
  } catch (error) {
    throw asCaseError(error, name);
  }
}
