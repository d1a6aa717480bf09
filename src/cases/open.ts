import { existsSync } from 'node:fs';
import type { CaseFile } from '../store/index.ts';
import { CaseError, openCase } from '../store/index.ts';
import { Failure } from './failure.ts';

/** SOURCE_DATE_EPOCH fixes the clock, so that two runs on two machines give the same log and the same report bytes. */
export function clock(): string {
  const epoch = process.env['SOURCE_DATE_EPOCH'];
  return (epoch !== undefined && /^\d{1,11}$/.test(epoch) ? new Date(Number(epoch) * 1000) : new Date()).toISOString();
}

/** Opens a case to add to it; makes it when `create` and it is not there. */
export function openForWriting(path: string, create: boolean): CaseFile {
  if (!create) mustExist(path);
  return open(path, create ? 'create' : 'write');
}

/** `checked`: another thread has it open already, and has checked its pages. */
export function openForReading(path: string, checked = false): CaseFile {
  mustExist(path);
  return open(path, 'read', checked);
}

function mustExist(path: string): void {
  if (existsSync(path)) return;
  throw new Failure(
    'usage',
    `there is no case file ${path}; make one with netcase analyze BUNDLE, or give the right --case`,
  );
}

function open(path: string, mode: 'create' | 'write' | 'read', checked = false): CaseFile {
  try {
    return openCase(path, { mode, clock, checked });
  } catch (error) {
    throw asFailure(error);
  }
}

/** Store errors in the words and exit codes of the outside. */
export function asFailure(error: unknown): unknown {
  if (!(error instanceof CaseError)) return error;
  switch (error.code) {
    case 'locked':
      return new Failure('locked', error.message);
    case 'damaged':
    case 'newer':
    case 'not-a-case':
      return new Failure('damaged', error.message);
    default:
      return new Failure('io', error.message);
  }
}
