import type { Setting } from '../facts/settings.ts';
import { MAX_DEPTH } from './json-tree.ts';

type Leaf = Pick<Setting, 'value' | 'type'> & { readonly at: number; readonly end: number; readonly path: string };

/** Why the text at `at` is no TOML value. */
export class TomlError extends Error {
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

const ESCAPES = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
  ['"', '"'],
  ['\\', '\\'],
]);

/** Blanks, and with `lines` also line ends and comments. */
export function skipBlank(text: string, at: number, lines: boolean): number {
  let i = at;
  while (i < text.length) {
    const c = text[i]!;
    if (c === ' ' || c === '\t' || c === '\r' || (lines && c === '\n')) i += 1;
    else if (lines && c === '#') {
      const stop = text.indexOf('\n', i);
      i = stop < 0 ? text.length : stop;
    } else break;
  }
  return i;
}

export function readString(text: string, at: number): { value: string; end: number } {
  const quote = text[at]!;
  const long = text.startsWith(quote.repeat(3), at);
  const close = long ? quote.repeat(3) : quote;
  let i = at + close.length;
  const parts: string[] = [];
  if (long && text[i] === '\n') i += 1;
  while (i < text.length) {
    if (text.startsWith(close, i)) return { value: parts.join(''), end: i + close.length };
    const c = text[i]!;
    if (c === '\n' && !long) break;
    if (c === '\\' && quote === '"') {
      const next = text[i + 1] ?? '';
      const hex = /^(?:u([0-9a-fA-F]{4})|U(0[0-9a-fA-F]{7}))/.exec(text.slice(i + 1, i + 10));
      const code = hex === null ? -1 : Number.parseInt(hex[1] ?? hex[2]!, 16);
      if (code >= 0 && code <= 0x10ffff) {
        parts.push(String.fromCodePoint(code));
        i += 1 + hex![0].length;
      } else {
        parts.push(ESCAPES.get(next) ?? `\\${next}`);
        i += 2;
      }
    } else {
      parts.push(c);
      i += 1;
    }
  }
  throw new TomlError('string without end', at);
}

/** `a."b.c".d`: its parts joined by `.`. */
export function readKey(text: string, at: number): { path: string; end: number } {
  const parts: string[] = [];
  let i = at;
  for (;;) {
    i = skipBlank(text, i, false);
    const c = text[i] ?? '';
    if (c === '"' || c === "'") {
      const s = readString(text, i);
      parts.push(s.value);
      i = s.end;
    } else {
      const start = i;
      while (i < text.length && /[\w-]/.test(text[i]!)) i += 1;
      if (i === start) throw new TomlError('no key', at);
      parts.push(text.slice(start, i));
    }
    i = skipBlank(text, i, false);
    if (text[i] !== '.') return { path: parts.join('.'), end: i };
    i += 1;
  }
}

function scalar(word: string, at: number): Pick<Leaf, 'value' | 'type'> {
  if (word === 'true' || word === 'false') return { value: word === 'true', type: 'boolean' };
  const plain = word.replace(/_/g, '');
  if (
    /^[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)$/.test(plain) &&
    Number.isFinite(Number(plain))
  ) {
    return { value: Number(plain), type: 'number' };
  }
  // dates and times stay text
  if (/^[\d:TZ.+-]+$/.test(word) || /^[+-]?(inf|nan)$/.test(word)) return { value: word, type: 'string' };
  throw new TomlError('no value', at);
}

/** The value at `at` into `out`, containers before their content. Returns where it ends; throws TomlError. */
export function readValue(text: string, at: number, path: string, out: Leaf[], depth: number): number {
  if (path.length > 2048) throw new TomlError('key too long', at);
  if (depth > MAX_DEPTH) throw new TomlError('nested too deep', at);
  const c = text[at] ?? '';
  if (c === '"' || c === "'") {
    const s = readString(text, at);
    out.push({ at, end: s.end, path, value: s.value, type: 'string' });
    return s.end;
  }
  if (c !== '[' && c !== '{') {
    let i = at;
    while (i < text.length && !/[\s,\]}#]/.test(text[i]!)) i += 1;
    out.push({ at, end: i, path, ...scalar(text.slice(at, i), at) });
    return i;
  }
  const close = c === '[' ? ']' : '}';
  const own = out.length;
  out.push({ at, end: at + 1, path, value: null, type: c === '[' ? 'array' : 'object' });
  let i = skipBlank(text, at + 1, true);
  for (let n = 0; text[i] !== close; n += 1) {
    if (i >= text.length) throw new TomlError(`no ${close}`, at);
    let name = String(n);
    if (c === '{') {
      const key = readKey(text, i);
      if (text[key.end] !== '=') throw new TomlError('no =', i);
      name = key.path;
      i = skipBlank(text, key.end + 1, false);
    }
    i = skipBlank(text, readValue(text, i, `${path}.${name}`, out, depth + 1), true);
    if (text[i] === ',') i = skipBlank(text, i + 1, true);
    else if (text[i] !== close) throw new TomlError(`no , or ${close}`, i);
  }
  out[own] = { ...out[own]!, end: i + 1 };
  return i + 1;
}
