// temporary
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Parser } from 'tar';
import { evidenceAt, type EvidenceRecord } from '../core/evidence.ts';
export interface BundleProblem { readonly code: string; readonly severity: string; readonly message: string; readonly path?: string }
export type Limits = Record<string, number>;
export interface ReadBundle { readonly source: string; readonly format: string; readonly sha256: string; readonly size: number;
 readonly identity: { bundleId: string|null; hostname: string|null; fqdn: string|null; machineIdSha256: string|null; bootId: string|null; kernel: string|null; os: string|null };
 readonly nodeName: string; readonly collectedAt: string|null; readonly collector: {name:string;version:string}|null; readonly context: {uid:number|null;netns:string|null;pid1netns:string|null;mode:string|null};
 readonly complete: boolean; readonly evidence: readonly EvidenceRecord[]; readonly members: ReadonlyMap<string,{sha256:string;bytes:Uint8Array;record:EvidenceRecord|null}>; readonly problems: readonly BundleProblem[] }
export type ReadResult = { ok: true; bundle: ReadBundle } | { ok: false; problem: BundleProblem };
export async function expandInputs(args: readonly string[]) {
  const inputs: {path:string;name:string}[] = [];
  for (const a of args) { if (statSync(a).isDirectory()) for (const f of readdirSync(a).sort()) { if (f.endsWith('.gz')) inputs.push({ path: join(a, f), name: f }); } else inputs.push({ path: a, name: basename(a) }); }
  return { inputs, unreadable: [] as {source:string;message:string;code:string}[] };
}
const sha = (b: Uint8Array) => createHash('sha256').update(b).digest('hex');
export async function readInput(input: string|Uint8Array, o: {name:string; node?: string; limits?: unknown}): Promise<ReadResult[]> {
  const gz = typeof input === 'string' ? readFileSync(input) : input;
  const raw = gunzipSync(gz);
  const files = new Map<string, Buffer>();
  await new Promise<void>((res, rej) => { const p = new Parser({ strict: true, onReadEntry: (e) => { const parts: Buffer[] = []; e.on('data', (d: Buffer) => parts.push(d)); e.on('end', () => { if (e.type === 'File') files.set(e.path.slice(e.path.indexOf('/')+1), Buffer.concat(parts)); }); } }); p.on('end', () => res()); p.on('error', rej); p.end(raw); });
  const man = JSON.parse(files.get('manifest.json')!.toString()); const bj = JSON.parse(files.get('bundle.json')!.toString());
  const lines = files.get('manifest.json')!.toString().split('\n');
  const evidence: EvidenceRecord[] = man.evidence.map((r: any) => ({ ...r, instance: r.instance ?? evidenceAt(r.path)?.instance, manifestLine: lines.findIndex((l) => l.includes(`"path":"${r.path}"`)) + 1 }));
  const members = new Map([...files].map(([p, b]) => [p, { sha256: sha(b), bytes: new Uint8Array(b), record: evidence.find((r) => r.path === p) ?? null }]));
  return [{ ok: true, bundle: { source: o.name, format: 'netcase-bundle/1', sha256: sha(gz), size: gz.length, identity: { bundleId: bj.id, hostname: bj.node.hostname, fqdn: bj.node.fqdn, machineIdSha256: bj.node.machineIdSha256, bootId: bj.node.bootId, kernel: bj.node.kernel, os: bj.node.os }, nodeName: o.node ?? bj.node.hostname, collectedAt: new Date(bj.clock.epoch * 1000).toISOString(), collector: bj.collector, context: { uid: bj.context.uid, netns: bj.context.netns, pid1netns: bj.context.pid1netns, mode: bj.context.mode }, complete: man.end?.complete !== false, evidence, members, problems: [] } }];
}
