import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import type { Setting, Settings } from '../facts/settings.ts';
import { LineIndex } from './line-index.ts';
import { readKey, readValue, skipBlank, TomlError } from './toml-value.ts';

/** TOML as containerd writes it, flattened: `plugins.io.containerd.grpc.v1.cri.containerd.runtimes.runc.options.SystemdCgroup`. Tables are settings of type object. */
function readToml(source: string): Parsed<Settings> {
  const text = source.charCodeAt(0) === 0xfeff ? ` ${source.slice(1)}` : source;
  const index = new LineIndex(text);
  const settings: Setting[] = [];
  const skipped: Skipped[] = [];
  const counts = new Map<string, number>();
  let prefix = '';
  let at = 0;
  for (;;) {
    at = skipBlank(text, at, true);
    if (at >= text.length) break;
    const start = at;
    try {
      if (text[at] === '[') {
        const list = text[at + 1] === '[';
        const key = readKey(text, at + (list ? 2 : 1));
        at = key.end;
        if (!text.startsWith(list ? ']]' : ']', at)) throw new TomlError('no ]', start);
        at += list ? 2 : 1;
        const n = counts.get(key.path) ?? 0;
        if (list) counts.set(key.path, n + 1);
        const path = list ? `${key.path}.${n}` : key.path;
        prefix = `${path}.`;
        settings.push({ ...index.span(start, at - start), path, value: null, type: 'object' });
      } else {
        const key = readKey(text, at);
        if (text[key.end] !== '=') throw new TomlError('no =', start);
        const leaves: Parameters<typeof readValue>[3] = [];
        at = readValue(text, skipBlank(text, key.end + 1, false), prefix + key.path, leaves, 0);
        for (const [i, leaf] of leaves.entries()) {
          const from = i === 0 ? start : leaf.at;
          settings.push({ ...index.span(from, leaf.end - from), path: leaf.path, value: leaf.value, type: leaf.type });
        }
      }
      at = skipBlank(text, at, false);
      if (at < text.length && text[at] !== '\n' && text[at] !== '#') throw new TomlError('text behind the value', at);
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      skipped.push({ line: index.lineAt(start), why: `TOML: ${error.message}` });
      const stop = text.indexOf('\n', Math.max(at, start));
      at = stop < 0 ? text.length : stop;
    }
  }
  if (settings.length === 0 && skipped.length > 0) return { ok: false, why: 'no TOML' };
  return { ok: true, value: { settings }, skipped };
}

export const parsers = [
  defineParser({ fact: 'containerdConfig', evidence: ['cri.containerd-config'], version: 1, parse: readToml }),
];
