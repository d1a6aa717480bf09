import type { Bridges, SysfsAttributes } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';

/**
 * `brctl show`, with its tabs or copied with blanks. An indented word alone is one more port of the bridge above; the title needs no place.
 * Empty text is an answer: no bridge (bridge-utils 1.7 prints not even the title then).
 */
function readBridges(text: string): Parsed<Bridges> {
  const bridges: (Omit<Bridges['bridges'][number], 'ports' | 'endLine'> & { ports: string[]; endLine: number })[] = [];
  const skipped: Skipped[] = [];
  let title = false;
  for (const { line, text: raw } of filledLines(text)) {
    const words = wordsOf(raw);
    const [name = '', id = '', stp = '', port] = words;
    const last = bridges.at(-1);
    if (/^bridge name\s+bridge id\s/.test(raw)) title = true;
    else if (/^\s/.test(raw) && words.length === 1) {
      if (last === undefined) skipped.push({ line, why: 'a port without a bridge' });
      else {
        last.ports.push(name);
        last.endLine = line;
      }
    } else if (words.length <= 4 && /^[0-9a-f]{4}\.[0-9a-f]{12}$/i.test(id) && /^(yes|no)$/.test(stp))
      bridges.push({ name, id, stp: stp === 'yes', ports: port === undefined ? [] : [port], line, endLine: line });
    else skipped.push({ line, why: 'no bridge' });
  }
  if (bridges.length === 0 && skipped.length > 0 && !title) return { ok: false, why: skipped[0]!.why };
  return { ok: true, value: { bridges }, skipped };
}

/** `grep -sH '' /sys/class/net/...`: device names have no slash and no colon. */
function readSysfs(text: string): Parsed<SysfsAttributes> {
  const entries: SysfsAttributes['entries'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const m = /^\/sys\/(?:class|devices\/virtual)\/net\/([^/:\s]+)\/([^:\s]+):(.*)$/.exec(raw);
    if (m === null) skipped.push({ line, why: 'no attribute of a device' });
    else entries.push({ dev: m[1]!, attr: m[2]!, value: m[3]!.trim(), line });
  }
  if (entries.length === 0 && skipped.length > 0) return { ok: false, why: 'no attribute of a device' };
  return { ok: true, value: { entries }, skipped };
}

export const parsers = [
  defineParser({ fact: 'bridges', evidence: ['bridge.brctl-show'], version: 1, parse: readBridges }),
  defineParser({ fact: 'sysfs', evidence: ['bridge.sysfs'], version: 1, parse: readSysfs }),
];
