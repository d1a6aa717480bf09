// Bundle format v1: members in the collector's order, manifest.json with one record a line, SHA256SUMS last.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { sha256 } from './random.mjs';

const ROWS = readFileSync(join(import.meta.dirname, '../../collectors/evidence.tsv'), 'utf8')
  .split('\n')
  .filter((l) => l !== '' && !l.startsWith('#'))
  .map((l) => l.split('\t'))
  .map(([id, path, command, guard, , , sens]) => ({ id, path, command, guard, sens, match: matcher(path) }));

/** A path of the table as a regular expression; its star is the instance. */
function matcher(path) {
  if (!path.includes('*')) return null;
  return new RegExp(`^${path.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace('*', '([^/]+)')}$`);
}

/** Why an item that a node does not have is not there. */
function without({ id, command, guard }) {
  if (command.startsWith('file:')) return ['absent', `no such file: ${command.slice(5).split(' ')[0]}`];
  if (id.startsWith('k8s.')) return ['disabled', '--api was not given'];
  if (id === 'ct.table') return ['disabled', '--conntrack was not given'];
  if (id.startsWith('cri.') || id === 'fw.firewalld')
    return ['missing', `tool not found in PATH: ${command.split(' ')[0]}`];
  if (command.startsWith('/proc/PID')) return ['absent', `no process ${command.split(' ').at(-1)}`];
  if (guard !== '-') return ['skipped', `guard: ${guard}`];
  return ['absent', 'not on this node'];
}

function record(row, path, instance, text, t) {
  const file = row.command.startsWith('file:');
  const common = {
    id: row.id,
    path,
    ...(instance === null ? {} : { instance }),
    ...(file
      ? { src: `/${path.replace(/^files\//, '')}`, kind: 'file' }
      : { kind: 'cmd', argv: ['sh', '-c', row.command] }),
    ns: row.id.startsWith('netns.') && instance !== null ? instance : 'host',
    sens: row.sens,
  };
  if (text === null) {
    const [status, reason] = without(row);
    return { ...common, status, rc: null, t, ms: 0, bytes: 0, redactions: 0, reason };
  }
  return {
    ...common,
    status: 'ok',
    rc: 0,
    t,
    ms: 4,
    bytes: text.length,
    lines: newlines(text),
    sha256: sha256(text),
    redactions: 0,
  };
}

function newlines(bytes) {
  let n = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) n += 1;
  return n;
}

/** All members of a bundle in order: [path, bytes]. */
export function members(node, texts) {
  const list = [];
  const records = [];
  const left = new Map(Object.entries(texts).map(([path, text]) => [path, Buffer.from(text)]));
  const add = (path, bytes) => list.push([path, bytes]);
  add('bundle.json', Buffer.from(identity(node)));
  let t = 20;
  for (const row of ROWS) {
    const found =
      row.match === null
        ? left.has(row.path)
          ? [[row.path, null]]
          : []
        : [...left.keys()].flatMap((p) => (row.match.test(p) ? [[p, row.match.exec(p)[1]]] : []));
    for (const [path, instance] of found) {
      const bytes = left.get(path);
      left.delete(path);
      t += 10;
      records.push(record(row, path, instance, bytes, t));
      add(path, bytes);
    }
    if (found.length === 0 && !row.id.startsWith('netns.')) records.push(record(row, row.path, null, null, t));
  }
  if (left.size > 0) throw new Error(`no item of evidence.tsv has the path ${[...left.keys()][0]}`);
  const ok = records.filter((r) => r.status === 'ok').length;
  const head = `{"format":"netcase-bundle","version":1,"id":"${node.id}","t0":${node.t0},"evidence":[\n`;
  const end = `\n],"end":${JSON.stringify({ records: records.length, ok, t1: node.t0 + 3, deadline: false, complete: true })}}\n`;
  add('manifest.json', Buffer.from(head + records.map((r) => JSON.stringify(r)).join(',\n') + end));
  const sums = new Map(records.filter((r) => r.sha256 !== undefined).map((r) => [r.path, r.sha256]));
  add('SHA256SUMS', Buffer.from(list.map(([path, bytes]) => `${sums.get(path) ?? sha256(bytes)}  ${path}\n`).join('')));
  return list;
}

function identity(node) {
  return `${JSON.stringify({
    format: 'netcase-bundle',
    version: 1,
    minReader: 1,
    id: node.id,
    collector: { name: 'netcase-collect.sh', version: '0.1.0', sha256: sha256('bench/fleet') },
    node: {
      name: node.name,
      hostname: node.name,
      fqdn: '',
      machineIdSha256: node.machineId,
      bootId: node.bootId,
      kernel: '6.1.0-28-amd64',
      os: 'Debian GNU/Linux 12 (bookworm)',
    },
    clock: { epoch: node.t0, uptimeCs: node.uptime * 100, tz: 'UTC +0000', refEpoch: null },
    context: { uid: 0, caps: '000001ffffffffff', netns: '4026531840', pid1netns: '4026531840', mode: 'host' },
    options: [],
  })}\n`;
}

function header(name, size) {
  const h = Buffer.alloc(512);
  if (name.length > 100) {
    const cut = name.lastIndexOf('/', name.length - 1);
    h.write(name.slice(cut + 1), 0, 100, 'latin1');
    h.write(name.slice(0, cut), 345, 155, 'latin1');
  } else h.write(name, 0, 100, 'latin1');
  h.write('0000600\0', 100);
  h.write('0000000\0', 108);
  h.write('0000000\0', 116);
  h.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  h.write('00000000000\0', 136);
  h.write('        ', 148);
  h.write('0', 156);
  h.write('ustar\x0000', 257, 'latin1');
  let sum = 0;
  for (const byte of h) sum += byte;
  h.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return h;
}

function tar(root, list) {
  const parts = [];
  for (const [path, bytes] of list) {
    parts.push(header(`${root}/${path}`, bytes.length), bytes);
    if (bytes.length % 512 > 0) parts.push(Buffer.alloc(512 - (bytes.length % 512)));
  }
  parts.push(Buffer.alloc(1024));
  const size = parts.reduce((n, p) => n + p.length, 0);
  // GNU tar fills the last record up
  if (size % 10_240 > 0) parts.push(Buffer.alloc(10_240 - (size % 10_240)));
  return Buffer.concat(parts);
}

/** Writes one bundle; returns its sizes. */
export function writeBundle(node, texts, out, { level, dir }) {
  const list = members(node, texts);
  if (dir) {
    for (const [path, bytes] of list) {
      mkdirSync(join(out, node.file, dirname(path)), { recursive: true });
      writeFileSync(join(out, node.file, path), bytes);
    }
    return { name: node.file, bytes: list.reduce((n, [, b]) => n + b.length, 0) };
  }
  const archive = tar(node.file, list);
  const packed = gzipSync(archive, { level });
  writeFileSync(join(out, `${node.file}.tar.gz`), packed);
  return { name: `${node.file}.tar.gz`, tar: archive.length, bytes: packed.length };
}
