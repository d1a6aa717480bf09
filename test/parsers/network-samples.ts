import { expect } from 'vitest';
import type { FactKind } from '../../src/facts/index.ts';
import type { Skipped } from '../../src/facts/parser.ts';
import { parserOf } from './firewall-docker-samples.ts';

export const NETWORK_KINDS = [
  'hostname',
  'uname',
  'osRelease',
  'modules',
  'cgroup',
  'sysctl',
  'addresses',
  'links',
  'linksJson',
  'netnsIds',
  'routes4',
  'routes6',
  'rules4',
  'rules6',
  'neighbours',
  'fdb',
  'qdiscs',
  'xfrmPolicies',
  'bridgePorts',
  'bridges',
  'sysfs',
  'sockets',
  'netnsAddresses',
  'netnsLinks',
  'netnsRoutes4',
  'netnsRoutes6',
  'netnsRules4',
  'netnsNeighbours',
  'netnsSysctl',
  'netnsSockets',
  'netnsIndex',
] as const satisfies readonly FactKind[];

/** Lines that parsers understand and that hold no value: titles of tables, comments, brackets of printed JSON, and all of a cgroup text. */
const titles =
  /^(bridge name\s+bridge id\s|Netid\s+State\s|State\s+Recv-Q\s|Proto\s+Recv-Q\s|Active Internet connections|Kernel IP routing table\s*$|Module\s+Size\s+Used by|\s*Destination\s+Gateway\s+Genmask\s+Flags\s+Metric\s|\s*Iface\s+Destination\s+Gateway\s|IP address\s+HW type\s|Address\s+HWtype\s)/;
const brackets = /^\s*[[\]{},\s]+\s*$/;

interface Place {
  readonly line: number;
  readonly endLine?: number;
  readonly col?: number;
  readonly length?: number;
}

/** Every object with a line inside a value. */
export function placesOf(value: unknown, found: Place[] = []): Place[] {
  if (typeof value !== 'object' || value === null) return found;
  if ('line' in value && typeof value.line === 'number') found.push(value as Place);
  for (const v of Object.values(value)) placesOf(v, found);
  return found;
}

/** Parses and checks what every parser promises: places inside the text, and no line that is neither in the value nor skipped. */
export function accounted(kind: FactKind, text: string): { value: unknown; skipped: readonly Skipped[] } | null {
  const parsed = parserOf(kind).parse(text);
  if (!parsed.ok) {
    expect(parsed.why).not.toBe('');
    return null;
  }
  const lines = text.split('\n');
  const seen = new Uint8Array(lines.length + 1);
  for (const { line, why } of parsed.skipped) {
    expect(why).not.toBe('');
    expect(line >= 1 && line <= lines.length).toBe(true);
    seen[line] = 1;
  }
  for (const { line, endLine = line, col, length } of placesOf(parsed.value)) {
    if (!(line >= 1 && endLine >= line && endLine <= lines.length)) expect.fail(`${kind}: lines ${line} to ${endLine}`);
    seen.fill(1, line, endLine + 1);
    if (col === undefined || length === undefined) continue;
    const object = lines[line - 1]!.slice(col - 1, col - 1 + length);
    if (!(object.startsWith('{') && object.endsWith('}'))) expect.fail(`${kind}: column ${col}: ${object}`);
  }
  const lost = lines.flatMap((raw, i) =>
    seen[i + 1] === 1 ||
    raw.replace('\uFEFF', '').trim() === '' ||
    titles.test(raw) ||
    understood(kind, raw, /\\\r?$/.test(lines[i - 1] ?? ''))
      ? []
      : [`${i + 1}: ${raw.slice(0, 80)}`],
  );
  expect(lost).toEqual([]);
  return parsed;
}

function understood(kind: FactKind, raw: string, continued: boolean): boolean {
  if (kind === 'cgroup') return true;
  // comments; of a continued line that is no KEY=value only the first line is named
  if (kind === 'osRelease') return /^\s*[#;]/.test(raw.replace('\uFEFF', '')) || continued || /\\\r?$/.test(raw);
  return brackets.test(raw);
}
