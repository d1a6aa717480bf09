import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import type { Setting, Settings } from '../facts/settings.ts';
import { readJsonFacts } from './json-config.ts';
import { filledLines } from './line-index.ts';

/** Titles of `docker info` text -> the path that `--format '{{json .}}'` has; others keep their words without blanks. */
const JSON_PATHS = new Map([
  ['Running', 'ContainersRunning'],
  ['Paused', 'ContainersPaused'],
  ['Stopped', 'ContainersStopped'],
  ['Storage Driver', 'Driver'],
  ['Swarm', 'Swarm.LocalNodeState'],
  ['Insecure Registries', 'RegistryConfig.InsecureRegistryCIDRs'],
  ['Registry Mirrors', 'RegistryConfig.Mirrors'],
  ['containerd version', 'ContainerdCommit.ID'],
  ['runc version', 'RuncCommit.ID'],
  ['init version', 'InitCommit.ID'],
  ['CPUs', 'NCPU'],
  ['Debug Mode', 'Debug'],
  ['Debug Mode (server)', 'Debug'],
  ['Experimental', 'ExperimentalBuild'],
  ['Registry', 'IndexServerAddress'],
  ['HTTP Proxy', 'HttpProxy'],
  ['HTTPS Proxy', 'HttpsProxy'],
  ['No Proxy', 'NoProxy'],
  ['Firewall Backend', 'FirewallBackend.Driver'],
]);
const NUMBERS = new Set(['Containers', 'ContainersRunning', 'ContainersPaused', 'ContainersStopped', 'Images', 'NCPU']);
/** Titles whose deeper lines are plain items, not `key: value`. */
const LISTS = new Set(['RegistryConfig.InsecureRegistryCIDRs', 'RegistryConfig.Mirrors', 'SecurityOptions']);

function scalar(path: string, word: string): Pick<Setting, 'value' | 'type'> {
  if (word === 'true' || word === 'false') return { value: word === 'true', type: 'boolean' };
  if (NUMBERS.has(path) && /^\d{1,15}$/.test(word)) return { value: Number(word), type: 'number' };
  return { value: word, type: 'string' };
}

/** Sections `Client:` and `Server:` (absent in old versions); nesting by blanks; `WARNING:` lines become Warnings.N as in JSON. */
function readText(
  text: string,
  paths: ReadonlyMap<string, string>,
  serverPrefix: string,
  clientPrefix: string,
): Parsed<Settings> {
  const settings: Setting[] = [];
  const skipped: Skipped[] = [];
  const counts = new Map<string, number>();
  let prefix = '';
  let above: { indent: number; path: string }[] = [];
  const item = (path: string) => {
    const n = counts.get(path) ?? 0;
    counts.set(path, n + 1);
    return `${path}.${n}`;
  };
  // JSON has `name=seccomp,profile=default` where the text has `seccomp` and below it `Profile: default`
  const addOption = (word: string, line: number) => {
    const detail = /^(\w[\w ]*): (.*)$/.exec(word);
    const last = settings[settings.length - 1];
    if (detail === null || last === undefined)
      settings.push({ line, path: item('SecurityOptions'), value: `name=${word}`, type: 'string' });
    else
      settings[settings.length - 1] = {
        ...last,
        endLine: line,
        value: `${last.value},${detail[1]!.toLowerCase()}=${detail[2]}`,
      };
  };
  for (const { line, text: raw } of filledLines(text)) {
    const word = raw.trim();
    const indent = raw.length - raw.trimStart().length;
    const section = indent === 0 ? /^(Client|Server):(?:\s+(\S.*))?$/.exec(word) : null;
    if (section !== null) {
      prefix = section[1] === 'Client' ? clientPrefix : serverPrefix;
      above = [];
      if (section[2] !== undefined)
        settings.push({ line, path: `${prefix}Platform.Name`, value: section[2], type: 'string' });
      continue;
    }
    if (/^WARNING: /.test(word)) {
      settings.push({ line, path: item('Warnings'), value: word, type: 'string' });
      continue;
    }
    while (above.length > 0 && above[above.length - 1]!.indent >= indent) above.pop();
    const parent = above[above.length - 1]?.path;
    // `key: value` needs a blank behind the colon: an item may be 127.0.0.0/8 or https://mirror
    const m = parent !== undefined && LISTS.has(parent) ? null : /^([^:]+):(?:\s+(.*))?$/.exec(word);
    if (m === null) {
      if (parent === undefined || above.length > 16) skipped.push({ line, why: 'no `title: value` of docker' });
      else if (parent !== 'SecurityOptions') settings.push({ line, path: item(parent), ...scalar('', word) });
      else addOption(word, line);
      continue;
    }
    const title = m[1]!;
    const known = paths.get(title);
    const own = title.replace(/\s+/g, '');
    // a mapped title stands for its path wherever it is nested (` Running:` under `Containers:`)
    const path = known !== undefined ? prefix + known : parent !== undefined ? `${parent}.${own}` : prefix + own;
    if (m[2] !== undefined && m[2] !== '') settings.push({ line, path, ...scalar(path, m[2]) });
    if (above.length <= 16) above.push({ indent, path });
  }
  if (settings.length === 0) return { ok: false, why: 'no output of docker' };
  return { ok: true, value: { settings }, skipped };
}

const isJson = (text: string) => /^\uFEFF?\s*\{/.test(text.slice(0, 1000));

/** `docker version` text nests the engine one deeper than JSON does. */
const VERSION_PATHS = new Map([
  ['API version', 'ApiVersion'],
  ['Go version', 'GoVersion'],
  ['Git commit', 'GitCommit'],
  ['Built', 'BuildTime'],
]);

export const parsers = [
  defineParser({
    fact: 'dockerInfo',
    evidence: ['docker.info-json', 'docker.info'],
    version: 1,
    parse: (text) => (isJson(text) ? readJsonFacts(text) : readText(text, JSON_PATHS, '', 'ClientInfo.')),
  }),
  defineParser({
    fact: 'dockerVersion',
    evidence: ['docker.version'],
    version: 1,
    parse: (text) =>
      isJson(text)
        ? readJsonFacts(text)
        : readText(text.replace(/^( +)Engine:[^\S\n]*$/m, ''), VERSION_PATHS, 'Server.', 'Client.'),
  }),
];
