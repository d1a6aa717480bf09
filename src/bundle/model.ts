import type { EvidenceRecord } from '../core/evidence.ts';
import { displayText } from './names.ts';

export type ProblemSeverity = 'info' | 'low' | 'medium' | 'high';

/** One oddity of a bundle. `message` is a sentence: what is wrong, where, what to do. Safe to print: no control characters. */
export interface BundleProblem {
  /** Stable kebab-case name of the kind of problem. */
  readonly code: string;
  readonly severity: ProblemSeverity;
  readonly message: string;
  /** Path inside the bundle, as it stands there (not escaped for display). */
  readonly path?: string;
  /** sha256 of the versions in question, lower-case hex: what is expected or comes first, then the other. */
  readonly hashes?: readonly string[];
}

export interface BundleIdentity {
  readonly bundleId: string | null;
  readonly hostname: string | null;
  readonly fqdn: string | null;
  readonly machineIdSha256: string | null;
  readonly bootId: string | null;
  readonly kernel: string | null;
  readonly os: string | null;
}

export interface BundleContext {
  readonly uid: number | null;
  readonly netns: string | null;
  readonly pid1netns: string | null;
  readonly mode: string | null;
}

export interface BundleMember {
  /** Lower-case hex. */
  readonly sha256: string;
  readonly bytes: Uint8Array;
  /** null for what is no evidence of its own: bundle.json, manifest.json, SHA256SUMS, `.err` files. */
  readonly record: EvidenceRecord | null;
}

export type BundleFormat = 'netcase-bundle/1' | 'folder' | 'loose-files';

/** One node's bundle, read and checked. Nothing of the analyst's machine is in it: no folder, user or cwd. */
export interface ReadBundle {
  /** Display name: a base name. */
  readonly source: string;
  readonly format: BundleFormat;
  /** Lower-case hex: of the archive's bytes; of the sorted list of `sha256  path` lines for folders. */
  readonly sha256: string;
  /** Bytes: of the archive; of all files for folders. */
  readonly size: number;
  readonly identity: BundleIdentity;
  /** `[A-Za-z0-9._-]{1,63}`: the caller's name > bundle.json > hostname.txt > the folder's or file's name. */
  readonly nodeName: string;
  /** ISO 8601, UTC, by the node's clock; null when unknown or absurd. */
  readonly collectedAt: string | null;
  readonly collector: { readonly name: string; readonly version: string } | null;
  readonly context: BundleContext;
  /** false: partial upload, cut manifest or interrupted collector; then no absence in this bundle is a fact. */
  readonly complete: boolean;
  /** Every record of the manifest, then the members that it does not name. */
  readonly evidence: readonly EvidenceRecord[];
  /** Path inside the bundle (root folder stripped, NFC) -> bytes. Altered members are not in it. */
  readonly members: ReadonlyMap<string, BundleMember>;
  /** The .tar.gz itself and what it expands to, which the members' bytes are views of; null when they were not read whole. */
  readonly archive: { readonly gz: Uint8Array; readonly plain: Uint8Array } | null;
  readonly problems: readonly BundleProblem[];
}

export type ReadResult =
  | { readonly ok: true; readonly bundle: ReadBundle }
  | { readonly ok: false; readonly problem: BundleProblem };

/** What one input may cost. Bytes unless said otherwise. */
export interface Limits {
  /** Members of one archive, folders and pax headers included. */
  readonly members: number;
  /** All members together, expanded. */
  readonly expanded: number;
  /** One member. */
  readonly member: number;
  /** Expanded / compressed, judged once 1 MiB is expanded. */
  readonly ratio: number;
  /** A member's name. */
  readonly name: number;
  /** Folders in a member's name. */
  readonly depth: number;
  /** One pax or GNU long-name header. */
  readonly meta: number;
  /** The archive itself. */
  readonly archive: number;
}

const MiB = 1024 * 1024;

export const defaultLimits: Limits = {
  members: 50_000,
  expanded: 512 * MiB,
  member: 256 * MiB,
  ratio: 200,
  name: 1024,
  depth: 16,
  meta: 64 * 1024,
  archive: 512 * MiB,
};

export interface ReadOptions {
  /** The node's name, said by the caller; wins over what the bundle says. */
  readonly node?: string;
  readonly limits?: Partial<Limits>;
  /** Display name; its base name is used. */
  readonly name?: string;
}

export function withLimits(limits: Partial<Limits> | undefined): Limits {
  return limits === undefined ? defaultLimits : { ...defaultLimits, ...limits };
}

/** Ends the reading of one input; never leaves src/bundle. */
export class Refusal extends Error {
  readonly problem: BundleProblem;
  constructor(code: string, message: string, path?: string) {
    super(message);
    this.problem = { code, severity: 'high', message: displayText(message), ...(path === undefined ? {} : { path }) };
  }
}

/** A hostile bundle can have a problem in every header: the list keeps the first ones and counts the rest. */
const KEPT = 500;

/** Collects problems, bounded. */
export class Problems {
  readonly #kept: BundleProblem[] = [];
  #dropped = 0;

  add(
    severity: ProblemSeverity,
    code: string,
    message: string,
    more: { path?: string | undefined; hashes?: readonly string[] } = {},
  ): void {
    if (this.#kept.length >= KEPT) {
      this.#dropped++;
      return;
    }
    const { path, hashes } = more;
    this.#kept.push({
      code,
      severity,
      message: displayText(message),
      ...(path === undefined ? {} : { path }),
      ...(hashes === undefined ? {} : { hashes }),
    });
  }

  list(): readonly BundleProblem[] {
    if (this.#dropped === 0) return this.#kept;
    const message = `${this.#dropped} further problems of this bundle are not listed; collect it again.`;
    return [...this.#kept, { code: 'more-problems', severity: 'high', message }];
  }
}

export function formatBytes(bytes: number): string {
  if (bytes >= MiB) return `${Math.round((bytes / MiB) * 10) / 10} MiB`;
  return bytes >= 1024 ? `${Math.round((bytes / 1024) * 10) / 10} KiB` : `${bytes} bytes`;
}
