import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { CaseFile, EncodedBlob, NewEvent } from '../../src/store/index.ts';
import { encodeBlob, openCase } from '../../src/store/index.ts';

export const clock = () => '2026-05-04T03:02:01.000Z';

/** A folder of this test's own. */
export function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'netcase-store-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function create(path = join(folder(), 'a.netcase'), now = clock): CaseFile {
  const store = openCase(path, { mode: 'create', clock: now });
  onTestFinished(() => store.close());
  return store;
}

export const sha = (n: number) => n.toString(16).padStart(64, '0');

export interface Sample {
  readonly blobs: readonly EncodedBlob[];
  readonly event: Extract<NewEvent, { type: 'bundle.ingested' }>;
}

/** A bundle with one file of its own, one that all bundles share, and one that did not come. */
export function bundle(n: number, node = `node-${n}`, collectedAt: string | null = '2026-05-01T00:00:00.000Z'): Sample {
  const own = encodeBlob(Buffer.from(`own text of bundle ${n}\n`.repeat(40)));
  const shared = encodeBlob(Buffer.from('net.ipv4.ip_forward = 1\n'.repeat(60)));
  const file = (id: string, path: string, b: EncodedBlob) => ({
    id,
    path,
    status: 'ok',
    rc: 0,
    sha256: b.sha256,
    bytes: b.size,
  });
  const index = {
    records: [
      file('sys.uname', 'host/sys/uname.txt', own),
      file('net.sysctl', 'host/net/sysctl.txt', shared),
      { id: 'netns.ss-listen', path: 'netns/7/ss-listen.txt', instance: '7', status: 'absent', reason: 'no ss' },
    ],
    problems: [{ code: 'duplicate-member', severity: 'low', message: 'twice', path: 'host/x' }],
  };
  const list = encodeBlob(Buffer.from(JSON.stringify(index)));
  return {
    blobs: [own, shared, list],
    event: {
      type: 'bundle.ingested',
      key: `bundle ${sha(n)}`,
      payload: {
        sha256: sha(n),
        source: `netcase_${node}.tar.gz`,
        node,
        format: 'netcase-bundle/1',
        size: 1000 + n,
        collectedAt,
        identity: { hostname: node, machineIdSha256: sha(n + 1000), bootId: 'b' },
        collector: { name: 'netcase', version: '1' },
        context: { uid: 0, netns: 'net:[1]', pid1netns: 'net:[1]', mode: 'host' },
        complete: true,
        evidenceBlob: list.sha256,
      },
    },
  };
}

export function ingest(store: CaseFile, ...samples: readonly Sample[]): void {
  store.transaction(() => {
    for (const { blobs, event } of samples) {
      store.putBlobs(blobs);
      store.append(event);
    }
  });
}

/** An analysis of bundles, as src/report's Analysis has it as far as the projections read it. */
export function analyse(store: CaseFile, key: string, bundles: readonly number[]): void {
  const nodes = bundles.map((n) => `node-${n}`);
  const analysis = {
    schemaVersion: 1,
    bundles: bundles.map((n) => ({ sha256: sha(n) })),
    findings: [
      {
        id: 'ip-forward-disabled/node-1:all',
        rule: 'ip-forward-disabled',
        key: 'node-1:all',
        severity: 'high',
        confidence: 'proven',
        nodes,
        message: 'forwarding is off',
        cites: [
          {
            kind: 'lines',
            node: 'node-1',
            evidence: 'net.sysctl',
            path: 'host/net/sysctl.txt',
            line: 2,
            endLine: 3,
            excerpt: { text: 'own text of bundle 1' },
          },
          {
            kind: 'absent',
            node: 'node-1',
            evidence: 'net.sysctl',
            path: 'host/net/sysctl.txt',
            absent: 'an override',
          },
        ],
      },
    ],
    matrix: { 'ip-forward-disabled': Object.fromEntries(nodes.map((n) => [n, 'findings'])) },
  };
  const blob = encodeBlob(Buffer.from(JSON.stringify({ key, ...analysis })));
  store.transaction(() => {
    store.putBlobs([blob]);
    store.append({
      type: 'analysis.completed',
      key,
      payload: {
        ruleset: 'r1',
        tool: '0.1.0',
        position: store.head().position,
        analysisBlob: blob.sha256,
        verdict: { severity: 'high', sentence: 'forwarding is off on node-1' },
        counts: { high: 1 },
      },
    });
  });
}

/** One of every kind of event, in a case that hangs together. */
export function fill(store: CaseFile): void {
  ingest(store, bundle(1), bundle(2), bundle(3, 'node-1', '2026-05-02T00:00:00.000Z'), bundle(4, 'node-4', null));
  store.append({
    type: 'bundle.rejected',
    key: 'x',
    payload: { source: 'bad.tgz', sha256: null, code: 'gzip', message: 'cut' },
  });
  analyse(store, 'analysis 1', [1, 2]);
  store.append({
    type: 'finding.accepted',
    key: 'a',
    payload: { finding: 'ip-forward-disabled/node-1:all', because: 'lab', until: '2026-05-04' },
  });
  store.append({ type: 'report.rendered', key: 'r', payload: { format: 'html', sha256: sha(9), position: 7 } });
  store.append({ type: 'note.added', key: 'n', payload: { text: 'called the customer ☎ \u0000 end' } });
  store.putNodeResult(sha(1), 'r1', 'node-1', Buffer.from('{"answers":{}}'));
}
