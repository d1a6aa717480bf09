import { kept } from '../core/kept.ts';
import { NodeFacts } from '../engine/index.ts';
import { buildNode, lazyCluster, type NetCluster, type NetNode } from '../net/index.ts';
import { type NetDigest, netDigest } from '../net/owners.ts';
import { applyChange, ChangeError } from '../net/what-if.ts';
import { byNumber } from '../report/names.ts';
import type { BundleRow, CaseFile } from '../store/index.ts';
import { Failure } from './failure.ts';
import { storedEvidence } from './judge.ts';
import { openForReading, openForWriting } from './open.ts';
import { putOwners, readOwners } from './owners.ts';
import { type NodeChange, readChanges } from './what-if.ts';

/** A case as the packet path sees it. */
export interface NetCase {
  readonly cluster: NetCluster;
  /** Text of an evidence file. */
  textAt(node: string, path: string): string | null;
}

/**
 * Opens a case, with changes that are assumed, and closes it behind `use`. Who owns which address comes from digests that ingesting left
 * behind; a node's files are read when a packet passes it. `checked`: another thread has it open already.
 */
export function withNetCase<T>(
  caseFile: string,
  texts: readonly string[],
  use: (net: NetCase, changes: readonly NodeChange[]) => T,
  checked = false,
): T {
  const open = openNetCase(caseFile, texts, checked);
  try {
    return use(open.net, open.changes);
  } finally {
    open.close();
  }
}

/** Open until it is closed. */
export interface OpenNetCase {
  readonly net: NetCase;
  readonly changes: readonly NodeChange[];
  close(): void;
}

export function openNetCase(caseFile: string, texts: readonly string[], checked = false): OpenNetCase {
  const store = openForReading(caseFile, checked);
  try {
    const made: Made[] = [];
    const bundles = currentBundles(store);
    const changes = readChanges(
      texts,
      bundles.map((b) => b.node),
    );
    const close = () => {
      store.close();
      if (made.length > 0) keepDigests(caseFile, made);
    };
    return { net: netCase(store, bundles, changes, made), changes, close };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** A digest that was not in the case. */
interface Made {
  readonly bundle: string;
  readonly digest: NetDigest;
}

/** The newest bundle of every node. */
function netCase(
  store: CaseFile,
  bundles: readonly BundleRow[],
  changes: readonly NodeChange[],
  made: Made[],
): NetCase {
  const byNode = new Map(bundles.map((b) => [b.node, b]));
  const evidenceOf = kept((node: string) => {
    const bundle = byNode.get(node);
    return bundle === undefined ? undefined : storedEvidence(store, bundle);
  });
  const open = kept((node: string): NetNode | undefined => {
    const found = evidenceOf(node);
    return found === undefined ? undefined : buildNode(changed(new NodeFacts(found), node, changes));
  });
  const touched = new Set(changes.map((c) => c.node));
  const saved = readOwners(store);
  const digestOf = (bundle: BundleRow): NetDigest | string => {
    // a change may give or take addresses
    if (touched.has(bundle.node)) return netDigest((open(bundle.node) as NetNode).facts);
    const known = saved.get(bundle.sha256);
    if (known !== undefined) return known;
    const fresh = netDigest(new NodeFacts(storedEvidence(store, bundle)));
    made.push({ bundle: bundle.sha256, digest: fresh });
    return fresh;
  };
  const digests = bundles.map((bundle) => ({ id: bundle.node, digest: digestOf(bundle) }));
  const close = (node: string) => {
    open.drop(node);
    evidenceOf.drop(node);
  };
  return { cluster: lazyCluster(digests, open, close), textAt: (node, path) => evidenceOf(node)?.textAt(path) ?? null };
}

function currentBundles(store: CaseFile): readonly BundleRow[] {
  const current = store.bundles().filter((b) => b.current);
  if (current.length === 0)
    throw new Failure('usage', 'this case has no bundle yet; give bundles to netcase analyze or netcase ingest');
  // by name: the answer must not depend on the order in which bundles came in
  return current.sort((a, b) => byNumber(a.node, b.node));
}

function changed(facts: NodeFacts, id: string, changes: readonly NodeChange[]) {
  let now: Parameters<typeof applyChange>[0] = facts;
  for (const { node, change } of changes) {
    if (node !== id) continue;
    try {
      now = applyChange(now, change);
    } catch (error) {
      if (error instanceof ChangeError) throw new Failure('usage', `--if "${change.text} @${id}": ${error.message}`);
      throw error;
    }
  }
  return now;
}

/** So that the next trace need not read every bundle; a case that cannot be written now stays as it is. */
function keepDigests(caseFile: string, made: readonly Made[]): void {
  try {
    const store = openForWriting(caseFile, false);
    try {
      store.transaction(() => {
        for (const { bundle, digest } of made) putOwners(store, bundle, JSON.stringify(digest));
      });
    } finally {
      store.close();
    }
  } catch {
    // read-only, locked or full: only the time is lost
  }
}
