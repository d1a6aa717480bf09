import { tieKey } from './cluster.ts';

/** So many stand for all: of two nodes that know mostly the same peers the samples share some. */
const SAMPLE = 6;

/**
 * The same few of a cluster's ties on each of its nodes, so that a digest can be tied to others without all of them: those with the smallest hash
 * (the bottom-k sketch of Cohen and Kaplan 2007). null: none were collected.
 */
export function tieSample(ties: readonly string[] | null): readonly string[] | null {
  if (ties === null || ties.length <= SAMPLE) return ties;
  const hashed = [...new Set(ties)].map((tie) => [hashOf(tieKey(tie)), tie] as const);
  hashed.sort(([a, x], [b, y]) => a - b || (x < y ? -1 : 1));
  return hashed.slice(0, SAMPLE).map(([, tie]) => tie);
}

/** FNV-1a, 32 bit. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
