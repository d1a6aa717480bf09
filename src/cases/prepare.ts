import type { BundleProblem, Limits, ReadBundle, ReadResult } from '../bundle/index.ts';
import { readInput } from '../bundle/index.ts';
import type { EvidenceRecord } from '../core/evidence.ts';
import type { NodeEvidence, NodeResult } from '../engine/index.ts';
import { judgeNode, NodeFacts } from '../engine/index.ts';
import { netDigest } from '../net/owners.ts';
import type { AnyRule, NodeInfo } from '../rule/index.ts';
import type { EncodedBlob } from '../store/blob.ts';
import { encodeBlob } from '../store/blob.ts';
import type { BlobEncoder } from '../store/encoder.ts';
import { decodeEvidence } from './evidence-text.ts';
import { packJson } from './packed-json.ts';

/** One input, read and judged beside its bytes: everything the case file needs, and nothing that grows with the bundle's text. */
export interface Prepared {
  readonly bundle: Omit<ReadBundle, 'members' | 'archive'>;
  readonly evidence: EncodedBlob;
  readonly blobs: readonly EncodedBlob[];
  /** null when only ingesting. */
  readonly result: EncodedResult | null;
  /** Who owns which address (src/net/owners.ts), as JSON. */
  readonly owners: string;
}

/** A NodeResult as it is cached: the digests apart, because each is read by one rule only. */
export interface EncodedResult {
  readonly main: Uint8Array;
  readonly digests: Readonly<Record<string, Uint8Array>>;
}

export type PrepareOutcome =
  | { readonly ok: true; readonly prepared: Prepared }
  | { readonly ok: false; readonly problem: BundleProblem };

export interface PrepareRequest {
  readonly path: string;
  /** Display name: no folders of the analyst's machine. */
  readonly name: string;
  readonly node?: string;
  readonly judge: boolean;
  readonly limits?: Partial<Limits>;
}

/** What the evidence blob of a `bundle.ingested` event holds. */
export interface EvidenceIndex {
  readonly records: readonly EvidenceRecord[];
  readonly problems: readonly BundleProblem[];
  /** Blobs that hold several files of this bundle. */
  readonly packs: readonly string[];
}

/**
 * Reads, compresses and (if asked) judges one input. A set archive gives several outcomes. Calls with one encoder must not overlap,
 * and their outcomes must be stored in their order. `bytes` are those of stdin; `opened` keeps the facts, and with them the bytes.
 */
export async function prepare(
  request: PrepareRequest,
  rules: readonly AnyRule[],
  encoder: BlobEncoder,
  { bytes, opened }: { readonly bytes?: Uint8Array; readonly opened?: Opened | undefined } = {},
): Promise<PrepareOutcome[]> {
  const options = {
    name: request.name,
    ...(request.node === undefined ? {} : { node: request.node }),
    ...(request.limits === undefined ? {} : { limits: request.limits }),
  };
  const results: readonly ReadResult[] = await readInput(bytes ?? request.path, options);
  try {
    const outcomes = results.map(
      (r): PrepareOutcome =>
        r.ok ? { ok: true, prepared: prepareBundle(r.bundle, request.judge, rules, encoder, opened) } : r,
    );
    encoder.settle();
    return outcomes;
  } catch (error) {
    encoder.discard();
    throw error;
  } finally {
    if (opened === undefined) for (const r of results) if (r.ok) release(r.bundle);
  }
}

/** Facts of bundles that were read just now, by the bundle's sha256: what judges the case next need not read them again. */
export type Opened = Map<string, NodeFacts>;

function prepareBundle(
  bundle: ReadBundle,
  judge: boolean,
  rules: readonly AnyRule[],
  encoder: BlobEncoder,
  opened: Opened | undefined,
): Prepared {
  const { members, archive, ...rest } = bundle;
  const files = [...members.values()].map((m) => ({ bytes: m.bytes, sha256: m.sha256, kind: m.record?.id ?? '' }));
  const { blobs, packs } = encoder.encodeAll(files, archive === null ? null : { sha256: bundle.sha256, ...archive });
  const records = storedRecords(bundle);
  const index: EvidenceIndex = { records, problems: bundle.problems, packs };
  const evidence = encodeBlob(Buffer.from(JSON.stringify(index)));
  const stated = bundleEvidence(bundle);
  const facts = new NodeFacts(stated);
  const result = judge ? encodeResult(judgeNode(stated, rules, facts)) : null;
  const owners = JSON.stringify(netDigest(facts));
  opened?.set(bundle.sha256, facts);
  return { bundle: rest, evidence, blobs, result, owners };
}

/** Smaller buffers may be of Node's shared pool. */
const OWN_BUFFER = 256 * 1024;

/** Gives a bundle's bytes back at once: the next collection of garbage may be many bundles away. */
function release(bundle: ReadBundle): void {
  const buffers = new Set([...bundle.members.values()].map((m) => m.bytes.buffer));
  if (bundle.archive !== null) buffers.add(bundle.archive.gz.buffer);
  for (const buffer of buffers)
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= OWN_BUFFER && !buffer.detached) buffer.transfer(0);
}

/** The manifest's records plus the bundle's own two files, so that a cite of manifest.json can be shown later. */
function storedRecords(bundle: ReadBundle): EvidenceRecord[] {
  const own = ['bundle.json', 'manifest.json'].flatMap((path): EvidenceRecord[] => {
    const member = bundle.members.get(path);
    if (member === undefined) return [];
    const id = path === 'manifest.json' ? 'bundle.manifest' : 'bundle.identity';
    return [{ id, path, status: 'ok', sha256: member.sha256, bytes: member.bytes.length }];
  });
  return [...bundle.evidence.filter((r) => !own.some((o) => o.path === r.path)), ...own];
}

export function isOwnFile(record: EvidenceRecord): boolean {
  return record.id === 'bundle.manifest' || record.id === 'bundle.identity' || record.id === 'bundle.sums';
}

function bundleEvidence(bundle: ReadBundle): NodeEvidence {
  const texts = new Map<string, string>();
  return {
    info: nodeInfo(bundle, bundle.nodeName, bundle.evidence),
    textAt(path) {
      const known = texts.get(path);
      if (known !== undefined) return known;
      const member = bundle.members.get(path);
      if (member === undefined) return null;
      const text = decodeEvidence(member.bytes);
      texts.set(path, text);
      return text;
    },
  };
}

export function nodeInfo(
  bundle: Omit<ReadBundle, 'members' | 'archive'>,
  id: string,
  evidence: readonly EvidenceRecord[],
): NodeInfo {
  const { identity, context } = bundle;
  return {
    id,
    hostname: identity.hostname,
    bootId: identity.bootId,
    machineIdSha256: identity.machineIdSha256,
    collectedAt: bundle.collectedAt,
    format: bundle.format,
    complete: bundle.complete,
    context,
    evidence: evidence.filter((r) => !isOwnFile(r)),
  };
}

export function encodeResult(result: NodeResult): EncodedResult {
  const { digests, ...main } = result;
  return {
    main: packJson(main),
    digests: Object.fromEntries(Object.entries(digests).map(([rule, digest]) => [rule, packJson(digest)])),
  };
}
