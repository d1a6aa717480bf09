import { type EvidenceRecord, evidenceAt } from '../core/evidence.ts';
import { checkMembers } from './check.ts';
import { sha256 } from './hash.ts';
import type { BundleJson } from './json.ts';
import type { PlacedFile, RawFile } from './layout.ts';
import { placeFiles } from './layout.ts';
import type { Manifest } from './manifest.ts';
import { readBundleJson, readManifest, readSums, textOf } from './manifest.ts';
import type { BundleFormat, BundleMember, Problems, ReadBundle, ReadOptions } from './model.ts';
import { Refusal } from './model.ts';
import { nodeFromFileName, safeNodeName } from './names.ts';

/** What the container (archive or folder) told, before anything in it is read. */
export interface Container {
  readonly source: string;
  readonly folder: boolean;
  readonly sha256: string;
  readonly size: number;
  /** It ends too early, or its checksum fails. */
  readonly broken: boolean;
  /** Its transport has a checksum that fits (gzip CRC). */
  readonly checksummed: boolean;
  readonly files: readonly RawFile[];
  readonly archive?: ReadBundle['archive'];
}

const NO_MANIFEST: Manifest = { head: null, records: [], end: null, cut: true, unreadable: [] };

/** Checks one container's files and makes the bundle's value. Throws Refusal. */
export function assemble(container: Container, options: ReadOptions, problems: Problems): ReadBundle {
  const { root, placed } = placeFiles(container.files, problems);
  const own = ['bundle.json', 'manifest.json', 'SHA256SUMS'].some((name) => placed.has(name));
  if (!own) return looseFiles(container, placed, options, problems);
  const said = bundleJson(placed.get('bundle.json'), problems);
  const manifestFile = placed.get('manifest.json');
  const manifest = manifestFile === undefined ? NO_MANIFEST : readManifest(manifestFile.bytes);
  const sums = sumsOf(placed.get('SHA256SUMS'), root, problems);
  const manifestSum = sums?.get('manifest.json');
  const manifestAltered =
    manifestFile !== undefined && manifestSum !== undefined && manifestSum !== manifestFile.sha256;
  const unhashed =
    sums !== null && sums.size === 0 && container.checksummed && manifest.records.every((r) => r.record.sha256 == null);
  const complete = isComplete(container, manifest, manifestFile, said, { sums, manifestAltered, unhashed }, problems);
  const { evidence, members } = checkMembers(
    { placed, manifest, sums, manifestAltered, cut: container.broken, unhashed },
    problems,
  );
  const t0 = said?.clock?.epoch ?? manifest.head?.t0 ?? null;
  const format: BundleFormat = container.folder ? 'folder' : 'netcase-bundle/1';
  return bundleValue(container, format, { said, manifest, t0, complete, evidence, members, options }, problems);
}

function bundleJson(file: PlacedFile | undefined, problems: Problems): BundleJson | null {
  if (file === undefined) {
    problems.add(
      'high',
      'no-bundle-json',
      'bundle.json is not in the bundle: who and what was collected is unknown; give the node a name with --node.',
    );
    return null;
  }
  const said = readBundleJson(file.bytes);
  if (said === null)
    problems.add(
      'high',
      'bundle-json',
      'bundle.json is unreadable: who and what was collected is unknown; give the node a name with --node.',
    );
  else if (typeof said.version === 'number' && said.version > 1)
    problems.add(
      'info',
      'newer-version',
      `The bundle is of format version ${said.version}; what is new in it is not read.`,
    );
  return said;
}

