import { expandInputs } from '../bundle/index.ts';
import type { AnyRule } from '../rule/index.ts';
import { BlobEncoder } from '../store/encoder.ts';
import type { CaseFile } from '../store/index.ts';
import { damageOf } from './damage.ts';
import { Failure } from './failure.ts';
import { baseName } from './names.ts';
import { putOwners } from './owners.ts';
import { prepareAll } from './pool.ts';
import type { EvidenceIndex, Opened, Prepared, PrepareOutcome, PrepareRequest } from './prepare.ts';
import { giveBack, prepare } from './prepare.ts';
import { putResult } from './results.ts';
import { tool } from './tool.ts';

export interface IngestRequest {
  readonly inputs: readonly string[];
  /** Folders of folders too. */
  readonly deep?: boolean;
  readonly node?: string;
  readonly jobs: number;
  readonly rules: readonly AnyRule[];
  /** `known`: bundles that the case has already. */
  readonly onStart: (inputs: number, known: number) => void;
  readonly onBundle: () => void;
}

export interface Refused {
  readonly source: string;
  readonly sentence: string;
}

export interface Ingested {
  /** Not in the case. */
  readonly refused: readonly Refused[];
  /** In the case, but not whole or not as they were collected: a sentence each. */
  readonly damaged: readonly string[];
}

/** Commit after this many bundles: a commit waits for the disk, and what was acknowledged must be on it. */
const BATCH = 8;

/** Reads every input into the case; the same bundle twice is one event. What was not refused is in. */
export async function ingestInto(
  store: CaseFile,
  request: IngestRequest,
  judge: boolean,
  opened?: Opened,
): Promise<Ingested> {
  if (request.inputs.length === 0) return { refused: [], damaged: [] };
  const { inputs, unreadable } = await expandInputs(request.inputs, request.deep);
  const refused: Refused[] = [];
  const damaged: string[] = [];
  for (const u of unreadable) refuse(store, u.source, u.message, u.code, refused);
  if (request.node !== undefined && inputs.length > 1) {
    throw new Failure(
      'usage',
      `--node names one node, but ${inputs.length} inputs were given; leave it out or give one input`,
    );
  }
  const before = new Set(store.bundles().map((b) => b.sha256));
  request.onStart(inputs.length, before.size);
  const place: Place = { named: request.node !== undefined, before };
  let batch: { prepared: Prepared; source: string }[] = [];
  const flush = () => {
    store.transaction(() => {
      for (const { prepared } of batch) record(store, prepared, place);
    });
    for (const { prepared } of batch) for (const { bytes } of prepared.blobs) giveBack(bytes.buffer);
    batch = [];
  };
  const take = (source: string, outcomes: readonly PrepareOutcome[]) => {
    for (const o of outcomes) {
      if (o.ok) {
        batch.push({ prepared: o.prepared, source });
        const sentence = damageOf(o.prepared.bundle);
        if (sentence !== null) damaged.push(sentence);
      } else {
        flush();
        refuse(store, source, o.problem.message, o.problem.code, refused);
      }
    }
    if (batch.length >= BATCH) flush();
    request.onBundle();
  };
  const ask = (path: string, name: string): PrepareRequest => ({
    path,
    name,
    judge,
    ...(request.node === undefined ? {} : { node: request.node }),
  });
  const files = inputs.filter((i) => i.path !== '-');
  for (const input of inputs) {
    if (input.path === '-')
      take('stdin', await prepare(ask('-', 'stdin'), request.rules, new BlobEncoder(), { bytes: await stdin() }));
  }
  for await (const { request: r, outcomes } of prepareAll(
    files.map((f) => ask(f.path, f.name)),
    request.rules,
    request.jobs,
    opened,
  ))
    take(r.name, outcomes);
  flush();
  return { refused, damaged };
}

/** What the analyst and the case say of the bundles of one run. */
interface Place {
  /** `--node` says which node they are of. */
  readonly named: boolean;
  /** Bundles that were in the case before. */
  readonly before: ReadonlySet<string>;
}

function record(store: CaseFile, prepared: Prepared, place: Place): void {
  const { bundle, evidence, blobs, result, owners } = prepared;
  store.putBlobs([evidence, ...blobs]);
  const node = nodeId(store, prepared, place);
  store.append({
    type: 'bundle.ingested',
    key: `bundle ${bundle.sha256}`,
    payload: {
      sha256: bundle.sha256,
      source: bundle.source,
      node,
      format: bundle.format,
      size: bundle.size,
      collectedAt: bundle.collectedAt,
      identity: bundle.identity,
      collector: bundle.collector,
      context: bundle.context,
      complete: bundle.complete,
      evidenceBlob: evidence.sha256,
    },
  });
  putOwners(store, bundle.sha256, owners);
  // judged under the name that the bundle gives itself; under another one it is judged again from the case
  if (result !== null && node === bundle.nodeName) putResult(store, bundle.sha256, tool().ruleset, node, result);
}

/** Two machines that call themselves the same are two nodes: the second gets a part of its machine id. */
function nodeId(store: CaseFile, { bundle, evidence }: Prepared, place: Place): string {
  const bundles = store.bundles();
  const known = bundles.find((b) => b.sha256 === bundle.sha256);
  if (known !== undefined) return known.node;
  const mine = bundle.identity.machineIdSha256;
  if (bundle.format === 'loose-files' && mine === null) {
    const alike = place.named
      ? []
      : bundles.filter((b) => b.format === 'loose-files' && baseName(b.node) === bundle.nodeName);
    if (alike.length > 0) {
      const grown = alike.find((b) => place.before.has(b.sha256) && nested(store, b.evidenceBlob, evidence.sha256));
      return grown?.node ?? `${bundle.nodeName}@${bundle.sha256.slice(0, 6)}`;
    }
  }
  const twin = bundles.find(
    (b) => b.node === bundle.nodeName && b.machineId !== null && mine !== null && b.machineId !== mine,
  );
  return twin === undefined ? bundle.nodeName : `${bundle.nodeName}@${mine?.slice(0, 6)}`;
}

/**
 * Of two folders of loose files by one name nothing tells whether they are of one machine, nor which is newer: neither may hide the other,
 * unless one is the other with some files more. `before`, `now`: the blobs of their evidence.
 */
function nested(store: CaseFile, before: string, now: string): boolean {
  const [a, b] = [before, now].map((blob) => {
    const { records } = JSON.parse(Buffer.from(store.readBlob(blob) ?? 'null').toString()) as EvidenceIndex;
    return new Set(records.map((r) => `${r.path} ${r.sha256}`));
  }) as [Set<string>, Set<string>];
  const within = (some: Set<string>, all: Set<string>) => [...some].every((file) => all.has(file));
  return within(a, b) || within(b, a);
}

function refuse(store: CaseFile, source: string, message: string, code: string, into: Refused[]): void {
  into.push({ source, sentence: message });
  store.append({
    type: 'bundle.rejected',
    key: `rejected ${source} ${code} ${message}`,
    payload: { source, sha256: null, code, message },
  });
}

const STDIN_LIMIT = 512 * 1024 * 1024;

async function stdin(): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of process.stdin) {
    size += (part as Buffer).length;
    if (size > STDIN_LIMIT)
      throw new Failure('refused', 'stdin holds more than 512 MiB; save it to a file and check it');
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts);
}
