import { LineIndex } from '../parsers/line-index.ts';
import type { Cite } from '../rule/index.ts';

/** Lines around a cite, for the report. */
export interface Excerpt {
  /** Text of the cited lines, joined by newlines and clipped; `text` of a cite in JSON. */
  readonly text: string;
  /** Numbered lines from at most three before to three after, each clipped; none where only the text was asked for. */
  readonly context: readonly { readonly line: number; readonly text: string; readonly cited: boolean }[];
}

const CLIP = 400;
const MAX_LINES = 12;

/** A cite with its text, as reports print it. `excerpt` is absent for absences and records. */
export type ResolvedCite = Cite & { readonly excerpt?: Excerpt };

export function clip(text: string, limit = CLIP): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}

/** Offsets of a line's start and end (without newline); null past the end of the text. Lines count from 1. */
function lineBounds(text: string, line: number, from: { line: number; at: number }): [number, number] | null {
  let at = from.at;
  for (let n = from.line; n < line; n += 1) {
    const next = text.indexOf('\n', at);
    if (next < 0) return null;
    at = next + 1;
  }
  if (at > text.length || (at === text.length && at > 0 && text[at - 1] === '\n')) return null;
  const end = text.indexOf('\n', at);
  return [at, end < 0 ? text.length : end];
}

/** Of a ruleset many lines are cited: where the lines of the large texts that were cited last start. */
const LARGE = 64 * 1024;
const KEPT_TEXTS = 2;
let known: readonly { readonly text: string; readonly lines: LineIndex }[] = [];

/** A line at or before the one that is looked for. */
function near(text: string, line: number): { line: number; at: number } {
  if (text.length < LARGE) return { line: 1, at: 0 };
  let index = known.find((k) => k.text === text);
  if (index === undefined) {
    index = { text, lines: new LineIndex(text) };
    known = [index, ...known].slice(0, KEPT_TEXTS);
  }
  return { line, at: index.lines.startOf(line) };
}

/** `around`: lines of context on each side; 0: the cited text alone, which is all that is shown of a proof. */
export function resolveCite(
  cite: Cite,
  textOf: (node: string, path: string) => string | null,
  around: 0 | 3 = 3,
): ResolvedCite {
  if (cite.kind !== 'lines') return cite;
  const text = textOf(cite.node, cite.path);
  if (text === null) return cite;
  const from = Math.max(1, cite.line - around);
  const to = Math.min(cite.endLine, cite.line + MAX_LINES - 1) + around;
  const context: { line: number; text: string; cited: boolean }[] = [];
  const cited: string[] = [];
  let pos = near(text, from);
  for (let n = from; n <= to; n += 1) {
    const bounds = lineBounds(text, n, pos);
    if (bounds === null) break;
    pos = { line: n, at: bounds[0] };
    let content = text.slice(bounds[0], bounds[1]).replace(/\r$/, '');
    const isCited = n >= cite.line && n <= cite.endLine;
    if (isCited && cite.col !== undefined) content = window(content, cite.col, cite.length ?? CLIP);
    if (around > 0) context.push({ line: n, text: clip(content), cited: isCited });
    if (isCited) cited.push(clip(content));
  }
  if (cited.length === 0) return cite;
  return { ...cite, excerpt: { text: clip(cited.join('\n'), 2000), context } };
}

/** One-line JSON of 30 kB: show the object that is meant, not the file. */
function window(content: string, col: number, length: number): string {
  const start = Math.max(0, col - 1);
  const body = content.slice(start, start + length);
  return `${start > 0 ? '…' : ''}${body}${start + length < content.length ? '…' : ''}`;
}
