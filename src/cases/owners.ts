import { DIGEST_VERSION, type NetDigest, readDigest } from '../net/owners.ts';
import type { FactKey } from '../store/caches.ts';
import type { CaseFile } from '../store/index.ts';
import { tool } from './tool.ts';

type Caches = Pick<CaseFile, 'caches'>;

/** Who owns which address of a bundle, kept beside the log: a trace in a case of a thousand nodes opens only those that it passes. */
export function putOwners(store: Caches, bundle: string, digest: string): void {
  store.caches.putFact({ bundle, ...key() }, Buffer.from(digest));
}

export function getOwners(store: Caches, bundle: string): NetDigest | null {
  const saved = store.caches.getFact({ bundle, ...key() });
  return saved === null ? null : digestOf(saved);
}

/** Digests by bundle; those that are not there must be made again. */
export function readOwners(store: Caches): ReadonlyMap<string, NetDigest> {
  const found = new Map<string, NetDigest>();
  for (const [bundle, json] of store.caches.factsOf(key())) {
    const digest = digestOf(json);
    if (digest !== null) found.set(bundle, digest);
  }
  return found;
}

const digestOf = (json: Uint8Array) =>
  readDigest(Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString());

/** Digests depend on the parsers as node results do: another rule set makes them again. */
function key(): Omit<FactKey, 'bundle'> {
  const { ruleset } = tool();
  return { kind: 'net-digest', instance: '', evidence: '', parserVersion: String(DIGEST_VERSION), ruleset };
}
