import { evidenceAt } from '../core/evidence.ts';
import { sha256 } from './hash.ts';
import type { Problems } from './model.ts';
import { displayName } from './names.ts';

/** A file of the input under its path inside the bundle. */
export interface PlacedFile {
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly cut: boolean;
}

export interface RawFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly cut: boolean;
}

const OWN = new Set(['bundle.json', 'manifest.json', 'SHA256SUMS']);

/** The root folder that all of a bundle's members lie in ('' for none): that of bundle.json, else the common one. */
function rootOf(files: readonly RawFile[]): string {
  for (const name of OWN) {
    const found = files.find((f) => f.path === name || (f.path.endsWith(`/${name}`) && f.path.split('/').length === 2));
    if (found !== undefined) return found.path.slice(0, -name.length);
  }
  const first = files[0]?.path ?? '';
  const root = first.slice(0, first.indexOf('/') + 1);
  if (root === '' || files.some((f) => !f.path.startsWith(root) || evidenceAt(f.path) !== undefined)) return '';
  return root;
}

/** Strips the root folder, hashes, and keeps the first of equal names. `root` comes with its slash. */
export function placeFiles(
  files: readonly RawFile[],
  problems: Problems,
): { readonly root: string; readonly placed: Map<string, PlacedFile> } {
  const root = rootOf(files);
  const placed = new Map<string, PlacedFile>();
  for (const file of files) {
    if (!file.path.startsWith(root)) {
      problems.add(
        'medium',
        'outside-root',
        `Member "${displayName(file.path)}" lies outside the bundle's folder and was not read; the archive holds something else too.`,
        { path: file.path },
      );
      continue;
    }
    const path = file.path.slice(root.length);
    const hash = sha256(file.bytes);
    const first = placed.get(path);
    if (first === undefined) {
      placed.set(path, { bytes: file.bytes, sha256: hash, cut: file.cut });
      continue;
    }
    const differ = first.sha256 === hash ? 'with the same bytes' : 'with other bytes';
    problems.add(
      'high',
      'duplicate-member',
      `"${displayName(path)}" is in the archive more than once (${differ}); the first one counts. The collector never does that; ask who repacked the bundle.`,
      { path, hashes: [first.sha256, hash] },
    );
  }
  return { root, placed };
}
