import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { RULES } from '../../rules/index.ts';
import type { ReadBundle } from '../../src/bundle/index.ts';
import { readInput } from '../../src/bundle/index.ts';
import { evaluate, type JudgedCase } from '../../src/cases/judge.ts';
import { tool } from '../../src/cases/tool.ts';
import type { EvidenceRecord } from '../../src/core/evidence.ts';
import type { Analysis, LogPlace } from '../../src/report/index.ts';
import type { BundleRow } from '../../src/store/index.ts';
import { root } from '../support/analyse.ts';

export const PLACE: LogPlace = { position: 7, head: createHash('sha256').update('test').digest('hex') };

/** Bundles of one recorded fixture, read by the real reader. */
export async function recorded(fixture: string): Promise<ReadBundle[]> {
  const dir = join(root, 'fixtures/bundles', fixture);
  const bundles: ReadBundle[] = [];
  for (const name of readdirSync(dir).sort()) {
    if (!name.endsWith('.tar.gz')) continue;
    for (const result of await readInput(join(dir, name))) {
      if (!result.ok) throw new Error(result.problem.message);
      bundles.push(result.bundle);
    }
  }
  return bundles;
}

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

/** A case of bundles in memory: what the engine reads of a case file, without the file. */
class MemoryCase implements JudgedCase {
  readonly rows: BundleRow[] = [];
  readonly blobs = new Map<string, Uint8Array>();
  readonly indexes = new Map<string, unknown>();
  readonly results = new Map<string, Uint8Array>();
  evidenceOf = ((bundle: string) => this.indexes.get(bundle)) as JudgedCase['evidenceOf'];
  rejected = (() => []) as JudgedCase['rejected'];
  readBlob = ((sha: string) => this.blobs.get(sha) ?? null) as JudgedCase['readBlob'];
  getNodeResult = ((...key: string[]) => this.results.get(key.join(' ')) ?? null) as JudgedCase['getNodeResult'];
  putNodeResult = ((bundle: string, ruleset: string, node: string, value: Uint8Array) => {
    this.results.set(`${bundle} ${ruleset} ${node}`, value);
  }) as JudgedCase['putNodeResult'];

  add(bundle: ReadBundle, node: string, edit: (text: string) => string): void {
    const records: EvidenceRecord[] = bundle.evidence.map((record) => {
      const member = bundle.members.get(record.path);
      if (member === undefined) return record;
      const bytes = Buffer.from(edit(Buffer.from(member.bytes).toString('latin1')), 'latin1');
      const sha = sha256(bytes);
      this.blobs.set(sha, bytes);
      return { ...record, sha256: sha, bytes: bytes.length };
    });
    const id = sha256(`${bundle.sha256} ${node}`);
    this.indexes.set(id, { records, problems: bundle.problems });
    this.rows.push({
      sha256: id,
      node,
      hostname: node,
      machineId: sha256(`machine ${node}`),
      bootId: `boot-${node}`,
      collectedAt: bundle.collectedAt,
      source: `netcase_${node}.tar.gz`,
      format: bundle.format,
      complete: bundle.complete,
      current: true,
      collector: bundle.collector?.version ?? null,
      context: bundle.context,
      evidenceBlob: id,
    } as BundleRow);
  }
}

/** Judges bundles that are read already, as `netcase analyze` does after ingesting them. */
export function analysisOf(fill: (memory: MemoryCase) => void): Analysis {
  const memory = new MemoryCase();
  fill(memory);
  return evaluate(memory, memory.rows, {}, RULES, tool().ruleset);
}

/**
 * `count` nodes: copies of recorded three-node clusters, each with names, underlay and pod network of its own. Every `faultyEvery`-th
 * cluster is the demo (two faults), the others are healthy.
 */
export async function fleet(count: number, faultyEvery = 1): Promise<Analysis> {
  const [faulty, healthy] = [await recorded('demo'), await recorded('healthy-vxlan')];
  return analysisOf((memory) => {
    for (let i = 0; i < count; i += 1) {
      const cluster = Math.floor(i / 3);
      const bundles = cluster % faultyEvery === 0 ? faulty : healthy;
      const bundle = bundles[i % 3] as ReadBundle;
      const name = (k: number) => `node-${String(cluster * 3 + k + 1).padStart(4, '0')}`;
      const pods = podPrefix(cluster);
      const underlay = `172.${16 + Math.floor(cluster / 250)}.${cluster % 250}`;
      memory.add(bundle, name(i % 3), (text) =>
        text
          .replaceAll('10.244.', `${pods}.`)
          .replaceAll('192.168.50.', `${underlay}.`)
          .replaceAll('node-a', name(0))
          .replaceAll('node-b', name(1))
          .replaceAll('node-c', name(2)),
      );
    }
  });
}

/** Two octets that do not meet the service network 10.96.0.0/12. */
function podPrefix(cluster: number): string {
  if (cluster < 96) return `10.${cluster}`;
  return cluster < 240 ? `10.${cluster + 16}` : `100.${64 + cluster - 240}`;
}

export async function demo(): Promise<Analysis> {
  const bundles = await recorded('demo');
  return analysisOf((memory) => {
    for (const bundle of bundles) memory.add(bundle, bundle.nodeName, (text) => text);
  });
}
