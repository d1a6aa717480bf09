import { findNodeAtLocation, getNodeValue, type Node } from 'jsonc-parser';
import type { DockerNetworkList, DockerNetworks } from '../facts/containers.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { type JsonTree, readJsonTree, skippedErrors } from './json-tree.ts';
import { boolean, entries, get, present, text, textRecord } from './json-value.ts';
import { filledLines } from './line-index.ts';

type Network = DockerNetworks['networks'][number];

function bridgeName(name: string, id: string, driver: string, option: string | undefined): string | undefined {
  if (driver !== 'bridge') return undefined;
  return option ?? (name === 'bridge' ? 'docker0' : `br-${id.slice(0, 12)}`);
}

function readNetwork(tree: JsonTree, node: Node): Network | null {
  const value: unknown = getNodeValue(node);
  const [id, name, driver] = [text(get(value, 'Id')), text(get(value, 'Name')), text(get(value, 'Driver'))];
  if (id === undefined || name === undefined) return null;
  const ipam = (findNodeAtLocation(node, ['IPAM', 'Config'])?.children ?? []).flatMap((child) => {
    const config: unknown = getNodeValue(child);
    const subnet = text(get(config, 'Subnet'));
    if (subnet === undefined) return [];
    const [gateway, ipRange] = [text(get(config, 'Gateway')), text(get(config, 'IPRange'))];
    return [present({ ...tree.index.span(child.offset, child.length), subnet, gateway, ipRange })];
  });
  const containers = entries(get(value, 'Containers')).map(([key, c]) =>
    present({
      id: key,
      name: text(get(c, 'Name')) ?? '',
      ipv4: text(get(c, 'IPv4Address')),
      ipv6: text(get(c, 'IPv6Address')),
      mac: text(get(c, 'MacAddress')),
    }),
  );
  const options = textRecord(get(value, 'Options'));
  return present({
    ...tree.index.span(node.offset, node.length),
    id,
    name,
    driver: driver ?? '',
    scope: text(get(value, 'Scope')) ?? '',
    internal: boolean(get(value, 'Internal')) ?? false,
    bridge: bridgeName(name, id, driver ?? '', text(options['com.docker.network.bridge.name'])),
    ipam,
    options,
    containers,
  }) as Network;
}

function readNetworks(source: string): Parsed<DockerNetworks> {
  const tree = readJsonTree(source);
  if (typeof tree === 'string') return { ok: false, why: tree };
  if (tree.root?.type !== 'array') return { ok: false, why: 'no JSON array of networks' };
  const skipped: Skipped[] = skippedErrors(tree);
  const networks: Network[] = [];
  for (const node of tree.root.children ?? []) {
    const network = readNetwork(tree, node);
    if (network === null)
      skipped.push({ line: tree.index.lineAt(node.offset), why: 'no docker network (Id and Name)' });
    else networks.push(network);
  }
  return { ok: true, value: { networks }, skipped };
}

/** Columns by the header's places, as names may hold blanks; a paste that lost its alignment is split at two blanks or more. */
function cells(line: string, columns: readonly number[]): string[] {
  const aligned = columns.every((at) => at === 0 || at >= line.length || line.charCodeAt(at - 1) === 32);
  if (!aligned) return line.trim().split(/\t+|\s{2,}/);
  return columns.map((at, i) => line.slice(at, columns[i + 1]).trim());
}

function readNetworkList(source: string): Parsed<DockerNetworkList> {
  const networks: DockerNetworkList['networks'][number][] = [];
  const skipped: Skipped[] = [];
  let columns: number[] | null = null;
  for (const { line, text: raw } of filledLines(source)) {
    if (/^\s*NETWORK ID\s+NAME\s+DRIVER/.test(raw)) {
      columns = ['NETWORK ID', 'NAME', 'DRIVER', 'SCOPE'].map((title) => raw.indexOf(title)).filter((at) => at >= 0);
      continue;
    }
    const [id, name, driver, scope] = columns === null ? raw.trim().split(/\t+|\s{2,}/) : cells(raw, columns);
    if (id === undefined || !/^[0-9a-z]{12,64}$/.test(id) || !name || !driver)
      skipped.push({ line, why: 'no line of docker network ls' });
    else networks.push({ line, id, name, driver, ...(scope ? { scope } : {}) });
  }
  if (columns === null && networks.length === 0 && skipped.length > 0)
    return { ok: false, why: 'no output of docker network ls' };
  return { ok: true, value: { networks }, skipped };
}

/** `docker network inspect` (JSON, places by offset) and `docker network ls` (the header line is understood; old ones have no SCOPE). */
export const parsers = [
  defineParser({ fact: 'dockerNetworks', evidence: ['docker.network-inspect'], version: 1, parse: readNetworks }),
  defineParser({ fact: 'dockerNetworkList', evidence: ['docker.network-ls'], version: 1, parse: readNetworkList }),
];
