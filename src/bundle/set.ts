import { parseJson, setJson } from './json.ts';
import type { RawFile } from './layout.ts';
import { textOf } from './manifest.ts';
import type { BundleProblem } from './model.ts';
import { displayName, displayText, safeNodeName } from './names.ts';

/** A set archive: one outer tar with set.json and the bundles of several nodes as they were. */
export interface BundleSet {
  readonly bundles: readonly RawFile[];
  /** Nodes that should be in it, by set.json; null when it does not say. */
  readonly expectedNodes: readonly string[] | null;
  /** Why a node is not in it, by set.json. */
  readonly failures: ReadonlyMap<string, string>;
}

const INNER = /\.(tar\.gz|tgz)$/i;

/** The set in an archive's members; null when the archive is no set. */
export function asSet(files: readonly RawFile[]): BundleSet | null {
  const inRoot = files.filter((f) => f.path.split('/').length <= 2);
  const json = inRoot.find((f) => f.path === 'set.json' || f.path.endsWith('/set.json'));
  const bundles = inRoot.filter((f) => INNER.test(f.path));
  const isBundle = inRoot.some((f) => /(^|\/)(bundle|manifest)\.json$/.test(f.path));
  if (isBundle || (json === undefined && bundles.length === 0)) return null;
  const parsed = json === undefined ? null : setJson.safeParse(parseJson(textOf(json.bytes), 4 * 1024 * 1024));
  const failures = new Map<string, string>();
  if (!parsed?.success) return { bundles, expectedNodes: null, failures };
  const { data } = parsed;
  for (const f of data.failures ?? []) {
    const node = safeNodeName(typeof f === 'string' ? f : (f.node ?? f.name ?? ''));
    if (node !== null) failures.set(node, displayText(typeof f === 'string' ? f : (f.reason ?? f.error ?? ''), 200));
  }
  const named = data.expected ?? data.expectedNodes ?? data.nodes ?? null;
  const expected = named
    ?.map((n) => safeNodeName(typeof n === 'string' ? n : (n.node ?? n.name ?? '')))
    .filter((n) => n !== null);
  const all = expected === undefined ? null : [...new Set([...expected, ...failures.keys()])];
  return { bundles, expectedNodes: all ?? (failures.size > 0 ? [...failures.keys()] : null), failures };
}

/** One problem a node that the set expects and nobody delivered. */
export function missingNodes(set: BundleSet, present: ReadonlySet<string>): BundleProblem[] {
  return (set.expectedNodes ?? [])
    .filter((node) => !present.has(node))
    .map((node) => {
      const why = set.failures.get(node);
      return {
        code: 'node-not-collected',
        severity: 'medium',
        message: `Node "${displayName(node)}" is expected by set.json, but the set holds no bundle of it${why ? ` (${why})` : ''}; collect it.`,
      };
    });
}
