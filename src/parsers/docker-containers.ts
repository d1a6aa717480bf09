import { getNodeValue } from 'jsonc-parser';
import type { Span } from '../core/span.ts';
import type { DockerContainers } from '../facts/containers.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { depthOf, MAX_DEPTH, readJsonTree, skippedErrors } from './json-tree.ts';
import { boolean, entries, get, list, number, present, text, textRecord } from './json-value.ts';
import { filledLines } from './line-index.ts';

type Container = DockerContainers['containers'][number];
type Port = Container['ports'][number];

/** `"80/tcp": [{HostIp, HostPort}]`; null = exposed, not published. */
function readPorts(value: unknown): Port[] {
  return entries(value).flatMap(([key, bindings]): Port[] => {
    const m = /^(\d{1,5})(?:\/(\w+))?$/.exec(key);
    if (m === null) return [];
    const port = { containerPort: Number(m[1]), proto: m[2] ?? 'tcp' };
    if (list(bindings).length === 0) return [port];
    return list(bindings).map((b) => {
      const hostPort = /^\d{1,5}$/.test(String(get(b, 'HostPort'))) ? Number(get(b, 'HostPort')) : undefined;
      return present({ ...port, hostIp: text(get(b, 'HostIp')), hostPort }) as Port;
    });
  });
}

/** docker inspect's own nesting, or the flat names of a template (`State.Pid`). */
function readContainer(value: unknown, span: Span): Container | null {
  const at = (...path: string[]) => get(value, ...path) ?? get(value, path.join('.'));
  const [id, name] = [text(at('Id')), text(at('Name'))];
  if (id === undefined || name === undefined) return null;
  const networks = entries(at('NetworkSettings', 'Networks')).map(([key, n]) => {
    const ip = text(get(n, 'IPAddress'));
    return present({
      name: key,
      ip,
      prefixLength: ip === undefined ? undefined : number(get(n, 'IPPrefixLen')),
      gateway: text(get(n, 'Gateway')),
      mac: text(get(n, 'MacAddress')),
      ipv6: text(get(n, 'GlobalIPv6Address')),
    });
  });
  const state = text(at('State', 'Status')) ?? '';
  const ports = at('NetworkSettings', 'Ports');
  // of one that runs these are all: on host, macvlan and internal networks PortBindings have no effect (measured on 20.10)
  const bound = entries(ports).length > 0 || (state === 'running' && ports !== undefined && ports !== null);
  const pid = number(at('State', 'Pid'));
  return present({
    ...span,
    id,
    name: name.replace(/^\//, ''),
    state,
    startedAt: text(at('State', 'StartedAt')),
    finishedAt: text(at('State', 'FinishedAt')),
    error: text(at('State', 'Error')) || undefined,
    restarts: number(at('RestartCount')),
    pid: pid === 0 ? undefined : pid,
    networkMode: text(at('HostConfig', 'NetworkMode')),
    sandboxKey: text(at('NetworkSettings', 'SandboxKey')),
    privileged: boolean(at('HostConfig', 'Privileged')),
    image: text(at('Config', 'Image')),
    networks,
    ports: readPorts(bound ? ports : at('HostConfig', 'PortBindings')),
    labels: textRecord(at('Config', 'Labels')),
  }) as Container;
}

function readLine(line: string): unknown {
  if (depthOf(line) > MAX_DEPTH) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** containers.jsonl: one object a line; a whole `docker inspect` array (or one pretty object) is read as well. A stopped container has no pid. */
function readContainers(source: string): Parsed<DockerContainers> {
  const containers: Container[] = [];
  const skipped: Skipped[] = [];
  const lines = filledLines(source);
  const first = lines[0]?.text.trim() ?? '';
  if (first.startsWith('[') || first === '{') {
    const tree = readJsonTree(source);
    if (typeof tree === 'string') return { ok: false, why: tree };
    skipped.push(...skippedErrors(tree));
    const nodes = tree.root === undefined ? [] : tree.root.type === 'array' ? (tree.root.children ?? []) : [tree.root];
    for (const node of nodes) {
      const container = readContainer(getNodeValue(node), tree.index.span(node.offset, node.length));
      if (container === null)
        skipped.push({ line: tree.index.lineAt(node.offset), why: 'no docker container (Id and Name)' });
      else containers.push(container);
    }
    return { ok: true, value: { containers }, skipped };
  }
  for (const { line, text: raw } of lines) {
    const container = readContainer(readLine(raw), { line });
    if (container === null) skipped.push({ line, why: 'no JSON object of a docker container' });
    else containers.push(container);
  }
  if (containers.length === 0 && skipped.length > 0) return { ok: false, why: 'no JSON object of a docker container' };
  return { ok: true, value: { containers }, skipped };
}

export const parsers = [
  defineParser({ fact: 'dockerContainers', evidence: ['docker.containers'], version: 4, parse: readContainers }),
];
