import { findNodeAtLocation, getNodeValue, type Node } from 'jsonc-parser';
import type { Span } from '../core/span.ts';
import type { CniConf } from '../facts/containers.ts';
import { defineParser, type Parsed } from '../facts/parser.ts';
import { type JsonTree, readJsonTree, skippedErrors } from './json-tree.ts';
import { boolean, get, list, number, present, text } from './json-value.ts';

type Plugin = CniConf['plugins'][number];

/** All scalars below a plugin, as `delegate.hairpinMode` or `ipam.ranges.0.0.subnet`. */
function flattenPlugin(node: Node): Plugin['settings'] {
  const settings: Record<string, string | number | boolean> = Object.create(null);
  const visit = (at: Node, path: string) => {
    if (path.length > 1024) return;
    if (at.type === 'array')
      for (const [i, child] of (at.children ?? []).entries()) visit(child, path === '' ? `${i}` : `${path}.${i}`);
    else if (at.type === 'object') {
      for (const { children } of at.children ?? []) {
        if (children?.[1] !== undefined)
          visit(children[1], path === '' ? String(children[0]!.value) : `${path}.${children[0]!.value}`);
      }
    } else if (path !== '' && at.value !== null && at.value !== undefined) settings[path] = at.value;
  };
  visit(node, '');
  return settings;
}

function subnetsOf(value: unknown): string[] {
  const ipam = get(value, 'ipam');
  const ranges = list(get(ipam, 'ranges')).flatMap((set) => list(set).map((range) => text(get(range, 'subnet'))));
  return [text(get(ipam, 'subnet')), ...ranges].filter((s): s is string => s !== undefined);
}

/** The flannel meta plugin writes its delegate's keys itself: they count where the plugin has none. */
function readPlugin(tree: JsonTree, node: Node): Plugin | null {
  const value: unknown = getNodeValue(node);
  const type = text(get(value, 'type'));
  if (type === undefined) return null;
  const either = (key: string) => get(value, key) ?? get(value, 'delegate', key);
  return present({
    ...tree.index.span(node.offset, node.length),
    type,
    bridge: text(either('bridge')),
    isGateway: boolean(either('isGateway')) ?? boolean(either('isDefaultGateway')),
    ipMasq: boolean(either('ipMasq')),
    hairpinMode: boolean(either('hairpinMode')),
    mtu: number(either('mtu')),
    subnets: subnetsOf(value).length > 0 ? subnetsOf(value) : subnetsOf(get(value, 'delegate')),
    settings: flattenPlugin(node),
  }) as Plugin;
}

/** What is missing at the end is missed behind the last line: the last ones are shown. */
function onText(source: string, errors: JsonTree['errors']): CniConf['refused'] {
  const last = source.trimEnd().split('\n').length;
  return errors.map((e) => (e.line < last ? e : { line: Math.max(1, last - 2), endLine: last, message: e.message }));
}

/**
 * A .conflist, or a single .conf as a list of one. `file` is empty: the text does not say it, Fact.instance does. What is no JSON object is read
 * too, as a file that names no plugin: that it is one is what the runtime complains of.
 */
function readCniConf(source: string): Parsed<CniConf> {
  const tree = readJsonTree(source);
  if (typeof tree === 'string') return { ok: false, why: tree };
  const { root } = tree;
  const skipped = skippedErrors(tree);
  if (root?.type !== 'object') {
    const message = root === undefined ? 'it holds no JSON' : `it holds JSON of another kind: ${root.type}`;
    if (skipped.length === 0) skipped.push({ line: 1, why: message });
    const refused = [{ line: skipped[0]?.line ?? 1, message }];
    return { ok: true, value: { file: '', list: false, refused, untyped: [], plugins: [] }, skipped };
  }
  const listed = findNodeAtLocation(root, ['plugins']);
  const nodes = listed === undefined ? [root] : listed.type === 'array' ? (listed.children ?? []) : [];
  const plugins: Plugin[] = [];
  const untyped: Span[] = [];
  for (const node of nodes) {
    const plugin = readPlugin(tree, node);
    if (plugin !== null) plugins.push(plugin);
    else {
      untyped.push(tree.index.span(node.offset, node.length));
      skipped.push({ line: tree.index.lineAt(node.offset), why: 'CNI plugin without type' });
    }
  }
  const nameNode = findNodeAtLocation(root, ['name']);
  const name = text(nameNode === undefined ? undefined : getNodeValue(nameNode));
  const value = { file: '', name, list: listed !== undefined, refused: onText(source, tree.errors), untyped, plugins };
  return { ok: true, value: present(value) as CniConf, skipped };
}

export const parsers = [defineParser({ fact: 'cniConf', evidence: ['cni.conf'], version: 2, parse: readCniConf })];
