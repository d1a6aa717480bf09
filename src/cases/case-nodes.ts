import { NodeFacts } from '../engine/index.ts';
import { byNumber } from '../report/names.ts';
import type { CaseNodes } from '../rule/index.ts';
import type { BundleRow, CaseFile } from '../store/index.ts';
import { storedEvidence } from './judge.ts';
import { getOwners } from './owners.ts';
import type { Opened } from './prepare.ts';

/** The newest bundles of a case as path rules open them. */
export function caseNodes(
  store: Pick<CaseFile, 'evidenceOf' | 'readBlob'> & Partial<Pick<CaseFile, 'caches'>>,
  current: readonly BundleRow[],
  opened?: Opened,
): CaseNodes {
  const byNode = new Map(current.map((b) => [b.node, b]));
  return {
    // by name: what is found must not depend on the order in which bundles came in
    ids: [...byNode.keys()].sort(byNumber),
    source(node) {
      const bundle = byNode.get(node);
      if (bundle === undefined) return undefined;
      const known = opened?.get(bundle.sha256);
      // facts carry the node's name: in the case the bundle may have another
      return known !== undefined && known.node === node ? known : new NodeFacts(storedEvidence(store, bundle));
    },
    owners(node) {
      const bundle = byNode.get(node);
      const { caches } = store;
      return bundle === undefined || caches === undefined ? undefined : getOwners({ caches }, bundle.sha256);
    },
  };
}
