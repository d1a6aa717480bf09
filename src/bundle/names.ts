// C0, DEL, C1
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
// what a terminal or page may act on without showing it: controls, bidi, zero width, line separators, BOM, tags
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\ud800-\udfff]/gu;

/** Text from a bundle made fit for a message: invisible and control characters become `\u{..}`, length is bounded. */
export function displayText(text: string, most = 600): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return cut.replace(UNSAFE, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`);
}

/** A member's or link's name for a message. */
export function displayName(name: string): string {
  return displayText(name, 120);
}

export type CheckedName =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly code: string; readonly why: string };

// nearly every honest name: no part that begins with a dot, nothing that could be odd
const PLAIN = /^(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*\/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*$/;

/**
 * A member's name as a safe relative path: NFC, no `.` or empty parts, no trailing slash ('' for the root itself).
 * Refused: `..`, absolute names, drive letters, backslash traversal, control characters, over-long or over-deep names.
 */
export function checkName(raw: string, limits: { readonly name: number; readonly depth: number }): CheckedName {
  if (raw.length > limits.name || Buffer.byteLength(raw) > limits.name)
    return { ok: false, code: 'name-too-long', why: `a name of more than ${limits.name} bytes` };
  if (PLAIN.test(raw)) {
    let depth = 1;
    for (let i = raw.indexOf('/'); i >= 0; i = raw.indexOf('/', i + 1)) depth++;
    if (depth <= limits.depth) return { ok: true, path: raw };
  }
  if (CONTROL.test(raw)) return { ok: false, code: 'name-control', why: 'control characters or NUL in its name' };
  if (raw.startsWith('/')) return { ok: false, code: 'name-absolute', why: 'an absolute name' };
  if (/^[A-Za-z]:/.test(raw)) return { ok: false, code: 'name-drive', why: 'a drive letter in its name' };
  const parts: string[] = [];
  for (const part of raw.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') return { ok: false, code: 'name-traversal', why: '".." in its name' };
    parts.push(part);
  }
  if (
    raw.includes('\\') &&
    (raw.startsWith('\\') || raw.split(/[\\/]/).some((p) => p === '..' || /^[A-Za-z]:/.test(p)))
  )
    return { ok: false, code: 'name-backslash', why: 'a backslash path in its name' };
  if (parts.length > limits.depth)
    return { ok: false, code: 'name-too-deep', why: `more than ${limits.depth} folders in its name` };
  return { ok: true, path: parts.join('/').normalize('NFC') };
}

/** A node's name restricted to `[A-Za-z0-9._-]{1,63}`; null when nothing is left of it. */
export function safeNodeName(text: string): string | null {
  const name = text
    .slice(0, 300)
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '')
    .slice(0, 63)
    .replace(/[-.]+$/, '');
  return name === '' ? null : name;
}

/** The base name of a path or label: what of the analyst's machine may be shown. */
export function baseName(path: string): string {
  const parts = path.split(/[\\/]/).filter((p) => p !== '' && p !== '.' && p !== '..');
  return displayName(parts.at(-1) ?? 'input');
}

/** The node that a bundle's file name tells: `netcase_<node>_<UTC>_<hex>.tar.gz`, else the name without its endings. */
export function nodeFromFileName(name: string): string | null {
  const stem = name.replace(/\.(tar\.gz|tgz|tar|gz)$/i, '');
  const ours = /^netcase_([A-Za-z0-9.-]{1,63})_\d{8}T\d{6}Z_[0-9a-f]{1,16}$/.exec(stem);
  return safeNodeName(ours?.[1] ?? stem);
}
