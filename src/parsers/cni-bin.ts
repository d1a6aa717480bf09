import type { CniBin } from '../facts/containers.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { filledLines } from './line-index.ts';

/** Mode, links, owner, group, size, time and name; GNU and busybox, times of the C locale or ISO. A dot or plus behind the mode is SELinux or an access list. */
const ENTRY =
  /^([-dlbcps])([r-][w-][xsS-][r-][w-][xsS-][r-][w-][xtT-])[.+@]?\s+\d+\s+\S+\s+\S+\s+(\d+)\s+(?:[A-Z][a-z]{2}\s+\d{1,2}\s+(?:\d{4}|\d{1,2}:\d{2})|\d{4}-\d{2}-\d{2}\s+\d{2}:\d{2}\S*(?:\s+[+-]\d{4})?)\s(.+)$/;

/** `ls -l /opt/cni/bin`. */
function readListing(text: string): Parsed<CniBin> {
  const files: CniBin['files'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    if (/^total \d+\s*$/.test(raw)) continue;
    const entry = ENTRY.exec(raw.trimEnd());
    if (entry === null) {
      skipped.push({ line, why: 'no line of ls -l' });
      continue;
    }
    const [, type = '', mode = '', size = '', rest = ''] = entry;
    const [name = '', target] = type === 'l' ? rest.split(' -> ') : [rest];
    // capital letters: set, but without the right to execute
    const executable = /[xst]/.test(mode);
    files.push({ line, name, type, executable, size: Number(size), ...(target === undefined ? {} : { target }) });
  }
  if (files.length === 0 && skipped.length > 0) return { ok: false, why: 'no listing of a directory with ls -l' };
  return { ok: true, value: { files }, skipped };
}

export const parsers = [defineParser({ fact: 'cniBin', evidence: ['cni.bin'], version: 1, parse: readListing })];
