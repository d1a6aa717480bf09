import type { Cgroup, Modules, NetnsIndex, TextLines } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { readEnvFile } from './env-files.ts';
import { present } from './json-value.ts';
import { count, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';

function readLines(text: string): Parsed<TextLines> {
  const lines = filledLines(text).map(({ line, text: raw }) => ({ line, text: raw.trim() }));
  return lines.length === 0 ? { ok: false, why: 'empty' } : { ok: true, value: { lines }, skipped: [] };
}

/** /proc/modules, lsmod, or one name a line (`ls /sys/module`); lsmod's title needs no place. */
function readModules(text: string): Parsed<Modules> {
  const modules: Modules['modules'][number][] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const words = wordsOf(raw);
    if (/^Module\s+Size\s+Used by/.test(raw)) continue;
    const row =
      words.length === 1 || (words.length > 2 && count(words[1]) !== undefined && count(words[2]) !== undefined);
    if (row && /^[\w-]+$/.test(words[0]!)) modules.push({ line, name: words[0]! });
    else skipped.push({ line, why: 'no module' });
  }
  if (modules.length === 0 && skipped.length > 0) return { ok: false, why: 'no module' };
  return { ok: true, value: { modules }, skipped };
}

/**
 * `stat -fc %T /sys/fs/cgroup`, /proc/1/cgroup and the cgroup mounts, in this order. cgroup2fs is version 2; else controllers of version 1 make
 * it 1, or hybrid when version 2 is mounted or listed (`0::`) beside them. Lines of these three kinds are understood.
 */
function readCgroup(text: string): Parsed<Cgroup> {
  const skipped: Skipped[] = [];
  let [unified, two, one, some] = [0, 0, 0, 0];
  for (const { line, text: raw } of filledLines(text)) {
    const words = wordsOf(raw);
    const process = /^(\d+):([^:]*):\//.exec(raw);
    if (words.length === 1 && process === null) {
      if (words[0] === 'cgroup2fs') unified ||= line;
      else if (words[0] !== 'tmpfs') skipped.push({ line, why: 'no file system of cgroups' });
    } else if (process !== null) {
      if (process[1] === '0' && process[2] === '') two ||= line;
      else one ||= line;
    } else if (words[2] === 'cgroup2') {
      if (words[1] === '/sys/fs/cgroup') unified ||= line;
      else two ||= line;
    } else if (words[2] === 'cgroup') one ||= line;
    else if (words[2] !== 'tmpfs') skipped.push({ line, why: 'no cgroup' });
    if (skipped.at(-1)?.line !== line) some ||= line;
  }
  if (some === 0) return { ok: false, why: 'says nothing of cgroups' };
  // `0::` alone, without the mounts, is version 2 as well
  const version = unified > 0 || (two > 0 && one === 0) ? 2 : one === 0 ? null : two > 0 ? 'hybrid' : 1;
  return { ok: true, value: { version, line: unified || one || two || some }, skipped };
}

/** `inode pid comm cgroup-id pin-path`, `-` for what is not known. */
function readNetnsIndex(text: string): Parsed<NetnsIndex> {
  const namespaces: NetnsIndex['namespaces'][number][] = [];
  const skipped: Skipped[] = [];
  const known = (word: string | undefined) => (word === '-' ? undefined : word);
  for (const { line, text: raw } of filledLines(text)) {
    const [inode = '', pid, comm, cgroup, ...pin] = wordsOf(raw);
    if (!/^\d{1,20}$/.test(inode) || (pid !== '-' && count(pid) === undefined))
      skipped.push({ line, why: 'no namespace' });
    else {
      const rest = { comm: known(comm), cgroup: known(cgroup), pin: known(pin.join(' ') || undefined) };
      namespaces.push(present({ inode, pid: count(pid), ...rest, line }));
    }
  }
  if (namespaces.length === 0 && skipped.length > 0) return { ok: false, why: 'no namespace' };
  return { ok: true, value: { namespaces }, skipped };
}

export const parsers = [
  defineParser({ fact: 'hostname', evidence: ['sys.hostname'], version: 1, parse: readLines }),
  defineParser({ fact: 'uname', evidence: ['sys.uname'], version: 1, parse: readLines }),
  defineParser({ fact: 'uptime', evidence: ['sys.uptime'], version: 1, parse: readLines }),
  defineParser({ fact: 'osRelease', evidence: ['sys.os-release'], version: 1, parse: readEnvFile }),
  defineParser({ fact: 'modules', evidence: ['sys.modules'], version: 1, parse: readModules }),
  defineParser({ fact: 'cgroup', evidence: ['sys.cgroup'], version: 1, parse: readCgroup }),
  defineParser({ fact: 'netnsIndex', evidence: ['netns.index'], version: 1, parse: readNetnsIndex }),
];
