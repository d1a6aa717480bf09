import { basename } from 'node:path';
import { readInput } from '../../../src/bundle/index.ts';
import { decodeEvidence } from '../../../src/cases/evidence-text.ts';
import { nodeInfo } from '../../../src/cases/prepare.ts';
import { NodeFacts } from '../../../src/engine/index.ts';
import { buildNode, clusterOf, trace } from '../../../src/net/index.ts';
import type { MemoryBundle } from './recording.ts';

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

/** A bundle file, or one in memory. */
export type BundleInput = string | MemoryBundle;

/** What a bundle says, with some of its files left out as if they had never been collected. */
export interface NodeSource {
  readonly id: string;
  readonly facts: (without?: ReadonlySet<string>, rewrite?: (text: string) => string) => NodeFacts;
  /** Files that the facts given out so far have read. */
  readonly read: Set<string>;
}

export async function sourcesOf(input: BundleInput): Promise<NodeSource[]> {
  const name = typeof input === 'string' ? basename(input) : input.name;
  const results = await readInput(typeof input === 'string' ? input : input.bytes, { name });
  return results.map((result): NodeSource => {
    if (!result.ok) throw new Error(`${name}: ${JSON.stringify(result)}`);
    const { bundle } = result;
    const read = new Set<string>();
    return {
      id: bundle.nodeName,
      read,
      facts(without = new Set(), rewrite = (text) => text) {
        const evidence = bundle.evidence.filter((record) => !without.has(record.path));
        return new NodeFacts({
          info: nodeInfo(bundle, bundle.nodeName, evidence),
          textAt(at) {
            read.add(at);
            const member = bundle.members.get(at);
            return member === undefined || without.has(at) ? null : rewrite(decodeEvidence(member.bytes));
          },
        });
      },
    };
  });
}

/** Traces all of them over these nodes. A trace that throws is an unknown. */
export async function traceOver(
  nodes: readonly NodeFacts[],
  requests: readonly TraceRequest[],
): Promise<readonly TraceJson[]> {
  const cluster = clusterOf(nodes.map((facts) => buildNode(facts)));
  return requests.map((request) => {
    try {
      return trace(cluster, request);
    } catch (e) {
      return { verdict: 'unknown', because: `the trace threw: ${(e as Error).stack ?? e}`, hops: [] };
    }
  });
}

/** Traces all of them over the same bundles, offline, in this process. */
export async function traceAll(
  bundles: readonly BundleInput[],
  requests: readonly TraceRequest[],
): Promise<readonly TraceJson[]> {
  const sources = (await Promise.all(bundles.map(sourcesOf))).flat();
  return traceOver(
    sources.map((source) => source.facts()),
    requests,
  );
}
