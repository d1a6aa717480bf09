import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments } from 'yaml';
import type { Span } from '../core/span.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import type { Setting, Settings } from '../facts/settings.ts';
import { depthOf, MAX_DEPTH } from './json-tree.ts';

const MAX_CHARS = 1024 * 1024;
const MAX_SETTINGS = 20_000;
/** After so many errors a reader is guessing. */
const MAX_ERRORS = 20;
/** Each alias is looked up by a walk over the document. */
const MAX_ALIASES = 10;

/** Brackets closed that nothing opened: the reader spends 9 us on each, which 1 MiB of `}` would turn into 9 s. */
function strayClosers(text: string): number {
  let depth = 0;
  let stray = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 123 || c === 91) depth += 1;
    else if (c === 125 || c === 93) {
      if (depth > 0) depth -= 1;
      else stray += 1;
    }
  }
  return stray;
}

/** Indentation can nest as brackets do, and `- - -` does so on one line: the reader is recursive, so both are bounded before it runs. */
function tooDeep(text: string): boolean {
  if (depthOf(text) > MAX_DEPTH || strayClosers(text) > MAX_DEPTH) return true;
  const levels: number[] = [];
  for (const line of text.split('\n')) {
    const indent = line.search(/[^ \t?-]|$/);
    while (levels.length > 0 && levels[levels.length - 1]! >= indent) levels.pop();
    levels.push(indent);
    let dashes = 0;
    for (let i = 0; i < indent; i += 1) if (line[i] === '-' || line[i] === '?') dashes += 1;
    if (levels.length > MAX_DEPTH || dashes > MAX_DEPTH) return true;
  }
  return false;
}

function scalar(value: unknown): Pick<Setting, 'value' | 'type'> {
  if (typeof value === 'string') return { value, type: 'string' };
  if (typeof value === 'boolean') return { value, type: 'boolean' };
  if (typeof value === 'number') return { value, type: 'number' };
  return value === null || value === undefined
    ? { value: null, type: 'null' }
    : { value: String(value), type: 'string' };
}

/** The first document of a YAML (or JSON) file, flattened, each setting with the lines of its key and value. */
function readYaml(text: string): Parsed<Settings> {
  if (text.length > MAX_CHARS) return { ok: false, why: 'more than 1 MiB of YAML' };
  if (tooDeep(text))
    return { ok: false, why: `nested deeper than ${MAX_DEPTH}, or as many brackets closed that none opened` };
  const lines = new LineCounter();
  const settings: Setting[] = [];
  const skipped: Skipped[] = [];
  let aliases = 0;
  const span = (from: number, to: number): Span => {
    const line = Math.max(1, lines.linePos(from).line);
    return { line, endLine: Math.max(line, lines.linePos(Math.max(from, to - 1)).line) };
  };
  try {
    const documents = parseAllDocuments(text.replace(/^\uFEFF/, ' '), {
      lineCounter: lines,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'silent',
    });
    const [document, ...rest] = Array.isArray(documents)
      ? documents.filter((d) => d.contents !== null || d.errors.length > 0)
      : [];
    if (document === undefined) return { ok: true, value: { settings }, skipped };
    for (const e of document.errors.slice(0, MAX_ERRORS))
      skipped.push({ line: Math.max(1, lines.linePos(e.pos[0]).line), why: `YAML: ${e.code}` });
    for (const other of rest)
      skipped.push({ line: span(other.range[0], other.range[0]).line, why: 'a second YAML document' });
    const visit = (node: Node | null, path: string, from: number, depth: number) => {
      const range = node?.range ?? [from, from, from];
      if (settings.length >= MAX_SETTINGS || depth > MAX_DEPTH) {
        if (skipped.length < MAX_ERRORS)
          skipped.push({
            line: span(from, from).line,
            why: depth > MAX_DEPTH ? 'nested too deep' : 'too many settings',
          });
        return;
      }
      if (node !== null && isAlias(node)) {
        aliases += 1;
        const target = aliases > MAX_ALIASES ? undefined : node.resolve(document);
        if (target === undefined) skipped.push({ line: span(from, from).line, why: 'alias not followed' });
        else visit(target as Node, path, from, depth + 1);
        return;
      }
      const place = span(from, Math.max(from, range[1]));
      if (isMap(node) || isSeq(node)) {
        if (path !== '') settings.push({ ...place, path, value: null, type: isMap(node) ? 'object' : 'array' });
        const below = path === '' ? '' : `${path}.`;
        for (const [i, item] of node.items.entries()) {
          if (settings.length >= MAX_SETTINGS) break;
          if (isSeq(node))
            visit(item as Node | null, `${below}${i}`, (item as Node | null)?.range?.[0] ?? from, depth + 1);
          else {
            const { key, value } = item as Pair<Node, Node | null>;
            const name = isScalar(key) ? String(key.value) : '?';
            if (name.length + path.length <= 1024) visit(value, below + name, key?.range?.[0] ?? from, depth + 1);
          }
        }
      } else if (path !== '') settings.push({ ...place, path, ...scalar(isScalar(node) ? node.value : null) });
      else skipped.push({ line: place.line, why: 'a bare word is no configuration' });
    };
    visit(document.contents as Node | null, '', 0, 0);
  } catch (error) {
    return { ok: false, why: `YAML: ${error instanceof Error ? error.message.slice(0, 200) : 'unreadable'}` };
  }
  if (settings.length === 0 && skipped.length > 0) return { ok: false, why: skipped[0]!.why };
  return { ok: true, value: { settings }, skipped };
}

export const parsers = [
  defineParser({ fact: 'kubeletConfig', evidence: ['kubelet.config'], version: 1, parse: readYaml }),
  defineParser({ fact: 'kubeProxyConfig', evidence: ['kubelet.kube-proxy-config'], version: 1, parse: readYaml }),
];
