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

/** What a bundle says of itself, without its bytes. */
type BundleHead = Omit<ReadBundle, 'members' | 'archive'>;

/** One input, read and judged beside its bytes: everything the case file needs, and nothing that grows with the bundle's text. */
export interface Prepared {
  readonly bundle: Omit<BundleHead, 'evidence'>;
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

interface Encoded extends Pick<Prepared, 'blobs' | 'evidence'> {
  readonly bundle: BundleHead;
}

export type PrepareOutcome =
  | { readonly ok: true; readonly prepared: Prepared }
  | { readonly ok: false; readonly problem: BundleProblem };

/** A bundle that is read and encoded; its files are places in what its archive expanded to. */
export interface Half extends Encoded {
  readonly plain: Uint8Array;
  /** Path -> offset and length. */
  readonly places: ReadonlyMap<string, readonly [number, number]>;
}

export type HalfOutcome = PrepareOutcome | { readonly ok: 'half'; readonly half: Half };

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
  const results = await read(request, bytes);
  try {
    return encodeEach(results, encoder, (bundle) => wholly(bundle, request.judge, rules, encoder, opened));
  } finally {
    if (opened === undefined) release(results);
  }
}

/** Larger ones are judged where they are read: what a bundle may cost must not end the process that writes the case. */
const HANDED_ON = 64 * 1024 * 1024;

/** Reads and compresses one input, and leaves its judging to `judgeHalf` on another thread where that is possible. */
export async function prepareHalf(
  request: PrepareRequest,
  rules: readonly AnyRule[],
  encoder: BlobEncoder,
): Promise<HalfOutcome[]> {
  const results = await read(request);
  const handedOn = new Set<ArrayBufferLike>();
  try {
    return encodeEach<HalfOutcome>(results, encoder, (bundle) => {
      const plain = bundle.archive?.plain;
      const places = plain === undefined || plain.length > HANDED_ON ? null : placesIn(plain, bundle);
      if (plain === undefined || places === null) return wholly(bundle, request.judge, rules, encoder);
      handedOn.add(plain.buffer);
      return { ok: 'half', half: { ...encodeBundle(bundle, encoder), plain, places } };
    });
  } finally {
    release(results, handedOn);
  }
}

/** Judges what another thread has read, and gives its bytes back. */
export function judgeHalf({ plain, places, ...encoded }: Half, judge: boolean, rules: readonly AnyRule[]): Prepared {
  const file = (path: string) => {
    const [at, length] = places.get(path) ?? [];
    return at === undefined || length === undefined ? undefined : plain.subarray(at, at + length);
  };
  try {
    return judged(encoded, file, judge, rules);
  } finally {
    giveBack(plain.buffer);
  }
}

function read(request: PrepareRequest, bytes?: Uint8Array): Promise<readonly ReadResult[]> {
  return readInput(bytes ?? request.path, {
    name: request.name,
    ...(request.node === undefined ? {} : { node: request.node }),
    ...(request.limits === undefined ? {} : { limits: request.limits }),
  });
}

type Refused = Extract<ReadResult, { ok: false }>;

function encodeEach<T>(
  results: readonly ReadResult[],
  encoder: BlobEncoder,
  encode: (bundle: ReadBundle) => T,
): (T | Refused)[] {
  try {
    const outcomes = results.map((r) => (r.ok ? encode(r.bundle) : r));
    encoder.settle();
    return outcomes;
  } catch (error) {
    encoder.discard();
    throw error;
  }
}

function wholly(
  bundle: ReadBundle,
  judge: boolean,
  rules: readonly AnyRule[],
  encoder: BlobEncoder,
  opened?: Opened,
): PrepareOutcome {
  const file = (path: string) => bundle.members.get(path)?.bytes;
  return { ok: true, prepared: judged(encodeBundle(bundle, encoder), file, judge, rules, opened) };
}

/** Where a bundle's files stand in its expanded archive; null when one is not in it. */
function placesIn(plain: Uint8Array, { members }: ReadBundle): Half['places'] | null {
  const places = new Map<string, readonly [number, number]>();
  for (const [path, { bytes }] of members) {
    if (bytes.length > 0 && bytes.buffer !== plain.buffer) return null;
    places.set(path, [bytes.length > 0 ? bytes.byteOffset - plain.byteOffset : 0, bytes.length]);
  }
  return places;
}

