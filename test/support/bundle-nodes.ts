import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readInput } from '../../src/bundle/index.ts';
import { decodeEvidence } from '../../src/cases/evidence-text.ts';
import { nodeInfo } from '../../src/cases/prepare.ts';
import { NodeFacts } from '../../src/engine/index.ts';
import { buildNode, type NetNode } from '../../src/net/index.ts';

const BUNDLES = join(import.meta.dirname, '../../fixtures/bundles');

/** Names of the recorded labs. */
export const recordedLabs = (): readonly string[] => readdirSync(BUNDLES).sort();

/** Changes an evidence file before it is parsed. */
export type Edit = (node: string, path: string, text: string) => string;

/** The facts of every node of a recorded lab, by the real reader and parsers. */
export async function recordedFacts(lab: string, edit: Edit = (_n, _p, text) => text): Promise<readonly NodeFacts[]> {
  const dir = join(BUNDLES, lab);
  const found: NodeFacts[] = [];
  for (const file of readdirSync(dir).sort()) {
    if (!file.endsWith('.tar.gz')) continue;
    for (const read of await readInput(join(dir, file), { name: basename(file) })) {
      if (!read.ok) throw new Error(`${file}: ${JSON.stringify(read)}`);
      const { bundle } = read;
      const textAt = (path: string) => {
        const member = bundle.members.get(path);
        return member === undefined ? null : edit(bundle.nodeName, path, decodeEvidence(member.bytes));
      };
      found.push(new NodeFacts({ info: nodeInfo(bundle, bundle.nodeName, bundle.evidence), textAt }));
    }
  }
  return found;
}

export const recordedNodes = async (lab: string, edit?: Edit): Promise<readonly NetNode[]> =>
  (await recordedFacts(lab, edit)).map((facts) => buildNode(facts));

/** The texts of a node of a recorded lab, by their paths. */
export async function recordedTexts(lab: string, node: string): Promise<ReadonlyMap<string, string>> {
  const dir = join(BUNDLES, lab);
  for (const file of readdirSync(dir).filter((name) => name.endsWith('.tar.gz')))
    for (const read of await readInput(join(dir, file), { name: file }))
      if (read.ok && read.bundle.nodeName === node)
        return new Map([...read.bundle.members].map(([path, { bytes }]) => [path, decodeEvidence(bytes)]));
  throw new Error(`${lab} has no ${node}`);
}
