import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import type { UnitFiles } from '../facts/settings.ts';

/** `systemctl cat` writes the path of each file above it. */
const HEADER = /^# (\/\S+\.(?:service|socket|conf|slice|target|timer|mount|path|scope))\s*$/;
/** Words of `systemctl show` that no unit file has: from the first of them on, KEY=VALUE lines are properties. */
const SHOWN =
  /^(ActiveState|SubState|LoadState|UnitFileState|FragmentPath|DropInPaths|Id|Names|Result|NRestarts|MainPID|ExecMain\w+|\w+Timestamp(Monotonic)?)$/;
const INSTALL = new Set(['Alias', 'WantedBy', 'RequiredBy', 'UpheldBy', 'Also', 'DefaultInstance']);

/** systemctl cat, then systemctl show. Understood beside entries: headers, sections, comments, blank lines. */
function readUnits(text: string): Parsed<UnitFiles> {
  const entries: UnitFiles['entries'][number][] = [];
  const properties: UnitFiles['properties'][number][] = [];
  const skipped: Skipped[] = [];
  const lines = text.split('\n').map((raw) => raw.replace(/\r$/, ''));
  let file = '';
  let section = '';
  let showing = false;
  for (let i = 0; i < lines.length; i += 1) {
    const line = i + 1;
    let raw = lines[i]!;
    if (raw.trim() === '') continue;
    const header = HEADER.exec(raw);
    if (header !== null) {
      [file, section, showing] = [header[1]!, '', false];
      continue;
    }
    if (/^\s*[#;]/.test(raw)) continue;
    const title = /^\s*\[([^\]]+)\]\s*$/.exec(raw);
    if (title !== null) {
      [section, showing] = [title[1]!, false];
      continue;
    }
    const m = /^\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*(.*)$/.exec(raw);
    if (m === null) {
      skipped.push({ line, why: 'no unit file line' });
      continue;
    }
    const key = m[1]!;
    if (!showing && (SHOWN.test(key) || section === '' || (section === 'Install' && !INSTALL.has(key)))) showing = true;
    if (showing) {
      properties.push({ line, key, value: m[2]! });
      continue;
    }
    const parts: string[] = [];
    raw = m[2]!;
    // comments between continued lines are dropped, as systemd does
    while (raw.endsWith('\\') && i + 1 < lines.length) {
      parts.push(raw.slice(0, -1).trim());
      do i += 1;
      while (i + 1 < lines.length && /^\s*[#;]/.test(lines[i]!));
      raw = lines[i]!;
    }
    parts.push(raw.trim());
    entries.push({ line, endLine: i + 1, file, section, key, value: parts.filter((part) => part !== '').join(' ') });
  }
  if (entries.length + properties.length === 0 && skipped.length > 0) return { ok: false, why: 'no unit file' };
  return { ok: true, value: { entries, properties }, skipped };
}

export const parsers = [
  defineParser({ fact: 'dockerUnit', evidence: ['docker.unit'], version: 1, parse: readUnits }),
  defineParser({ fact: 'kubeletUnit', evidence: ['kubelet.unit'], version: 1, parse: readUnits }),
];
