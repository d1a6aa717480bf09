import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import type { Span } from '../core/span.ts';
import type { Skipped } from '../facts/parser.ts';
import type { JsonSettings, Setting } from '../facts/settings.ts';
import { LineIndex } from './line-index.ts';

export const MAX_DEPTH = 64;
/** More would only be noise: after the first error a reader is guessing. */
const MAX_ERRORS = 20;
const MAX_PATH = 1024;

/** Deepest nesting of brackets outside strings, found without recursion: the guard before any recursive reader. */
export function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 34) {
      for (i += 1; i < text.length && text.charCodeAt(i) !== 34 && text.charCodeAt(i) !== 10; i += 1)
        if (text.charCodeAt(i) === 92) i += 1;
    } else if (c === 123 || c === 91) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if ((c === 125 || c === 93) && depth > 0) depth -= 1;
  }
  return deepest;
}

export interface JsonTree {
  readonly root: Node | undefined;
  readonly index: LineIndex;
  /** Empty: a strict reader accepts the text. */
  readonly errors: readonly (Span & { readonly message: string })[];
  readonly bom: boolean;
}

function strictError(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 200) : 'not JSON';
  }
}

/** Reads JSON leniently: comments, trailing commas and cut ends leave a tree and errors with their places. A string = why not at all. */
export function readJsonTree(text: string): JsonTree | string {
  if (depthOf(text) > MAX_DEPTH) return `nested deeper than ${MAX_DEPTH}`;
  const bom = text.charCodeAt(0) === 0xfeff;
  // a blank in its place keeps all offsets
  const body = bom ? ` ${text.slice(1)}` : text;
  const found: ParseError[] = [];
  const root = parseTree(body, found, { disallowComments: true, allowTrailingComma: false });
  const index = new LineIndex(body);
  const strict = strictError(body);
  const errors: (Span & { message: string })[] = [];
  if (bom) errors.push({ line: 1, message: 'byte order mark' });
  if (strict !== null) {
    const end = root === undefined ? Number.POSITIVE_INFINITY : root.offset + root.length;
    const behind = body.slice(end).trim() !== '';
    for (const e of found.slice(0, MAX_ERRORS))
      errors.push({
        ...index.span(e.offset, e.length),
        message: behind && e.offset >= end ? 'EndOfFileExpected' : printParseErrorCode(e.error),
      });
    if (found.length === 0) errors.push({ line: 1, message: strict });
  }
  return { root, index, errors, bom };
}

/** Errors of a tree as skipped lines, for facts that read what is there. */
export function skippedErrors(tree: JsonTree): Skipped[] {
  return tree.errors.map((e) => ({ line: e.line, why: `JSON: ${e.message}` }));
}

/** All values below `root` as settings, in file order, containers before their content. `source`: the text, to keep numbers as they are written. */
export function flatten(
  tree: JsonTree,
  cap: number,
  source?: string,
): { settings: Setting[]; duplicateKeys: JsonSettings['duplicateKeys']; skipped: Skipped[] } {
  const settings: Setting[] = [];
  const duplicateKeys: (Span & { path: string })[] = [];
  const skipped: Skipped[] = [];
  const visit = (node: Node, path: string, place: Node) => {
    if (settings.length >= cap || path.length > MAX_PATH) {
      if (skipped.length < MAX_ERRORS)
        skipped.push({
          line: tree.index.lineAt(place.offset),
          why: path.length > MAX_PATH ? 'path too long' : 'too many settings',
        });
      return;
    }
    const container = node.type === 'object' || node.type === 'array';
    const type = node.type === 'property' ? 'object' : node.type;
    const value = container ? null : (node.value as Setting['value']);
    const raw = type === 'number' && source !== undefined ? source.slice(node.offset, node.offset + node.length) : null;
    const written = raw === null || raw === String(value) ? {} : { written: raw };
    if (path !== '' || !container)
      settings.push({ ...tree.index.span(place.offset, place.length), path, value, type, ...written });
    const below = path === '' ? '' : `${path}.`;
    if (node.type === 'array') {
      for (const [i, child] of (node.children ?? []).entries()) {
        visit(child, `${below}${i}`, child);
        if (settings.length >= cap) break;
      }
    } else if (node.type === 'object') {
      const seen = new Set<string>();
      for (const property of node.children ?? []) {
        const [key, child] = property.children ?? [];
        if (key === undefined || child === undefined) continue;
        const name = String(key.value);
        if (seen.has(name))
          duplicateKeys.push({ ...tree.index.span(property.offset, property.length), path: below + name });
        seen.add(name);
        visit(child, below + name, property);
        if (settings.length > cap) break;
      }
    }
  };
  if (tree.root !== undefined) visit(tree.root, '', tree.root);
  return { settings, duplicateKeys, skipped };
}
