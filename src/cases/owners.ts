import { DIGEST_VERSION, isDigest, type NetDigest, readDigest } from '../net/owners.ts';
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
  return saved === null ? null : readDigest(textOf(saved));
}

/** Digests by bundle, as text: parsing those that nobody asks for would cost more than the trace. What is not there must be made again. */
export function readOwners(store: Caches): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [bundle, json] of store.caches.factsOf(key())) {
    const text = textOf(json);
    if (isDigest(text)) found.set(bundle, text);
  }
  return found;
}

const textOf = (json: Uint8Array) => Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString();

/** Digests depend on the parsers as node results do: another rule set makes them again. */
function key(): Omit<FactKey, 'bundle'> {
  const { ruleset } = tool();
  return { kind: 'net-digest', instance: '', evidence: '', parserVersion: String(DIGEST_VERSION), ruleset };
}
