import type { BaseChain } from './rulesets.ts';
import type { NativeNft } from './rulesets-found.ts';
import type { Space } from './space.ts';

/** The base chains of native nft tables that see packets of the family. */
export function readNftChains(_space: Space, _family: 4 | 6, _native: NativeNft): readonly BaseChain[] {
  return [];
}
