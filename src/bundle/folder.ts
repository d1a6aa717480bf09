import { closeSync, constants, fstatSync, lstatSync, opendirSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from './assemble.ts';
import { sha256 } from './hash.ts';
import type { RawFile } from './layout.ts';
import type { Limits, Problems } from './model.ts';
import { formatBytes, Refusal } from './model.ts';
import { checkName, displayName } from './names.ts';
import { errorCode } from './source.ts';

/** Reads an unpacked bundle or a folder of evidence files; links are never followed. Throws Refusal. */
export function readFolderFiles(folder: string, name: string, limits: Limits, problems: Problems): Container {
  const files: RawFile[] = [];
  let seen = 0;
  let total = 0;
  const walk = (inside: string, depth: number): void => {
    if (depth > limits.depth)
      throw new Refusal(
        'name-too-deep',
        `Folder "${displayName(inside)}" lies deeper than ${limits.depth} levels; this is no bundle.`,
      );
    for (const entry of entriesOf(join(folder, inside), inside, problems)) {
      const path = inside === '' ? entry : `${inside}/${entry}`;
      if (++seen > limits.members)
        throw new Refusal(
          'too-many-members',
          `The folder holds more than ${limits.members} entries; name the bundle's own folder.`,
        );
      const stat = statOf(join(folder, path), path, problems);
      if (stat === null) continue;
      const checked = checkName(path, limits);
      const why = !checked.ok ? `it has ${checked.why}` : stat.isSymbolicLink() ? 'it is a symbolic link' : null;
      if (why === null && stat.isDirectory()) {
        walk(path, depth + 1);
        continue;
      }
      if (why !== null || !stat.isFile()) {
        const code = checked.ok ? (stat.isSymbolicLink() ? 'link-refused' : 'type-refused') : checked.code;
        problems.add('medium', code, `"${displayName(path)}" was not read: ${why ?? 'it is no regular file'}.`, {
          path: displayName(path),
        });
        continue;
      }
      const bytes = readOne(join(folder, path), path, limits, problems);
      if (bytes === null || !checked.ok) continue;
      total += bytes.length;
      if (total > limits.expanded)
        throw new Refusal(
          'too-large',
          `The folder holds more than ${formatBytes(limits.expanded)}; name the bundle's own folder, or raise the limit.`,
        );
      files.push({ path: checked.path, bytes, cut: false });
    }
  };
  walk('', 1);
  files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const list = files.map((f) => `${sha256(f.bytes)}  ${f.path}\n`).join('');
  return { source: name, folder: true, sha256: sha256(list), size: total, broken: false, checksummed: false, files };
}

function entriesOf(path: string, inside: string, problems: Problems): string[] {
  try {
    const dir = opendirSync(path);
    const names: string[] = [];
    try {
      for (let e = dir.readSync(); e !== null && names.length <= 100_000; e = dir.readSync()) names.push(e.name);
    } finally {
      dir.closeSync();
    }
    return names.sort();
  } catch (error) {
    const where = inside === '' ? 'The folder' : `Folder "${displayName(inside)}"`;
    if (inside === '') throw new Refusal('unreadable', `${where} could not be read (${errorCode(error)}).`);
    problems.add('medium', 'unreadable', `${where} could not be read (${errorCode(error)}); its files are missing.`, {
      path: inside,
    });
    return [];
  }
}

function statOf(path: string, inside: string, problems: Problems) {
  try {
    return lstatSync(path);
  } catch (error) {
    problems.add('medium', 'unreadable', `"${displayName(inside)}" could not be read (${errorCode(error)}).`, {
      path: inside,
    });
    return null;
  }
}

function readOne(path: string, inside: string, limits: Limits, problems: Problems): Buffer | null {
  let fd = -1;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    const stat = fstatSync(fd);
    if (!stat.isFile()) return null;
    if (stat.size > limits.member)
      throw new Refusal(
        'member-too-large',
        `"${displayName(inside)}" is ${formatBytes(stat.size)} long, over the limit of ${formatBytes(limits.member)} for one file.`,
      );
    const bytes = Buffer.alloc(stat.size);
    let have = 0;
    while (have < bytes.length) {
      const n = readSync(fd, bytes, have, bytes.length - have, have);
      if (n === 0) break;
      have += n;
    }
    return bytes.subarray(0, have);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    problems.add('medium', 'unreadable', `"${displayName(inside)}" could not be read (${errorCode(error)}).`, {
      path: inside,
    });
    return null;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
