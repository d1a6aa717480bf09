import type { EvidenceRecord, EvidenceStatus } from '../core/evidence.ts';
import { evidenceAt, evidencePath, isEvidenceId } from '../core/evidence.ts';
import type { ManifestRecord } from './json.ts';
import type { PlacedFile } from './layout.ts';
import type { Manifest } from './manifest.ts';
import type { BundleMember, Problems } from './model.ts';
import { checkName, displayName } from './names.ts';

/** What the manifest and SHA256SUMS say about the files, and how far both may be believed. */
export interface CheckInput {
  readonly placed: ReadonlyMap<string, PlacedFile>;
  readonly manifest: Manifest;
  /** Path inside the bundle -> hash; null when there is no usable SHA256SUMS. */
  readonly sums: ReadonlyMap<string, string> | null;
  /** The manifest's own hash does not fit SHA256SUMS. */
  readonly manifestAltered: boolean;
  /** The input ends too early: what is not there may simply be lost. */
  readonly cut: boolean;
  /** The collector had no hash tool and the transport's checksum fits: bytes count without hashes. */
  readonly unhashed: boolean;
}

const STATUSES: ReadonlySet<string> = new Set<EvidenceStatus>([
  'ok',
  'failed',
  'timeout',
  'truncated',
  'missing',
  'absent',
  'denied',
  'skipped',
  'disabled',
]);
const WITH_FILE: ReadonlySet<string> = new Set(['ok', 'failed', 'timeout', 'truncated', 'unknown']);
const OWN = new Set(['bundle.json', 'manifest.json', 'SHA256SUMS', 'SHA256SUMS.hmac']);
const PATH_LIMITS = { name: 1024, depth: 32 };

/** Joins records and files: the evidence list in manifest order, then what the manifest does not name. */
export function checkMembers(
  input: CheckInput,
  problems: Problems,
): { readonly evidence: EvidenceRecord[]; readonly members: Map<string, BundleMember> } {
  const evidence: EvidenceRecord[] = [];
  const byPath = new Map<string, EvidenceRecord>();
  const stderrs = new Set<string>();
  const altered = new Set<string>();
  for (const { record, line } of input.manifest.records) {
    const own = ownRecord(record, line);
    if (own === null) {
      problems.add(
        'high',
        'record-path',
        `Record "${displayName(record.id)}" of manifest.json has an unusable path and was left out.`,
      );
      continue;
    }
    if (byPath.has(own.path)) {
      problems.add(
        'high',
        'duplicate-record',
        `manifest.json names "${displayName(own.path)}" more than once; the first record counts.`,
        {
          path: own.path,
        },
      );
      continue;
    }
    const judged = judge(own, input, problems);
    if (judged.status === 'altered') altered.add(own.path);
    byPath.set(own.path, judged);
    evidence.push(judged);
    if (judged.stderr !== undefined) stderrs.add(judged.stderr);
  }
  const members = new Map<string, BundleMember>();
  for (const [path, file] of input.placed) {
    if (altered.has(path)) continue;
    let record = byPath.get(path) ?? null;
    const isOwn = OWN.has(path);
    if (record === null && !isOwn) {
      const isStderr = stderrs.has(path) || path.endsWith('.err');
      if (sumsDisagree(path, file, input, problems)) {
        if (isStderr) continue;
        evidence.push({ ...unlisted(path, file), status: 'altered' });
        continue;
      }
      if (!isStderr) {
        record = foundRecord(path, file, input);
        evidence.push(record);
        if (!input.manifest.cut)
          problems.add(
            'medium',
            'added-member',
            `"${displayName(path)}" is in the bundle, but manifest.json does not name it: it was added later and is not read as evidence.`,
            {
              path,
              hashes: [file.sha256],
            },
          );
      }
    } else if (isOwn && path !== 'SHA256SUMS' && path !== 'manifest.json') sumsDisagree(path, file, input, problems);
    members.set(path, { sha256: file.sha256, bytes: file.bytes, record });
  }
  checkSumsPaths(input, byPath, problems);
  return { evidence, members };
}

/** A manifest's record with its fields picked; null when its path is unsafe. */
function ownRecord(r: ManifestRecord, line: number | undefined): EvidenceRecord | null {
  const raw = r.path ?? (isEvidenceId(r.id) ? evidencePath(r.id, r.instance ?? undefined) : `unknown/${r.id}`);
  const name = checkName(raw, PATH_LIMITS);
  const stderr = r.stderr == null ? null : checkName(r.stderr, PATH_LIMITS);
  if (!name.ok || name.path === '') return null;
  const instance = r.instance ?? evidenceAt(name.path)?.instance;
  const status = (STATUSES.has(r.status ?? '') ? r.status : 'unknown') as EvidenceStatus;
  const newer = status === 'unknown' && typeof r.status === 'string' ? `status "${displayName(r.status)}"` : null;
  const reason = r.reason ?? newer;
  return {
    id: r.id,
    path: name.path,
    ...(instance === undefined ? {} : { instance }),
    status,
    ...(r.rc === undefined ? {} : { rc: r.rc }),
    ...(reason === null ? {} : { reason }),
    ...(r.argv == null ? {} : { argv: r.argv }),
    ...(r.sha256 == null ? {} : { sha256: r.sha256 }),
    ...(r.bytes == null ? {} : { bytes: r.bytes }),
    ...(r.tool == null ? {} : { tool: r.tool }),
    ...(stderr?.ok ? { stderr: stderr.path } : {}),
    ...(r.redactions == null ? {} : { redactions: r.redactions }),
    ...(line === undefined ? {} : { manifestLine: line }),
    ...(r.ms == null ? {} : { ms: r.ms }),
  };
}

