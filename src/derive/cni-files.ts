import type { EvidenceRecord } from '../core/evidence.ts';
import type { Span } from '../core/span.ts';
import type { CniBin, Fact, MissingFact } from '../facts/index.ts';
import { type CniPlugin, isConfName, programsOf } from './cni.ts';

/** What of a node says how its files were collected. */
interface Collected {
  readonly evidence: readonly EvidenceRecord[];
  readonly format: string;
  readonly complete: boolean;
  readonly context: { readonly uid: number | null; readonly mode: string | null };
}

/** Why the files that were looked for may not be the node's; null: they are. A debug pod sees the node's processes, and an image's files. */
export const notItsFiles = ({ context }: Collected): string | null =>
  context.mode === 'container'
    ? 'the collector ran in a container, whose files and processes may not be the node’s'
    : null;

/** Who is not root may be shown an empty directory that is none. */
export const seesAll = ({ context, complete }: Collected): boolean => complete && (context.uid ?? 0) === 0;

/** One file of /etc/cni/net.d that a runtime takes for a configuration. */
export interface CniFile {
  readonly name: string;
  readonly record: EvidenceRecord;
  /** Absent: it could not be read. */
  readonly fact: Fact<'cniConf'> | undefined;
}

export interface CniFiles {
  /** In the order of their bytes: the first counts. */
  readonly files: readonly CniFile[];
  /** What else lies there, as `10-flannel.conflist.bak`. */
  readonly others: readonly EvidenceRecord[];
  /** The collector's word that nothing lies there. */
  readonly none: EvidenceRecord | undefined;
  /** Every file is among them. A folder that somebody laid out may lack any. */
  readonly whole: boolean;
}

/** The collector takes what the shell's `*` matches: files whose name starts with a dot are not among them. */
export function cniFiles(node: Collected, source: { all(kind: 'cniConf'): readonly Fact<'cniConf'>[] }): CniFiles {
  const records = node.evidence.filter((r) => r.id === 'cni.conf');
  // of an empty directory the collector records the pattern itself
  const named = records.flatMap((record) =>
    record.instance === undefined || record.instance === '*' ? [] : [{ name: record.instance, record }],
  );
  const read = source.all('cniConf');
  const files = named
    .filter(({ name }) => isConfName(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, record }) => ({ name, record, fact: read.find((f) => f.instance === name) }));
  return {
    files,
    others: named.filter(({ name }) => !isConfName(name)).map(({ record }) => record),
    none: named.length > 0 ? undefined : records.find((r) => r.status === 'absent'),
    whole: seesAll(node) && node.format !== 'loose-files' && records.length > 0,
  };
}

/** What a runtime complains of in a file. `sure` is false where newer ones may find what is missing elsewhere. */
export interface ConfProblem {
  readonly what: string;
  readonly span: Span;
  readonly sure: boolean;
}

/**
 * Why libcni does not load a file (libcni/conf.go; measured on containerd 1.6.20): a .conflist is a list with a name, any other file is one plugin. `unread`: the file is not
 * known as it lies on the node. null: it loads.
 */
export function confProblem(node: Collected, { name, record, fact }: CniFile): ConfProblem | 'unread' | null {
  if (fact === undefined || record.status !== 'ok' || !node.complete) return 'unread';
  const { list, name: network, plugins, untyped, refused } = fact.value;
  const [first] = refused;
  // a copy by hand may be cut anywhere, and what was blotted out may have been the fault
  const copied = node.format === 'loose-files' || (record.redactions ?? 0) > 0;
  if (first !== undefined)
    return copied
      ? 'unread'
      : { what: `is not valid JSON (${first.message}, line ${first.endLine ?? first.line})`, span: first, sure: true };
  const top = { line: 1 };
  const asList = name.endsWith('.conflist');
  if (!asList && list)
    return { what: 'holds a list of plugins, which only a file named .conflist may', span: top, sure: true };
  if (asList && network === undefined) return { what: 'has no “name”', span: top, sure: true };
  // since 1.3 libcni also looks for files of plugins in a directory of the network's name
  if (asList && !list) return { what: 'has no list of “plugins”', span: top, sure: false };
  if (asList && plugins.length + untyped.length === 0)
    return { what: 'has an empty list of “plugins”', span: top, sure: true };
  const [lacks] = untyped;
  if (lacks !== undefined) return { what: 'has a plugin without a “type”', span: lacks, sure: true };
  return null;
}

/** A program that a configuration calls. */
export interface Needed {
  readonly program: string;
  /** Whose plugin calls it; null: the runtime itself. */
  readonly by: { readonly fact: Fact<'cniConf'>; readonly plugin: CniPlugin } | null;
}

export function neededBy(facts: readonly Fact<'cniConf'>[], loopback: boolean): Needed[] {
  const found = new Map<string, Needed>();
  for (const fact of facts)
    for (const plugin of fact.value.plugins)
      for (const program of programsOf(plugin))
        if (!found.has(program)) found.set(program, { program, by: { fact, plugin } });
  if (loopback && !found.has('loopback')) found.set('loopback', { program: 'loopback', by: null });
  return [...found.values()];
}

type Entry = CniBin['files'][number];

/** Whether a program lies in the listed directory and can be run: `gone` is proved by the listing's silence. */
export type Presence =
  | { readonly kind: 'there'; readonly entry: Entry }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unusable'; readonly entry: Entry; readonly what: string }
  | { readonly kind: 'unknown'; readonly because: string };

/** libcni looks for a regular file of that name, links followed (pkg/invoke/find.go), and the kernel has to be able to run it. */
export function presence(node: Collected, bin: Fact<'cniBin'> | MissingFact<'cniBin'>, program: string): Presence {
  if (bin.missing)
    return bin.lookedFor && seesAll(node)
      ? { kind: 'gone' }
      : { kind: 'unknown', because: `the directory of plugins ${bin.because}` };
  const named = (name: string) => bin.value.files.find((f) => f.name === name);
  let entry = named(program);
  for (let links = 0; entry?.type === 'l' && links < 8; links += 1) {
    const target = entry.target?.replace(/^\.\//, '').replace(/^\/opt\/cni\/bin\//, '') ?? '';
    const next = target === '' || target.includes('/') ? undefined : named(target);
    if (next === undefined)
      return { kind: 'unknown', because: `${program} is a link to ${entry.target ?? 'elsewhere'}` };
    entry = next;
  }
  if (entry === undefined)
    return bin.closed && node.format !== 'loose-files'
      ? { kind: 'gone' }
      : { kind: 'unknown', because: 'the list of plugins was not collected whole' };
  if (entry.type !== '-') return { kind: 'unusable', entry, what: 'is no file' };
  if (!entry.executable) return { kind: 'unusable', entry, what: 'is not executable' };
  if (entry.size === 0) return { kind: 'unusable', entry, what: 'is an empty file' };
  return { kind: 'there', entry };
}
