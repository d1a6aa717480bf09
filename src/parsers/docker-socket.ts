import type { DockerSocket, DockerSocketMounts } from '../facts/containers.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { count } from './keyed-words.ts';
import { filledLines } from './line-index.ts';

type Words = Readonly<Record<string, string>>;
type List<T> = T extends readonly (infer E)[] ? E[] : never;
type Of<T> = { -readonly [K in keyof T]: List<T[K]> };

/** `kind key=value ...`; a key named `last` takes the rest of the line, blanks and all. */
function readLine(line: string, last?: string): { kind: string; words: Words } {
  const at = last === undefined ? -1 : line.indexOf(` ${last}=`);
  const head = at < 0 ? line : line.slice(0, at);
  const [kind = '', ...pairs] = head.trim().split(/\s+/);
  const words: Record<string, string> = Object.create(null);
  for (const pair of pairs) {
    const eq = pair.indexOf('=');
    if (eq > 0) words[pair.slice(0, eq)] ??= pair.slice(eq + 1);
  }
  if (at >= 0 && last !== undefined) words[last] = line.slice(at + last.length + 2);
  return { kind, words };
}

/** `-` stands for what was not known. */
const known = (text: string | undefined) => (text === '-' ? undefined : text);

const MODE = /^[-a-z][-rwxsStT]{9}[.+@]?$/;

type Files = Of<DockerSocket>;

/** True when the line was of use. */
function addFile(line: number, text: string, into: Files): boolean {
  const { kind, words } = readLine(text, kindOf(text) === 'link' ? undefined : 'path');
  const path = words['path'] ?? '';
  const mode = words['mode'] ?? '';
  if (!path.startsWith('/')) return false;
  if (kind === 'denied') into.denied.push({ line, path });
  else if (kind === 'link') {
    const m = / path=(\/.*?) target=(\/.*)$/.exec(text);
    if (m === null) return false;
    into.links.push({ line, path: m[1]!, target: m[2]! });
  } else if (!MODE.test(mode)) return false;
  else if (kind === 'dir') into.directories.push({ line, path, mode });
  else if (kind === 'socket') {
    const [uid, gid] = [count(words['uid']), count(words['gid'])];
    if (uid === undefined || gid === undefined) return false;
    const names = { user: known(words['user']), group: known(words['group']) };
    const listening = words['listening'] === 'yes';
    into.sockets.push(present({ line, path, mode, uid, gid, ...names, listening }) as Files['sockets'][number]);
  } else return kind === 'other';
  return true;
}

const kindOf = (text: string) => text.slice(0, text.indexOf(' '));

/** docker/socket.txt: `socket mode=srw-rw---- uid=0 user=root gid=105 group=docker listening=yes path=/run/docker.sock`. */
function readSocket(source: string): Parsed<DockerSocket> {
  const value: Files = { sockets: [], directories: [], links: [], denied: [] };
  const skipped: Skipped[] = [];
  const lines = filledLines(source);
  for (const { line, text } of lines)
    if (!addFile(line, text, value)) skipped.push({ line, why: 'no file of a socket' });
  if (lines.length > 0 && skipped.length === lines.length) return { ok: false, why: 'no file of a socket' };
  return { ok: true, value, skipped };
}

/** A path as /proc/PID/mountinfo has it (proc_pid_mountinfo(5)): blanks and backslashes as three octal digits. */
const path = (text: string | undefined) =>
  text?.startsWith('/')
    ? text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
    : undefined;

const CONTAINER = /^[0-9a-f]{64}$/;

type Mount = DockerSocketMounts['mounts'][number];
type Process = DockerSocketMounts['processes'][number];

function mountOf(line: number, words: Words): Mount | null {
  const { container = '' } = words;
  const [at, socket, host] = [path(words['at']), path(words['socket']), path(words['host'])];
  const pid = count(words['pid']);
  if (!CONTAINER.test(container) || pid === undefined || !at || !socket || !host) return null;
  const same = words['same'] === 'yes' ? true : words['same'] === 'no' ? false : undefined;
  return present({ line, container, pid, readOnly: words['mode'] === 'ro', at, socket, host, same }) as Mount;
}

function processOf(line: number, words: Words): Process | null {
  const { container = '', caps = '' } = words;
  const [pid, uid, gid] = [count(words['pid']), count(words['uid']), count(words['gid'])];
  const groups = (known(words['groups']) ?? '').split(',').filter(Boolean).map(count);
  if (!CONTAINER.test(container) || !/^[0-9a-f]{1,32}$/.test(caps) || groups.includes(undefined)) return null;
  if (pid === undefined || uid === undefined || gid === undefined) return null;
  const users = words['userns'];
  const hostUsers = users === 'host' ? true : users === 'other' ? false : undefined;
  const rest = { name: words['comm'] ?? '', caps, groups, hostUsers, label: known(words['label']) };
  return present({ line, container, pid, uid, gid, ...rest }) as Process;
}

/** docker/socket-mounts.txt: lines of mounts, each container's followed by its processes; `looked ...` ends it. */
function readMounts(source: string): Parsed<DockerSocketMounts> {
  const mounts: Mount[] = [];
  const processes: Process[] = [];
  const rest: { -readonly [K in 'selinuxEnforcing' | 'looked']?: NonNullable<DockerSocketMounts[K]> } = {};
  const skipped: Skipped[] = [];
  const lines = filledLines(source);
  const take = <T>(line: number, item: T | null, into: T[]) => {
    if (item === null) skipped.push({ line, why: 'not whole' });
    else into.push(item);
  };
  for (const { line, text } of lines) {
    const { kind, words } = readLine(text);
    if (kind === 'mount') take(line, mountOf(line, words), mounts);
    else if (kind === 'process') take(line, processOf(line, words), processes);
    else if (kind === 'selinux') rest.selinuxEnforcing = { line, value: words['enforce'] === '1' };
    else if (kind === 'looked') {
      const [containers, unread] = [count(words['containers']), count(words['unread'])];
      if (containers === undefined || unread === undefined) skipped.push({ line, why: 'not whole' });
      else rest.looked = { line, containers, unread };
    } else if (kind !== 'socket') skipped.push({ line, why: 'no mount of a socket' });
  }
  if (lines.length > 0 && skipped.length === lines.length) return { ok: false, why: 'no mounts of a socket' };
  return { ok: true, value: { mounts, processes, ...rest }, skipped };
}

export const parsers = [
  defineParser({ fact: 'dockerSocket', evidence: ['docker.socket'], version: 1, parse: readSocket }),
  defineParser({ fact: 'dockerSocketMounts', evidence: ['docker.socket-mounts'], version: 1, parse: readMounts }),
];