/** Facts of bundles that were read just now, by the bundle's sha256: what judges the case next need not read them again. */
export type Opened = Map<string, NodeFacts>;

function encodeBundle(bundle: ReadBundle, encoder: BlobEncoder): Encoded {
  const { members, archive, ...rest } = bundle;
  const files = [...members.values()].map((m) => ({ bytes: m.bytes, sha256: m.sha256, kind: m.record?.id ?? '' }));
  const { blobs, packs } = encoder.encodeAll(files, archive === null ? null : { sha256: bundle.sha256, ...archive });
  return { bundle: rest, evidence: encodeIndex(rest, ownRecords(bundle), packs), blobs };
}

/** The manifest's records plus the bundle's own two files, so that a cite of manifest.json can be shown later. */
function encodeIndex(bundle: BundleHead, own: readonly EvidenceRecord[], packs: readonly string[]): EncodedBlob {
  const records = [...bundle.evidence.filter((r) => !own.some((o) => o.path === r.path)), ...own];
  const index: EvidenceIndex = { records, problems: bundle.problems, packs };
  const text = JSON.stringify(index);
  return { ...encodeBlob(Buffer.from(text)), text };
}

type FileOf = (path: string) => Uint8Array | undefined;

function judged(encoded: Encoded, file: FileOf, judge: boolean, rules: readonly AnyRule[], opened?: Opened): Prepared {
  const { bundle, evidence, blobs } = encoded;
  const stated = bundleEvidence(bundle, file);
  const facts = new NodeFacts(stated);
  const result = judge ? encodeResult(judgeNode(stated, rules, facts)) : null;
  const owners = JSON.stringify(netDigest(facts));
  opened?.set(bundle.sha256, facts);
  // the evidence's records are in their blob: waiting bundles need not hold them
  const { evidence: _, ...head } = bundle;
  return { bundle: head, evidence, blobs, result, owners };
}

/** Gives the bytes of bundles back. */
function release(results: readonly ReadResult[], except: ReadonlySet<ArrayBufferLike> = new Set()): void {
  for (const r of results) {
    if (!r.ok) continue;
    const buffers = new Set([...r.bundle.members.values()].map((m) => m.bytes.buffer));
    if (r.bundle.archive !== null) buffers.add(r.bundle.archive.gz.buffer);
    for (const buffer of buffers) if (!except.has(buffer)) giveBack(buffer);
  }
}

/** Smaller buffers may be of Node's shared pool. */
const OWN_BUFFER = 256 * 1024;

/** Gives bytes back at once: the next collection of garbage may be many bundles away. */
export function giveBack(buffer: ArrayBufferLike): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= OWN_BUFFER && !buffer.detached) buffer.transfer(0);
}

function ownRecords(bundle: ReadBundle): EvidenceRecord[] {
  return ['bundle.json', 'manifest.json'].flatMap((path): EvidenceRecord[] => {
    const member = bundle.members.get(path);
    if (member === undefined) return [];
    const id = path === 'manifest.json' ? 'bundle.manifest' : 'bundle.identity';
    return [{ id, path, status: 'ok', sha256: member.sha256, bytes: member.bytes.length }];
  });
}

export function isOwnFile(record: EvidenceRecord): boolean {
  return record.id === 'bundle.manifest' || record.id === 'bundle.identity' || record.id === 'bundle.sums';
}

function bundleEvidence(bundle: BundleHead, file: FileOf): NodeEvidence {
  const texts = new Map<string, string>();
  return {
    info: nodeInfo(bundle, bundle.nodeName, bundle.evidence),
    textAt(path) {
      const known = texts.get(path);
      if (known !== undefined) return known;
      const bytes = file(path);
      if (bytes === undefined) return null;
      const text = decodeEvidence(bytes);
      texts.set(path, text);
      return text;
    },
  };
}

export function nodeInfo(
  bundle: Omit<BundleHead, 'evidence'>,
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
