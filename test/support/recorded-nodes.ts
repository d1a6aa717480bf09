import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readInput } from '../../src/bundle/index.ts';
import { decodeEvidence } from '../../src/cases/evidence-text.ts';
import { isOwnFile, nodeInfo } from '../../src/cases/prepare.ts';
import { root } from './analyse.ts';
import type { Files, NodeFiles } from './rule-table.ts';

/** The bundles of fixtures/bundles/NAME as texts that a test can edit, node by node. */
export const recordedNodes = (name: string) => nodesIn(join(root, 'fixtures/bundles', name));

/** The same of any folder of bundles. */
export async function nodesIn(dir: string): Promise<Readonly<Record<string, NodeFiles>>> {
  const nodes: Record<string, NodeFiles> = {};
  for (const file of readdirSync(dir).filter((f) => f.endsWith('.tar.gz'))) {
    for (const result of await readInput(join(dir, file), { name: file })) {
      if (!result.ok) throw new Error(`${file}: ${result.problem.message}`);
      const { bundle } = result;
      const entries = bundle.evidence.flatMap((r): [string, Files[string]][] => {
        if (isOwnFile(r)) return [];
        const member = bundle.members.get(r.path);
        const text = member === undefined ? undefined : decodeEvidence(member.bytes);
        if (r.status === 'ok' && text !== undefined) return [[r.path, text]];
        return [
          [
            r.path,
            {
              status: r.status,
              ...(r.reason === undefined ? {} : { reason: r.reason }),
              ...(text === undefined ? {} : { text }),
            },
          ],
        ];
      });
      const { evidence: _, id: __, ...info } = nodeInfo(bundle, bundle.nodeName, []);
      nodes[bundle.nodeName] = { files: Object.fromEntries(entries), info };
    }
  }
  return nodes;
}

/** A file of one node changed; the change must find what it replaces. */
export function edited(
  nodes: Readonly<Record<string, NodeFiles>>,
  node: string,
  path: string,
  edit: (text: string) => string,
): Readonly<Record<string, NodeFiles>> {
  const old = nodes[node];
  const text = old?.files[path];
  if (old === undefined || typeof text !== 'string') throw new Error(`${node} has no text ${path}`);
  const now = edit(text);
  if (now === text) throw new Error(`nothing changed in ${path} of ${node}`);
  return { ...nodes, [node]: { ...old, files: { ...old.files, [path]: now } } };
}

/** Without files: as if the collector never asked. */
export function bereft(
  nodes: Readonly<Record<string, NodeFiles>>,
  node: string,
  gone: (path: string) => boolean,
): Readonly<Record<string, NodeFiles>> {
  const old = nodes[node];
  if (old === undefined) throw new Error(`there is no ${node}`);
  const files = Object.fromEntries(Object.entries(old.files).filter(([path]) => !gone(path)));
  return { ...nodes, [node]: { ...old, files } };
}
