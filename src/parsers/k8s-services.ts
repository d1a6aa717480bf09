import { findNodeAtLocation, getNodeValue, type Node } from 'jsonc-parser';
import type { K8sServices } from '../facts/containers.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { type JsonTree, readJsonTree, skippedErrors } from './json-tree.ts';
import { get, list, text } from './json-value.ts';

type K8sService = K8sServices['services'][number];

function readService(tree: JsonTree, node: Node): K8sService | null {
  const value: unknown = getNodeValue(node);
  const name = text(get(value, 'metadata', 'name'));
  if (get(value, 'kind') !== 'Service' || name === undefined) return null;
  const several = list(get(value, 'spec', 'clusterIPs')).flatMap((ip) => text(ip) ?? []);
  const single = text(get(value, 'spec', 'clusterIP'));
  const at = findNodeAtLocation(node, ['spec', 'clusterIP']) ?? node;
  return {
    ...tree.index.span(at.offset, at.length),
    name: `${text(get(value, 'metadata', 'namespace')) ?? 'default'}/${name}`,
    // `None`: headless
    addresses: (several.length > 0 || single === undefined ? several : [single]).filter((ip) => ip !== 'None'),
    ports: list(get(value, 'spec', 'ports')).flatMap((port) => {
      const number = get(port, 'port');
      return typeof number === 'number'
        ? [{ port: number, proto: (text(get(port, 'protocol')) ?? 'TCP').toLowerCase() }]
        : [];
    }),
  };
}

function readServices(source: string): Parsed<K8sServices> {
  const tree = readJsonTree(source);
  if (typeof tree === 'string') return { ok: false, why: tree };
  const { root } = tree;
  const items = root === undefined ? undefined : findNodeAtLocation(root, ['items']);
  if (root?.type !== 'object' || items === undefined) return { ok: false, why: 'no JSON of a List of Services' };
  const skipped: Skipped[] = skippedErrors(tree);
  const services: K8sService[] = [];
  for (const node of items.children ?? []) {
    const found = readService(tree, node);
    if (found === null) skipped.push({ line: tree.index.lineAt(node.offset), why: 'no Service with a name' });
    else services.push(found);
  }
  if (services.length === 0 && skipped.length > 0) return { ok: false, why: 'no JSON of a List of Services' };
  return { ok: true, value: { services }, skipped };
}

/** `kubectl get services -A -o json`; the place of a service is its clusterIP. */
export const parsers = [
  defineParser({ fact: 'k8sServices', evidence: ['k8s.services'], version: 1, parse: readServices }),
];
