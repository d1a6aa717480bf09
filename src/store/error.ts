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

/** Errors of SQLite and of the file system in our words; others (bugs) pass as they are. */
export function asCaseError(error: unknown): unknown {
  if (error instanceof CaseError || !(error instanceof Error)) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return new CaseError('locked', LOCKED, { cause: error });
  if (/^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code))
    return new CaseError('damaged', `the case file is damaged (${error.message}); restore a copy of it`, {
      cause: error,
    });
  if (code === 'SQLITE_FULL' || code === 'ENOSPC')
    return new CaseError('io', 'no space left on the disk of the case file; nothing of this step was written', {
      cause: error,
    });
  if (/^SQLITE_(IOERR|CANTOPEN|READONLY|PERM|NOLFS|AUTH|PROTOCOL)/.test(code) || /^E[A-Z]+$/.test(code))
    return new CaseError('io', `the case file could not be used (${code})`, { cause: error });
  return error;
}

/** Runs what touches the file; failures come out as CaseError. */
export function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asCaseError(error);
  }
}
