import type { XfrmPolicies, XfrmPolicy } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { filledLines } from './line-index.ts';

type Draft = { -readonly [K in keyof XfrmPolicy]?: XfrmPolicy[K] | undefined } & { unknown: string[]; lines: number[] };

const SELECTOR = new Set(['sport', 'dport', 'type', 'code']);
/** What `-s` adds, and what says nothing of which packets are meant. */
const TELLS_NOTHING = new Set(['index', 'share', 'uid', 'flag']);

/** `src 10.9.0.0/16 dst 0.0.0.0/0 proto icmp type 8 code 0` (xfrm_selector_print of iproute2). */
function readSelector(words: readonly string[], line: number): Draft {
  const draft: Draft = { lines: [line], unknown: [], templates: 0 };
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [key, value] = [words[i] ?? '', words[i + 1] ?? ''];
    if (key === 'src' || key === 'dst' || key === 'proto') draft[key] = value;
    else if (SELECTOR.has(key) && /^\d+$/.test(value)) draft[key as 'sport'] = Number(value);
    else if (!TELLS_NOTHING.has(key)) draft.unknown.push(`${key} ${value}`);
  }
  return draft;
}

/** `dir out action block index 8 priority 0 ptype main share any flag  (0x00000000)`. */
function readDirection(draft: Draft, words: readonly string[]): void {
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [key, value] = [words[i] ?? '', words[i + 1] ?? ''];
    if (key === 'socket') draft.direction = 'socket';
    else if (key === 'dir' && (value === 'in' || value === 'fwd' || value === 'out')) draft.direction = value;
    else if (key === 'action' && (value === 'allow' || value === 'block')) draft.action = value;
    else if (key === 'priority' && /^\d+$/.test(value)) draft.priority = Number(value);
    else if (key === 'ptype') {
      if (value !== 'main') draft.unknown.push(`ptype ${value}`);
    } else if (key === 'flag') return;
    else if (!TELLS_NOTHING.has(key)) draft.unknown.push(`${key} ${value}`);
  }
}

/** A line under a policy; what belongs to a template is indented twice. */
function readMore(draft: Draft, text: string): void {
  if (/^\t\t|^\s{9,}/.test(text)) return;
  const words = text.trim().split(/\s+/);
  const [first, second = ''] = words;
  if (first === 'dir' || first === 'socket') readDirection(draft, words);
  else if (first === 'tmpl') draft.templates = (draft.templates ?? 0) + 1;
  else if (first === 'mark') {
    const [, value, mask] = /^(0x[0-9a-f]+|\d+)\/(0x[0-9a-f]+|\d+)$/.exec(second) ?? [];
    if (value === undefined) draft.unknown.push(words.join(' '));
    else draft.mark = { value: Number(value), mask: Number(mask) };
  } else if (first === 'if_id') {
    if (/^(0x[0-9a-f]+|\d+)$/.test(second)) draft.ifId = Number(second);
    else draft.unknown.push(words.join(' '));
  } else if (first === 'security' || first === 'crypto') draft.unknown.push(words.join(' '));
}

function finished(draft: Draft): XfrmPolicy | null {
  const { src, dst, direction, priority = 0, action = 'allow', templates = 0, unknown, lines, ...rest } = draft;
  if (src === undefined || dst === undefined || direction === undefined) return null;
  const more = unknown.length === 0 ? {} : { unknown };
  const place = { line: lines[0] ?? 1, ...(lines.length === 1 ? {} : { endLine: lines.at(-1) }) };
  return present({ src, dst, direction, action, priority, templates, ...place, ...more, ...rest }) as XfrmPolicy;
}

/** `ip xfrm policy`, with or without `-s`. */
function readPolicies(text: string): Parsed<XfrmPolicies> {
  const drafts: Draft[] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const last = drafts.at(-1);
    if (/^src \S+ dst \S+/.test(raw)) drafts.push(readSelector(raw.trim().split(/\s+/), line));
    else if (last !== undefined && /^\s/.test(raw)) {
      readMore(last, raw);
      last.lines.push(line);
    } else skipped.push({ line, why: 'no policy of IPsec' });
  }
  const policies: XfrmPolicy[] = [];
  for (const draft of drafts) {
    const policy = finished(draft);
    if (policy !== null) policies.push(policy);
    else for (const line of draft.lines) skipped.push({ line, why: 'a policy without its direction' });
  }
  if (policies.length === 0 && skipped.length > 0) return { ok: false, why: 'no policy of IPsec' };
  return { ok: true, value: { policies }, skipped: skipped.sort((a, b) => a.line - b.line) };
}

export const parsers = [
  defineParser({ fact: 'xfrmPolicies', evidence: ['ip.xfrm-policy'], version: 1, parse: readPolicies }),
];
