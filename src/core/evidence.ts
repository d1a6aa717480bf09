import { EVIDENCE } from './evidence-list.ts';

/** Stable name of one kind of evidence (collectors/evidence.tsv). Ids and paths are API. */
export type EvidenceId = (typeof EVIDENCE)[number]['id'];

export interface EvidenceKind {
  readonly id: EvidenceId;
  /** Path inside the bundle; `*` stands for one instance (a bridge, a namespace inode, a file name). */
  readonly path: string;
  readonly command: string;
  readonly timeoutSeconds: number;
  readonly capKib: number;
  readonly sensitivity: string;
  readonly alias?: string;
}

/**
 * What became of one evidence item. Only `ok` is closed-world: there the absence of a line is a fact.
 * `truncated`, `timeout`, `failed` are open-world (presence counts, absence is unknown); `altered` and the rest are unknown.
 */
export type EvidenceStatus =
  | 'ok'
  | 'failed'
  | 'timeout'
  | 'truncated'
  | 'missing'
  | 'absent'
  | 'denied'
  | 'skipped'
  | 'disabled'
  | 'altered'
  | 'not-collected'
  | 'unknown';

/** One evidence record of one bundle: the manifest's line, or what the reader found out itself. */
export interface EvidenceRecord {
  /** Known ids are EvidenceId; a newer collector's ids stay readable as text. */
  readonly id: string;
  readonly path: string;
  /** What `*` in the kind's path matched. */
  readonly instance?: string;
  readonly status: EvidenceStatus;
  readonly rc?: number | null;
  readonly reason?: string;
  readonly argv?: readonly string[];
  /** sha256 of the bytes, lower-case hex; absent when no file came. */
  readonly sha256?: string;
  readonly bytes?: number;
  readonly tool?: string;
  readonly stderr?: string;
  readonly redactions?: number;
  /** Line of this record in the bundle's manifest.json, when it has one. */
  readonly manifestLine?: number;
  /** Milliseconds the command took on the node. */
  readonly ms?: number;
}

export const evidenceKinds: readonly EvidenceKind[] = EVIDENCE;

const byId = new Map<string, EvidenceKind>(evidenceKinds.map((kind) => [kind.id, kind]));
const byPath = new Map<string, EvidenceKind>();
const patterns: { kind: EvidenceKind; head: string; tail: string }[] = [];
for (const kind of evidenceKinds) {
  for (const path of kind.alias === undefined ? [kind.path] : [kind.path, kind.alias]) {
    const star = path.indexOf('*');
    if (star < 0) byPath.set(path, kind);
    else patterns.push({ kind, head: path.slice(0, star), tail: path.slice(star + 1) });
  }
}

export function evidenceKind(id: string): EvidenceKind | undefined {
  return byId.get(id);
}

export function isEvidenceId(id: string): id is EvidenceId {
  return byId.has(id);
}

const COLLECTOR = 'sudo sh netcase-collect.sh -o /tmp';

/** What somebody would run on the node for this evidence: a command that can be pasted; where no single one gives it, the collector. */
export function commandFor(id: string): string | undefined {
  const command = byId.get(id)?.command;
  if (command === undefined) return undefined;
  const file = /^file:(\S+)/.exec(command)?.[1];
  if (file !== undefined) return `cat ${file}`;
  const program = /^\/proc\/PID\/cmdline of (\S+)$/.exec(command)?.[1];
  if (program !== undefined) return `cat /proc/$(pidof -s ${program})/cmdline`;
  if (id === 'sys.sysctl') return 'sysctl -a';
  return /PID|<|\.\.\.|^(inode|sha256 of|the|path and) /.test(command) ? COLLECTOR : command.replace(/ \([^)]*\)$/, '');
}

/** Which evidence a bundle path holds; undefined for a path that collectors/evidence.tsv does not know. */
export function evidenceAt(path: string): { readonly kind: EvidenceKind; readonly instance?: string } | undefined {
  const exact = byPath.get(path);
  if (exact !== undefined) return { kind: exact };
  for (const { kind, head, tail } of patterns) {
    if (!path.startsWith(head) || !path.endsWith(tail) || path.length <= head.length + tail.length) continue;
    const instance = path.slice(head.length, path.length - tail.length);
    if (!instance.includes('/')) return { kind, instance };
  }
  return undefined;
}

/** The path of an evidence kind with its instance filled in. */
export function evidencePath(id: EvidenceId, instance?: string): string {
  const path = byId.get(id)?.path ?? id;
  return instance === undefined ? path : path.replace('*', instance);
}

export function isClosedWorld(status: EvidenceStatus): boolean {
  return status === 'ok';
}

/** Statuses whose bytes may be read: presence of a line counts, absence does not (unless `ok`). */
export function hasContent(status: EvidenceStatus): boolean {
  return status === 'ok' || status === 'failed' || status === 'timeout' || status === 'truncated';
}
