import { type Node, type ParseError, parseTree } from 'jsonc-parser';
import type { Span } from '../core/span.ts';
import type { Skipped } from '../facts/parser.ts';
import { scanJson } from './json-scan.ts';
import { depthOf, MAX_DEPTH } from './json-tree.ts';
import { LineIndex } from './line-index.ts';

export type JsonValue = string | number | boolean | null | JsonRecord | readonly JsonValue[];

/** One JSON object with its place. Of a repeated key the first wins: `ip -j route` prints an encapsulation's `dst` after the route's. */
export class JsonRecord {
  readonly span: Span;
  /** In file order. */
  readonly fields: ReadonlyMap<string, JsonValue>;

  constructor(span: Span, fields: ReadonlyMap<string, JsonValue>) {
    this.span = span;
    this.fields = fields;
  }

  text(key: string): string | undefined {
    const value = this.fields.get(key);
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  number(key: string): number | undefined {
    const value = this.fields.get(key);
    return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  }

  /** true/false, 1/0 (bridge options are numbers), "on"/"off". */
  flag(key: string): boolean | undefined {
    const value = this.fields.get(key);
    if (value === true || value === 1 || value === 'on') return true;
    return value === false || value === 0 || value === 'off' ? false : undefined;
  }

  record(key: string): JsonRecord | undefined {
    const value = this.fields.get(key);
    return value instanceof JsonRecord ? value : undefined;
  }

  /** Objects of an array; the empty ones that iproute2 4.x prints are left out. */
  records(key: string): readonly JsonRecord[] {
    return recordsOf(this.fields.get(key) ?? null);
  }

  texts(key: string): readonly string[] {
    const value = this.fields.get(key);
    return Array.isArray(value) ? value.filter((v): v is string => typeof v === 'string' && v !== '') : [];
  }
}

/** Names all lines of an object that could not be used. */
export function skipRecord(skipped: Skipped[], record: JsonRecord, why: string): void {
  const { line, endLine = line } = record.span;
  for (let at = line; at <= endLine; at += 1) skipped.push({ line: at, why });
}

function recordsOf(value: JsonValue): readonly JsonRecord[] {
  return Array.isArray(value) ? value.filter((v): v is JsonRecord => v instanceof JsonRecord && v.fields.size > 0) : [];
}

/**
 * The objects of `ip -j` output, which is one array. Blank text is an empty list: old iproute2 prints nothing.
 * In a cut or broken text only what stands whole before the first error counts. A string says why nothing can be read.
 */
export function readRecords(text: string): { records: readonly JsonRecord[]; skipped: Skipped[] } | string {
  if (text.trim() === '') return { records: [], skipped: [] };
  const index = new LineIndex(text);
  const plain = scanJson(
    text,
    MAX_DEPTH,
    (offset, length, fields) => new JsonRecord(index.span(offset, length), fields),
  );
  if (Array.isArray(plain) && plain.every((v) => v instanceof JsonRecord))
    return { records: recordsOf(plain), skipped: [] };
  if (depthOf(text) > MAX_DEPTH) return `nested deeper than ${MAX_DEPTH}`;
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
  if (root?.type !== 'array') return 'not a JSON array';
  const skipped: Skipped[] = [];
  const records: JsonRecord[] = [];
  let limit = errors[0]?.offset ?? text.length;
  const children = (root.children ?? []).filter((child) => child.offset < limit);
  // what holds the first error, or ends at it without its bracket, is the last one before it
  const last = children.at(-1);
  if (errors.length > 0 && last !== undefined && !isWhole(last, limit, text)) limit = (children.pop() as Node).offset;
  for (const child of children) {
    if (child.type !== 'object') skipped.push({ line: index.lineAt(child.offset), why: 'JSON: no object' });
    else {
      const record = readValue(child, index) as JsonRecord;
      if (record.fields.size > 0) records.push(record);
    }
  }
  if (errors.length > 0) skipBroken(skipped, index.lineAt(limit), text);
  if (records.length === 0 && skipped.length > 0) return 'broken JSON';
  return { records, skipped };
}

/** It ends before the limit and a strict reader accepts it. */
function isWhole(node: Node, limit: number, text: string): boolean {
  const end = node.offset + node.length;
  if (node.length <= 0 || end > limit) return false;
  try {
    JSON.parse(text.slice(node.offset, end));
    return true;
  } catch {
    return false;
  }
}

/** Names all filled lines from the first error on: what stands there was not read. */
function skipBroken(skipped: Skipped[], first: number, text: string): void {
  const lines = text.split('\n');
  for (let line = first; line <= lines.length; line += 1)
    if (line === first || lines[line - 1]!.trim() !== '') skipped.push({ line, why: 'JSON: broken from here on' });
}

function readValue(node: Node, index: LineIndex): JsonValue {
  if (node.type === 'array') return (node.children ?? []).map((child) => readValue(child, index));
  if (node.type !== 'object') return node.value as string | number | boolean | null;
  const fields = new Map<string, JsonValue>();
  for (const property of node.children ?? []) {
    const [key, value] = property.children ?? [];
    if (key !== undefined && value !== undefined && !fields.has(key.value))
      fields.set(key.value, readValue(value, index));
  }
  return new JsonRecord(index.span(node.offset, node.length), fields);
}