function sumsOf(file: PlacedFile | undefined, root: string, problems: Problems): Map<string, string> | null {
  if (file === undefined || file.cut) return null;
  const { sums, unreadable } = readSums(file.bytes);
  if (unreadable > 0)
    problems.add(
      'medium',
      'sums-unreadable',
      `${unreadable} line(s) of SHA256SUMS are unreadable or repeated; the file was changed or cut.`,
    );
  const inside = new Map<string, string>();
  for (const [path, hash] of sums) {
    const name = path.replace(/^\.\//, '');
    inside.set((root !== '' && name.startsWith(root) ? name.slice(root.length) : name).normalize('NFC'), hash);
  }
  return inside;
}

/** Whether absences of this bundle are facts; each reason against it is a problem. */
function isComplete(
  container: Container,
  manifest: Manifest,
  manifestFile: PlacedFile | undefined,
  said: BundleJson | null,
  proof: { sums: Map<string, string> | null; manifestAltered: boolean; unhashed: boolean },
  problems: Problems,
): boolean {
  let complete = !container.broken;
  const open = (severity: 'medium' | 'high', code: string, message: string, hashes?: readonly string[]) => {
    complete = false;
    problems.add(severity, code, message, hashes === undefined ? {} : { hashes });
  };
  const rest = 'What is in the bundle counts, what is not in it proves nothing; send it again or collect again.';
  if (manifestFile === undefined) open('high', 'no-manifest', `manifest.json is not in the bundle. ${rest}`);
  else if (manifest.cut || manifestFile.cut)
    open('high', 'manifest-cut', `manifest.json ends too early (${manifest.records.length} records are left). ${rest}`);
  if (manifest.unreadable.length > 0)
    open(
      'high',
      'manifest-unreadable',
      `manifest.json has ${manifest.unreadable.length} unreadable record(s), the first at ${manifest.unreadable[0]}. ${rest}`,
    );
  if (manifestFile !== undefined && manifest.head === null && !manifest.cut)
    open('high', 'manifest-head', `The first line of manifest.json is not that of a netcase bundle. ${rest}`);
  const { end } = manifest;
  if (end !== null && end.complete !== true)
    open('medium', 'interrupted', `The collector was interrupted before its end. ${rest}`);
  if (end !== null && end.records !== manifest.records.length + manifest.unreadable.length)
    open(
      'high',
      'manifest-count',
      `manifest.json announces ${end.records ?? 'no number of'} records and holds ${manifest.records.length}: lines were removed or added. ${rest}`,
    );
  if (proof.sums === null)
    open('medium', 'no-sums', `SHA256SUMS, the last file of a bundle, is not there: a partial upload. ${rest}`);
  else if (proof.sums.size === 0) {
    const why = 'SHA256SUMS is empty: the node had no hash tool, so changes to the bundle would not be seen.';
    if (proof.unhashed) problems.add('medium', 'unhashed', why);
    else open('medium', 'unhashed', `${why} ${rest}`);
  } else if (!proof.sums.has('manifest.json'))
    open(
      'high',
      'sums-manifest',
      `SHA256SUMS does not list manifest.json: it cannot be told whether it was changed. ${rest}`,
    );
  if (proof.manifestAltered && manifestFile !== undefined)
    open(
      'high',
      'manifest-altered',
      `manifest.json is not what was collected: its sha256 differs from SHA256SUMS. ${rest}`,
      [proof.sums?.get('manifest.json') as string, manifestFile.sha256],
    );
  if (said === null) complete = false;
  if (said?.id != null && manifest.head?.id != null && said.id !== manifest.head.id)
    open('high', 'mixed-bundles', `bundle.json and manifest.json are of two collections (ids differ). ${rest}`);
  return complete;
}

/** Files at known evidence paths without bundle.json or manifest: a node put together by hand. */
function looseFiles(
  container: Container,
  placed: ReadonlyMap<string, PlacedFile>,
  options: ReadOptions,
  problems: Problems,
): ReadBundle {
  const evidence: EvidenceRecord[] = [];
  const members = new Map<string, BundleMember>();
  for (const [path, file] of placed) {
    const at = evidenceAt(path);
    if (at === undefined) {
      members.set(path, { sha256: file.sha256, bytes: file.bytes, record: null });
      continue;
    }
    const record: EvidenceRecord = {
      id: at.kind.id,
      path,
      ...(at.instance === undefined ? {} : { instance: at.instance }),
      status: file.cut || container.broken ? 'truncated' : 'ok',
      sha256: file.sha256,
      bytes: file.bytes.length,
    };
    evidence.push(record);
    members.set(path, { sha256: file.sha256, bytes: file.bytes, record });
  }
  if (evidence.length === 0)
    throw new Refusal(
      'not-a-bundle',
      'There is no bundle.json, no manifest.json and no file at a known evidence path in it: this is no netcase bundle. Collect with netcase-collect.sh, or lay files out as host/ip/addr.txt and so on.',
    );
  evidence.sort((a, b) => (a.path < b.path ? -1 : 1));
  problems.add(
    'info',
    'loose-files',
    `${evidence.length} evidence file(s) without a manifest: nothing tells how they were collected or whether they were changed.`,
  );
  const complete = !container.broken;
  const nothing = { said: null, manifest: NO_MANIFEST, t0: null };
  return bundleValue(container, 'loose-files', { ...nothing, complete, evidence, members, options }, problems);
}

interface Parts {
  readonly said: BundleJson | null;
  readonly manifest: Manifest;
  readonly t0: number | null;
  readonly complete: boolean;
  readonly evidence: readonly EvidenceRecord[];
  readonly members: ReadonlyMap<string, BundleMember>;
  readonly options: ReadOptions;
}

function bundleValue(container: Container, format: BundleFormat, parts: Parts, problems: Problems): ReadBundle {
  const { said, evidence, members } = parts;
  const node = said?.node;
  const hostnameFile = members.get('host/sys/hostname.txt');
  const fileSays = hostnameFile === undefined ? null : textOf(hostnameFile.bytes.subarray(0, 256)).trim();
  const hostname = node?.hostname || fileSays || null;
  const names = [parts.options.node, node?.name, hostname];
  const nodeName =
    names.map((n) => (n == null ? null : safeNodeName(n))).find((n) => n !== null) ??
    nodeFromFileName(container.source) ??
    'node';
  const { collector, context } = said ?? {};
  const collectedAt = isoTime(parts.t0, problems);
  return {
    source: container.source,
    format,
    // two nodes may have the very same files, as one daemon.json that was rolled out: a folder of them is told apart by its name
    sha256:
      format === 'loose-files' && container.folder ? sha256(`${container.sha256}  ${nodeName}\n`) : container.sha256,
    size: container.size,
    identity: {
      bundleId: said?.id ?? parts.manifest.head?.id ?? null,
      hostname,
      fqdn: node?.fqdn || null,
      machineIdSha256: node?.machineIdSha256 ?? null,
      bootId: node?.bootId || null,
      kernel: node?.kernel || null,
      os: node?.os || null,
    },
    nodeName,
    collectedAt,
    collector: collector?.name ? { name: collector.name, version: collector.version ?? '' } : null,
    context: {
      uid: context?.uid ?? null,
      netns: context?.netns || null,
      pid1netns: context?.pid1netns || null,
      mode: context?.mode || null,
    },
    complete: parts.complete,
    evidence,
    members,
    archive: container.archive ?? null,
    problems: problems.list(),
  };
}

const YEAR_2000 = 946_684_800;
const YEAR_2100 = 4_102_444_800;

function isoTime(epoch: number | null, problems: Problems): string | null {
  if (epoch === null) return null;
  if (epoch >= YEAR_2000 && epoch < YEAR_2100) return new Date(Math.floor(epoch) * 1000).toISOString();
  problems.add(
    'low',
    'clock',
    "The node's clock was absurd when the bundle was collected; the time of collection is unknown.",
  );
  return null;
}
