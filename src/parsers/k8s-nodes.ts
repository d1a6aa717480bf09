import { findNodeAtLocation, getNodeValue, type Node } from 'jsonc-parser';
import type { Span } from '../core/span.ts';
import type { K8sNodes } from '../facts/containers.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { type JsonTree, readJsonTree, skippedErrors } from './json-tree.ts';
import { get, list, present, text } from './json-value.ts';

type K8sNode = K8sNodes['nodes'][number];

/** `{"VNI":1,"VtepMAC":"e6:7c:02:8e:e8:7e"}`, JSON in a string. */
function vtepMac(backendData: string): string | undefined {
  try {
    const mac = text(get(JSON.parse(backendData) as unknown, 'VtepMAC'))?.toLowerCase();
    return mac !== undefined && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) ? mac : undefined;
  } catch {
    return undefined;
  }
}

function readNode(tree: JsonTree, node: Node): K8sNode | null {
  const value: unknown = getNodeValue(node);
  const name = text(get(value, 'metadata', 'name'));
  if (get(value, 'kind') !== 'Node' || name === undefined) return null;
  const at = (path: string[], read: (value: string) => string | undefined) => {
    const place = findNodeAtLocation(node, path);
    const found = typeof place?.value === 'string' ? read(place.value) : undefined;
    if (place === undefined || found === undefined) return undefined;
    const span: Span = tree.index.span(place.offset, place.length);
    return { ...span, value: found };
  };
  const annotation = (key: string, read: (value: string) => string | undefined) =>
    at(['metadata', 'annotations', `flannel.alpha.coreos.com/${key}`], read);
  const said = (key: string) => at(['status', 'nodeInfo', key], text);
  const single = text(get(value, 'spec', 'podCIDR'));
  const several = list(get(value, 'spec', 'podCIDRs')).flatMap((cidr) => text(cidr) ?? []);
  return present({
    ...tree.index.span(node.offset, node.length),
    name,
    podCidrs: several.length > 0 || single === undefined ? several : [single],
    podCidr: at(['spec', 'podCIDR'], text),
    vtepMac: annotation('backend-data', vtepMac),
    publicIp: annotation('public-ip', text),
    backendType: annotation('backend-type', text),
    kubeletVersion: said('kubeletVersion'),
    runtimeVersion: said('containerRuntimeVersion'),
  }) as K8sNode;
}

function readNodes(source: string): Parsed<K8sNodes> {
  const tree = readJsonTree(source);
  if (typeof tree === 'string') return { ok: false, why: tree };
  const { root } = tree;
  const items = root === undefined ? undefined : findNodeAtLocation(root, ['items']);
  if (root?.type !== 'object') return { ok: false, why: 'no JSON of a Node or of a List of them' };
  const skipped: Skipped[] = skippedErrors(tree);
  const nodes: K8sNode[] = [];
  for (const node of items === undefined ? [root] : (items.children ?? [])) {
    const found = readNode(tree, node);
    if (found === null) skipped.push({ line: tree.index.lineAt(node.offset), why: 'no Node with a name' });
    else nodes.push(found);
  }
  if (nodes.length === 0 && skipped.length > 0) return { ok: false, why: 'no JSON of a Node or of a List of them' };
  return { ok: true, value: { nodes }, skipped };
}

/** `kubectl get nodes -o json` and `kubectl get node NAME -o json`; places by offset. */
export const parsers = [
  defineParser({ fact: 'k8sNodes', evidence: ['k8s.nodes', 'k8s.node'], version: 4, parse: readNodes }),
];
