import type { BundleJson, ManifestEnd, ManifestHead, ManifestRecord } from './json.ts';
import { bundleJson, manifestEnd, manifestHead, manifestRecord, parseJson } from './json.ts';
import { Refusal } from './model.ts';

/** The format version this reader understands (`minReader` of a bundle may not be above it). */
const READER = 1;
const BUNDLE_JSON_CAP = 256 * 1024;
const MANIFEST_CAP = 32 * 1024 * 1024;
/** JSON.parse of hostile text makes objects of some twenty times its size. */
const WHOLE_CAP = 8 * 1024 * 1024;
const SUMS_CAP = 16 * 1024 * 1024;
/** Lines that are no record, before the file counts as none of ours. */
const UNREADABLE = 1000;
const RECORDS = 50_000;

export interface Manifest {
  readonly head: ManifestHead | null;
  readonly records: readonly { readonly record: ManifestRecord; readonly line: number | undefined }[];
  readonly end: ManifestEnd | null;
  /** Its last lines are missing. */
  readonly cut: boolean;
  /** Lines that are no record. */
  readonly unreadable: readonly number[];
}

/** bundle.json; null when it is no JSON of that shape. Throws Refusal for a bundle that needs a newer reader. */
export function readBundleJson(bytes: Uint8Array): BundleJson | null {
  if (bytes.length > BUNDLE_JSON_CAP) return null;
  const parsed = bundleJson.safeParse(parseJson(textOf(bytes), BUNDLE_JSON_CAP));
  if (!parsed.success) return null;
  checkReader(parsed.data.minReader);
  return parsed.data;
}

function checkReader(minReader: number | null | undefined): void {
  if (typeof minReader === 'number' && minReader > READER)
    throw new Refusal(
      'newer-format',
      `The bundle needs a reader of format ${minReader}, this netcase reads format ${READER}: upgrade netcase.`,
    );
}

/** manifest.json line by line, so that a cut copy gives what is left of it. Throws Refusal as readBundleJson does. */
export function readManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MANIFEST_CAP)
    throw new Refusal('manifest-too-large', 'manifest.json is over 32 MiB; no collector writes that.');
  const text = textOf(bytes);
  const byLine = readLines(text);
  checkReader(byLine.head?.minReader);
  if (!byLine.cut && byLine.unreadable.length === 0) return byLine;
  const whole = readWhole(text);
  checkReader(whole?.head?.minReader);
  return whole ?? byLine;
}

function readLines(text: string): Manifest {
  let at = text.indexOf('\n') + 1 || text.length;
  const first = text.slice(0, Math.min(at, 65_536)).trimEnd();
  const head = first.endsWith('[') ? manifestHead.safeParse(parseJson(`${first}]}`, 65_536)) : null;
  const records: { record: ManifestRecord; line: number }[] = [];
  const unreadable: number[] = [];
  let end: ManifestEnd | null = null;
  for (let number = 2; at < text.length && end === null && unreadable.length < UNREADABLE; number++) {
    const newline = text.indexOf('\n', at);
    const line = text.slice(at, newline < 0 ? text.length : newline);
    at = newline < 0 ? text.length : newline + 1;
    if (line.startsWith(']')) {
      end = manifestTail(line);
      if (end === null && newline >= 0) unreadable.push(number);
      continue;
    }
    const record = manifestRecord(parseJson(line.endsWith(',') ? line.slice(0, -1) : line, 1024 * 1024));
    if (record !== null) records.push({ record, line: number });
    else unreadable.push(number);
    tooMany(records.length);
  }
  if (end !== null && text.slice(at).trim() !== '') unreadable.push(records.length + unreadable.length + 3);
  return { head: head?.success ? head.data : null, records, end, cut: end === null, unreadable };
}

function manifestTail(line: string): ManifestEnd | null {
  const value = parseJson(`{"evidence":[${line}`, 65_536) as { end?: unknown } | undefined;
  const parsed = manifestEnd.safeParse(value?.end);
  return parsed.success ? parsed.data : null;
}

/** A manifest that something has re-formatted: valid JSON, but its records have no lines of their own. */
function readWhole(text: string): Manifest | null {
  const value = parseJson(text, WHOLE_CAP) as { evidence?: unknown; end?: unknown } | null | undefined;
  if (typeof value !== 'object' || value === null || !Array.isArray(value.evidence)) return null;
  const head = manifestHead.safeParse(value);
  const end = manifestEnd.safeParse(value.end);
  const records: { record: ManifestRecord; line: undefined }[] = [];
  const unreadable: number[] = [];
  for (const [i, item] of value.evidence.entries()) {
    if (unreadable.length >= UNREADABLE) break;
    const record = manifestRecord(item);
    if (record !== null) records.push({ record, line: undefined });
    else unreadable.push(i + 1);
    tooMany(records.length);
  }
  return {
    head: head.success ? head.data : null,
    records,
    end: end.success ? end.data : null,
    cut: !end.success,
    unreadable,
  };
}

function tooMany(count: number): void {
  if (count > RECORDS)
    throw new Refusal(
      'manifest-too-large',
      `manifest.json has more than ${RECORDS} records; no collector writes that.`,
    );
}

/** SHA256SUMS: path (as written, `./` and the root folder still on) -> hash; and the lines that are neither. */
export function readSums(bytes: Uint8Array): { readonly sums: Map<string, string>; readonly unreadable: number } {
  const sums = new Map<string, string>();
  let unreadable = 0;
  const text = bytes.length > SUMS_CAP ? '' : textOf(bytes);
  if (text === '' && bytes.length > 0) unreadable++;
  for (let at = 0; at < text.length && unreadable < UNREADABLE; ) {
    const newline = text.indexOf('\n', at);
    const line = text.slice(at, newline < 0 ? text.length : newline);
    at = newline < 0 ? text.length : newline + 1;
    if (line === '') {
      unreadable++;
      continue;
    }
    const m = /^([0-9a-f]{64}) [ *](.+)$/.exec(line);
    if (m === null || sums.has(m[2] as string)) unreadable++;
    else sums.set(m[2] as string, m[1] as string);
  }
  return { sums, unreadable };
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
