import { DIGEST_VERSION, type NetDigest, readDigest } from '../net/owners.ts';
import type { FactKey } from '../store/caches.ts';
import type { CaseFile } from '../store/index.ts';
import { tool } from './tool.ts';

type Caches = Pick<CaseFile, 'caches'>;

/** Who owns which address of a bundle, kept beside the log: a trace in a case of a thousand nodes opens only those that it passes. */
export function putOwners(store: Caches, bundle: string, digest: string): void {
  store.caches.putFact(key(bundle), Buffer.from(digest));
}

export function getOwners(store: Caches, bundle: string): NetDigest | null {
  const saved = store.caches.getFact(key(bundle));
  return saved === null ? null : readDigest(Buffer.from(saved).toString());
}

/** Digests depend on the parsers as node results do: another rule set makes them again. */
function key(bundle: string): FactKey {
  const { ruleset } = tool();
  return { bundle, kind: 'net-digest', instance: '', evidence: '', parserVersion: String(DIGEST_VERSION), ruleset };
}