/** One record against its file. */
function judge(record: EvidenceRecord, input: CheckInput, problems: Problems): EvidenceRecord {
  const { path } = record;
  const file = input.placed.get(path);
  const shown = displayName(path);
  if (file === undefined) {
    if (record.status !== 'ok' && (record.sha256 === undefined || !WITH_FILE.has(record.status))) return record;
    if (input.cut) return { ...record, status: 'unknown', reason: 'lost: the archive ends before this file' };
    problems.add(
      'high',
      'removed-member',
      `manifest.json names "${shown}", but the bundle does not hold it: it was removed; collect again.`,
      { path },
    );
    return { ...record, status: 'unknown', reason: 'named by manifest.json, but not in the bundle' };
  }
  const expected = record.sha256 ?? null;
  const summed = input.sums?.get(path) ?? null;
  const trusted = input.manifestAltered && summed !== null ? summed : (expected ?? summed);
  if (trusted !== null && trusted !== file.sha256) {
    problems.add(
      'high',
      'altered',
      `"${shown}" is not what was collected (${file.cut ? 'it is cut' : 'its sha256 differs'}); it is not used. Ask for the original bundle or collect again.`,
      { path, hashes: [trusted, file.sha256] },
    );
    return { ...record, status: 'altered', reason: 'its sha256 differs from the one written at collection' };
  }
  if (summed !== null && summed !== file.sha256)
    problems.add(
      'medium',
      'sums-differ',
      `SHA256SUMS disagrees with manifest.json about "${shown}"; the manifest's hash fits and counts.`,
      {
        path,
        hashes: [summed, file.sha256],
      },
    );
  if (!WITH_FILE.has(record.status)) {
    problems.add(
      'medium',
      'unexpected-file',
      `manifest.json says "${record.status}" for "${shown}", but the bundle holds it; it is not read as evidence.`,
      { path },
    );
    return record;
  }
  if (file.cut) return { ...record, status: 'truncated', reason: 'the archive ends inside this file' };
  const length = file.bytes.length;
  if (trusted === null && !input.unhashed) {
    problems.add(
      'medium',
      'no-hash',
      `Neither manifest.json nor SHA256SUMS has a hash of "${shown}"; it cannot be told whether it was changed, so it is not used.`,
      { path },
    );
    return { ...record, status: 'unknown', reason: 'no hash of it was written' };
  }
  if (record.bytes !== undefined && record.bytes !== length) {
    problems.add(
      'medium',
      'length-differs',
      `manifest.json gives ${record.bytes} bytes for "${shown}", it has ${length}.`,
      { path },
    );
    if (trusted === null)
      return { ...record, status: 'altered', reason: 'its length differs from the one written at collection' };
  }
  return { ...record, sha256: file.sha256, bytes: length };
}

/** True (and a problem) when SHA256SUMS has another hash for a file that the manifest does not cover. */
function sumsDisagree(path: string, file: PlacedFile, input: CheckInput, problems: Problems): boolean {
  const summed = input.sums?.get(path);
  if (summed === undefined || summed === file.sha256) return false;
  problems.add(
    'high',
    'altered',
    `"${displayName(path)}" is not what was collected (its sha256 differs from SHA256SUMS); ask for the original bundle or collect again.`,
    {
      path,
      hashes: [summed, file.sha256],
    },
  );
  return true;
}

function unlisted(path: string, file: PlacedFile): EvidenceRecord {
  const at = evidenceAt(path);
  return {
    id: at?.kind.id ?? 'unlisted',
    path,
    ...(at?.instance === undefined ? {} : { instance: at.instance }),
    status: 'unknown',
    sha256: file.sha256,
    bytes: file.bytes.length,
  };
}

/** A file without a record: readable (but open-world) when the manifest was lost, not evidence when it is whole. */
function foundRecord(path: string, file: PlacedFile, input: CheckInput): EvidenceRecord {
  const record = unlisted(path, file);
  if (!input.manifest.cut) return { ...record, reason: 'not named by manifest.json' };
  const reason = file.cut
    ? 'the archive ends inside this file'
    : 'its record in manifest.json was lost: how the command ended is unknown';
  return { ...record, status: record.id === 'unlisted' ? 'unknown' : 'truncated', reason };
}

/** What SHA256SUMS lists and nobody has, and what it should list and does not. */
function checkSumsPaths(input: CheckInput, byPath: ReadonlyMap<string, EvidenceRecord>, problems: Problems): void {
  const { sums, placed, cut } = input;
  if (sums === null || sums.size === 0) return;
  for (const path of sums.keys())
    if (!placed.has(path) && !byPath.has(path) && !cut)
      problems.add(
        'medium',
        'removed-member',
        `SHA256SUMS lists "${displayName(path)}", but the bundle does not hold it.`,
        { path },
      );
  for (const path of placed.keys())
    if (!sums.has(path) && byPath.has(path))
      problems.add('low', 'not-summed', `SHA256SUMS does not list "${displayName(path)}".`, { path });
  if (placed.has('bundle.json') && !sums.has('bundle.json'))
    problems.add(
      'low',
      'not-summed',
      'SHA256SUMS does not list bundle.json: who the bundle says it is from is not protected.',
    );
}
