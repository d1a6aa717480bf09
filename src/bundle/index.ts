import { statSync } from 'node:fs';
import { readArchive } from './archive.ts';
import { assemble } from './assemble.ts';
import { readFolderFiles } from './folder.ts';
import type { ReadOptions, ReadResult } from './model.ts';
import { Problems, Refusal, withLimits } from './model.ts';
import { baseName, displayName } from './names.ts';
import { asSet, missingNodes } from './set.ts';
import type { Source } from './source.ts';
import { bytesSource, errorCode, fileSource } from './source.ts';

export { expandInputs } from './inputs.ts';
export type { BundleProblem, Limits, ReadBundle, ReadOptions, ReadResult } from './model.ts';

/** A set's bundles together may expand to this many bytes. */
const SET_EXPANDED = 2 * 1024 * 1024 * 1024;

/**
 * Reads whatever one input is: a bundle file, a set archive, an unpacked bundle or a folder of evidence files (paths),
 * or the bytes of standard input. A set gives one result a bundle, then one problem (`node-not-collected`) for each
 * node that its set.json expects in vain; everything else gives exactly one. Never rejects: what cannot be read is
 * `{ ok: false }` with a sentence.
 */
export async function readInput(input: string | Uint8Array, options: ReadOptions = {}): Promise<ReadResult[]> {
  const name = nameOf(input, options);
  if (typeof input === 'string') {
    let folder = false;
    try {
      folder = statSync(input).isDirectory();
    } catch (error) {
      return [
        refused(
          'unreadable',
          `"${name}" could not be opened (${errorCode(error)}); check the path and its permissions.`,
        ),
      ];
    }
    if (folder) return [await readFolder(input, options)];
  }
  return readAny(input, name, options, true);
}

/** Reads one bundle file; a set archive is refused here (readInput reads it). Never rejects. */
export async function readBundle(path: string, options: ReadOptions = {}): Promise<ReadResult> {
  return one(await readAny(path, nameOf(path, options), options, false));
}

/** Reads one bundle from memory, as from standard input. Never rejects. */
export async function readBundleBytes(bytes: Uint8Array, options: ReadOptions = {}): Promise<ReadResult> {
  return one(await readAny(bytes, nameOf(bytes, options), options, false));
}

/** Reads an unpacked bundle, or a folder whose files lie at the item list's paths (one node). Never rejects. */
export async function readFolder(path: string, options: ReadOptions = {}): Promise<ReadResult> {
  return guarded(nameOf(path, options), () => {
    const problems = new Problems();
    const container = readFolderFiles(path, nameOf(path, options), withLimits(options.limits), problems);
    return { ok: true, bundle: assemble(container, options, problems) };
  });
}

async function readAny(
  input: string | Uint8Array,
  name: string,
  options: ReadOptions,
  sets: boolean,
): Promise<ReadResult[]> {
  const limits = withLimits(options.limits);
  let source: Source | null = null;
  try {
    source = typeof input === 'string' ? fileSource(input, limits) : bytesSource(input, limits);
    const problems = new Problems();
    const container = await readArchive(source, name, limits, problems);
    const set = asSet(container.files);
    if (set === null) return [{ ok: true, bundle: assemble(container, options, problems) }];
    if (!sets)
      return [
        refused(
          'set-archive',
          `"${name}" is a set of bundles; a set inside a set, or where one bundle is asked for, is not read.`,
        ),
      ];
    const results: ReadResult[] = [];
    const present = new Set<string>();
    let left = Math.max(SET_EXPANDED, limits.expanded);
    for (const inner of set.bundles) {
      const label = baseName(inner.path);
      const result = inner.cut
        ? refused('truncated', `"${label}" is cut: the set archive ends inside it; send the set again.`)
        : one(
            await readAny(
              inner.bytes,
              label,
              {
                limits: { ...limits, expanded: Math.min(limits.expanded, left) },
              },
              false,
            ),
          );
      results.push(result);
      if (!result.ok) continue;
      for (const member of result.bundle.members.values()) left -= member.bytes.length;
      present.add(result.bundle.nodeName);
    }
    for (const problem of problems.list()) if (problem.severity === 'high') results.push({ ok: false, problem });
    for (const problem of missingNodes(set, present)) results.push({ ok: false, problem });
    if (results.length === 0)
      results.push(refused('empty-set', `"${name}" is a set of bundles without a bundle in it.`));
    return results;
  } catch (error) {
    return [failed(error, name)];
  } finally {
    source?.close();
  }
}

function nameOf(input: string | Uint8Array, options: ReadOptions): string {
  return baseName(options.name ?? (typeof input === 'string' ? input : 'stdin'));
}

function refused(code: string, message: string): ReadResult {
  return { ok: false, problem: { code, severity: 'high', message } };
}

async function guarded(name: string, read: () => ReadResult): Promise<ReadResult> {
  try {
    return read();
  } catch (error) {
    return failed(error, name);
  }
}

/** A refusal as a result. Anything else is a fault of the reader: said without its message, which may name paths. */
function failed(error: unknown, name: string): ReadResult {
  if (error instanceof Refusal) {
    const { problem } = error;
    return { ok: false, problem: { ...problem, message: `"${name}" was refused. ${problem.message}` } };
  }
  const kind = error instanceof Error ? error.name : typeof error;
  return refused(
    'reader-error',
    `"${name}" could not be read (${displayName(kind)}, ${errorCode(error)}); please report this with the file.`,
  );
}

function one(results: readonly ReadResult[]): ReadResult {
  return results[0] ?? refused('empty-set', 'There is nothing in the input.');
}
