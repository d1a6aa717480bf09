import { lstatSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { evidenceAt } from '../core/evidence.ts';
import { defaultLimits, Refusal } from './model.ts';
import { baseName, displayName } from './names.ts';
import { errorCode, fileSource } from './source.ts';

/** One thing that readInput takes. */
export interface FoundInput {
  /** As to be opened; '-' is standard input. */
  readonly path: string;
  /** Display name: a base name. */
  readonly name: string;
}

export interface FoundInputs {
  /** In the order of the arguments, a folder's or pattern's matches by name; none twice. */
  readonly inputs: readonly FoundInput[];
  readonly unreadable: readonly { readonly source: string; readonly code: string; readonly message: string }[];
}

const ARCHIVE = /\.(tar\.gz|tgz|tar)$/i;
const MOST = 100_000;

/**
 * What the command line's arguments name: bundle files, set archives, folders of bundles, an unpacked bundle, a folder
 * of evidence files, quoted patterns (`*`, `?`, `[..]`, `**`), `-`, and `@list.txt` (one path a line). Never rejects.
 * `deep`: folders of folders too.
 */
export async function expandInputs(args: readonly string[], deep = false): Promise<FoundInputs> {
  const inputs: FoundInput[] = [];
  const unreadable: FoundInputs['unreadable'][number][] = [];
  const seen = new Set<string>();
  const fail = (source: string, code: string, message: string) => {
    unreadable.push({ source: baseName(source), code, message });
  };
  const take = (path: string) => {
    const key = path === '-' ? '-' : realpath(path);
    if (seen.has(key)) return;
    seen.add(key);
    inputs.push({ path, name: path === '-' ? 'stdin' : baseName(path) });
  };
  const expand = (arg: string, listed: boolean) => {
    const name = displayName(baseName(arg));
    if (arg === '-' && !listed) {
      take('-');
      return;
    }
    if (arg.startsWith('@') && !listed && statOf(arg) === null) {
      const lines = listLines(arg.slice(1), fail);
      for (const line of lines) expand(line, true);
      return;
    }
    let stat = statOf(arg);
    if (stat === null && /[*?[]/.test(arg)) {
      const found = glob(arg);
      if (found.length === 0) fail(arg, 'no-match', `No file matches "${name}"; check the pattern.`);
      for (const path of found) {
        stat = statOf(path);
        if (stat?.isDirectory()) folder(path, take, fail, deep);
        else take(path);
      }
      return;
    }
    if (stat === null) fail(arg, 'unreadable', `"${name}" does not exist or cannot be opened; check the path.`);
    else if (stat.isDirectory()) folder(arg, take, fail, deep);
    else take(arg);
  };
  for (const arg of args) expand(arg, false);
  return { inputs, unreadable };
}

type Fail = (source: string, code: string, message: string) => void;

/** A folder is one node (a bundle's own files, or evidence paths), or it holds bundles and nodes' folders. */
function folder(path: string, take: (path: string) => void, fail: Fail, deep: boolean): void {
  const entries = namesIn(path);
  if (entries === null) unreadable(path, fail);
  else if (isNode(path, entries)) take(path);
  else if (inFolder(path, entries, take, fail, deep ? DEEPEST : 0) === 0)
    fail(
      path,
      'nothing-found',
      `Folder "${baseName(path)}" holds no .tar.gz or .tar, no manifest.json and no file at a known evidence path.`,
    );
}

const unreadable = (path: string, fail: Fail) =>
  fail(path, 'unreadable', `Folder "${baseName(path)}" could not be read; check its permissions.`);

/** Takes the bundles and nodes' folders of a folder, and of those below it down to `depth`; links are not followed. Gives their number. */
function inFolder(
  path: string,
  entries: readonly string[],
  take: (path: string) => void,
  fail: Fail,
  depth: number,
): number {
  let found = 0;
  for (const entry of entries) {
    const inner = join(path, entry);
    const stat = lstat(inner);
    if (stat?.isFile() && ARCHIVE.test(entry)) {
      take(inner);
      found++;
    } else if (stat?.isDirectory()) {
      const within = namesIn(inner);
      if (isNode(inner, within ?? [])) {
        take(inner);
        found++;
      } else if (depth > 0 && within === null) unreadable(inner, fail);
      else if (depth > 0) found += inFolder(inner, within ?? [], take, fail, depth - 1);
    }
  }
  return found;
}

/** Levels of folders below the one that was given. */
const DEEPEST = 16;

/** Looks at most as deep as evidence paths go. */
function isNode(path: string, entries: readonly string[]): boolean {
  if (entries.includes('manifest.json') || entries.includes('bundle.json')) return true;
  let budget = 5000;
  const look = (inside: string, names: readonly string[], depth: number): boolean => {
    for (const name of names) {
      if (--budget < 0) return false;
      const at = inside === '' ? name : `${inside}/${name}`;
      const stat = lstat(join(path, at));
      if (stat?.isFile() && evidenceAt(at) !== undefined) return true;
      if (
        stat?.isDirectory() &&
        depth < 8 &&
        TOPS.has(at.split('/')[0] as string) &&
        look(at, namesIn(join(path, at)) ?? [], depth + 1)
      )
        return true;
    }
    return false;
  };
  return look('', entries, 1);
}

const TOPS = new Set('host files docker cri cmdline systemd kubelet flannel cni k8s log netns collector'.split(' '));

function listLines(path: string, fail: Fail): string[] {
  try {
    const source = fileSource(path, { ...defaultLimits, archive: 4 * 1024 * 1024 });
    source.close();
    const lines = (source.whole as Buffer).toString('utf8').split(/\r?\n/);
    return lines.map((l) => l.trim()).filter((l) => l !== '' && !l.startsWith('#') && l !== '-' && !l.startsWith('@'));
  } catch (error) {
    const why = error instanceof Refusal ? error.problem.message : errorCode(error);
    fail(path, 'unreadable', `The list "${baseName(path)}" could not be read. ${why}`);
    return [];
  }
}

/** Paths that a pattern matches, by name; `**` stands for any folders. Links to folders are not walked. */
function glob(pattern: string): string[] {
  const absolute = pattern.startsWith('/');
  let found = [absolute ? '/' : ''];
  for (const part of pattern.split('/').filter((p) => p !== '')) {
    const next: string[] = [];
    for (const base of found) {
      if (next.length > MOST) break;
      if (part === '**') next.push(...foldersUnder(base, 1));
      else if (!/[*?[]/.test(part)) {
        const path = join(base, part);
        if (statOf(path) !== null) next.push(path);
      } else {
        const matches = globPart(part);
        for (const name of namesIn(base === '' ? '.' : base) ?? [])
          if (matches(name) && (!name.startsWith('.') || part.startsWith('.'))) next.push(join(base, name));
      }
    }
    found = next;
  }
  return [...new Set(found)].sort();
}

function foldersUnder(base: string, depth: number): string[] {
  const found = [base];
  if (depth > 16) return found;
  for (const name of namesIn(base === '' ? '.' : base) ?? []) {
    const path = join(base, name);
    if (!name.startsWith('.') && lstat(path)?.isDirectory()) found.push(...foldersUnder(path, depth + 1));
    if (found.length > MOST) break;
  }
  return found;
}

/** Two-pointer wildcard match: linear, so that no pattern can hang it. */
function globPart(pattern: string): (name: string) => boolean {
  const tokens: { star: boolean; test: (c: string) => boolean }[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i] as string;
    const close = c === '[' ? pattern.indexOf(']', i + 2) : -1;
    if (c === '*') tokens.push({ star: true, test: () => true });
    else if (c === '?') tokens.push({ star: false, test: () => true });
    else if (close > 0) {
      tokens.push({ star: false, test: inClass(pattern.slice(i + 1, close)) });
      i = close;
    } else tokens.push({ star: false, test: (x) => x === c });
  }
  return (name) => {
    let t = 0;
    let n = 0;
    let star = -1;
    let mark = 0;
    while (n < name.length) {
      const token = tokens[t];
      if (token?.star) {
        star = t++;
        mark = n;
      } else if (token?.test(name[n] as string)) {
        t++;
        n++;
      } else if (star >= 0) {
        t = star + 1;
        n = ++mark;
      } else return false;
    }
    while (tokens[t]?.star) t++;
    return t === tokens.length;
  };
}

function inClass(text: string): (c: string) => boolean {
  const not = text.startsWith('!') || text.startsWith('^');
  const body = not ? text.slice(1) : text;
  return (c) => {
    let hit = false;
    for (let i = 0; i < body.length; i++) {
      const from = body[i] as string;
      if (body[i + 1] === '-' && i + 2 < body.length) {
        hit ||= c >= from && c <= (body[i + 2] as string);
        i += 2;
      } else hit ||= c === from;
    }
    return hit !== not;
  };
}

function statOf(path: string) {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

function lstat(path: string) {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}

function namesIn(path: string): string[] | null {
  try {
    return readdirSync(path).sort();
  } catch {
    return null;
  }
}

function realpath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
