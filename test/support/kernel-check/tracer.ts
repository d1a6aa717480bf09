import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readInput } from '../../../src/bundle/index.ts';
import { decodeEvidence } from '../../../src/cases/evidence-text.ts';
import { nodeInfo } from '../../../src/cases/prepare.ts';
import { NodeFacts } from '../../../src/engine/index.ts';

export interface TraceRequest {
  /** A node, or an address. */
  readonly from: string;
  /** An address. */
  readonly to: string;
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly port?: number | undefined;
  /** Payload bytes. */
  readonly size?: number | undefined;
  readonly df?: boolean | undefined;
}

export type Verdict = 'delivered' | 'dropped' | 'rejected' | 'unknown';

export interface TraceHop {
  readonly node: string;
  readonly place: string;
  readonly action: string;
  readonly text?: string;
}

/** contract.md's Trace JSON, as far as the comparison reads it. */
export interface TraceJson {
  readonly verdict: Verdict;
  readonly because: string;
  readonly arrived?: {
    readonly node: string;
    readonly at: string;
    readonly src: string;
    readonly dst: string;
    readonly dport: number | null;
  } | null;
  readonly hops: readonly TraceHop[];
  readonly reply?: { readonly verdict: Verdict; readonly because: string; readonly hops: readonly TraceHop[] } | null;
  readonly branches?: readonly (TraceJson & { readonly probability?: number | null })[];
}

const NET = join(import.meta.dirname, '../../../src/net/index.ts');

interface Net {
  buildNode(facts: NodeFacts): unknown;
  trace?(cluster: unknown, request: object): TraceJson;
}

/** null: src/net does not trace yet. */
async function net(): Promise<Net | null> {
  if (!existsSync(NET)) return null;
  const found = (await import(NET)) as Net;
  return found.trace === undefined ? null : found;
}

export const canTrace = async (): Promise<boolean> => (await net()) !== null;

async function factsOf(path: string): Promise<NodeFacts[]> {
  const results = await readInput(path, { name: basename(path) });
  return results.map((result) => {
    if (!result.ok) throw new Error(`${path}: ${JSON.stringify(result)}`);
    const { bundle } = result;
    return new NodeFacts({
      info: nodeInfo(bundle, bundle.nodeName, bundle.evidence),
      textAt(at) {
        const member = bundle.members.get(at);
        return member === undefined ? null : decodeEvidence(member.bytes);
      },
    });
  });
}

/** Traces all of them over the same bundles, offline, in this process. A trace that throws is an unknown. */
export async function traceAll(
  bundles: readonly string[],
  requests: readonly TraceRequest[],
): Promise<readonly TraceJson[]> {
  const library = await net();
  if (library?.trace === undefined) throw new Error('src/net has no trace');
  const cluster: unknown[] = [];
  for (const path of bundles) for (const facts of await factsOf(path)) cluster.push(library.buildNode(facts));
  return requests.map((request) => {
    try {
      return library.trace!(cluster, request);
    } catch (e) {
      return { verdict: 'unknown', because: `the trace threw: ${(e as Error).stack ?? e}`, hops: [] };
    }
  });
}
