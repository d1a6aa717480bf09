import type { Fact } from '../facts/index.ts';
import { type Addr, parseAddr } from './addr.ts';
import { type Cite, cite, missingReason, type Reason } from './doubt.ts';
import { factOf } from './instance.ts';
import type { Space } from './space.ts';

export interface Listener {
  readonly process: string | null;
  /** Bound to every address. */
  readonly wildcard: boolean;
  readonly cite: Cite;
}

export type Listening =
  | { readonly kind: 'listens'; readonly listener: Listener }
  | { readonly kind: 'nothing'; readonly cites: readonly Cite[]; readonly path: string; readonly evidence: string }
  | { readonly kind: 'unknown'; readonly reason: Reason };

type SocketsFact = Fact<'sockets'> | Fact<'netnsSockets'>;

/** Who takes a tcp or udp packet for this address, port and input device. */
export function listenerFor(space: Space, proto: 'tcp' | 'udp', addr: Addr, port: number, dev: string): Listening {
  const found = socketsFact(space);
  if ('because' in found) return { kind: 'unknown', reason: found };
  const fact: SocketsFact = found;
  const family = typeof addr === 'number' ? 4 : 6;
  let best: { listener: Listener; exact: boolean } | null = null;
  for (const l of fact.value.listeners) {
    if (l.proto !== proto || l.port !== port || (l.dev !== undefined && l.dev !== dev)) continue;
    const wild = l.address === '0.0.0.0' || l.address === '::' || l.address === '*';
    if (wild) {
      if (l.address === '0.0.0.0' && family === 6) continue;
      if (l.address === '::' && family === 4 && l.v6only === true) continue;
    } else if (!sameAddress(parseAddr(l.address), addr)) continue;
    const listener = { process: l.processes[0]?.name ?? null, wildcard: wild, cite: cite(fact, l) };
    if (best === null || (!wild && !best.exact)) best = { listener, exact: !wild };
  }
  if (best !== null) return { kind: 'listens', listener: best.listener };
  if (!fact.closed)
    return { kind: 'unknown', reason: { because: `${fact.path} was not collected whole`, evidence: [fact.evidence] } };
  return { kind: 'nothing', cites: [], path: fact.path, evidence: fact.evidence };
}

/** `::ffff:10.0.0.1` listens for 10.0.0.1. */
function sameAddress(listening: Addr | null, addr: Addr): boolean {
  if (listening === addr) return true;
  return typeof listening === 'bigint' && typeof addr === 'number' && listening === (0xffffn << 32n) + BigInt(addr);
}

function socketsFact(space: Space): SocketsFact | Reason {
  const { facts } = space.node;
  if (space.inode === null) {
    const fact = facts.get('sockets');
    return fact.missing ? missingReason(`listening sockets of ${space.label} are not known`, fact) : fact;
  }
  const fact = factOf(facts, 'netnsSockets', space.inode);
  return fact ?? { because: `listening sockets of ${space.label} were not collected`, evidence: ['netns.ss-listen'] };
}
