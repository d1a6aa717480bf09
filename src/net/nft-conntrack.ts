import { type Look, unknown } from './chain.ts';
import { connection } from './match-conntrack.ts';
import type { Expr, Read } from './nft-expr.ts';
import { BREAK, get, type Kind, type Value } from './nft-value.ts';
import { type CtView, inverse, type Packet, type Tuple } from './packet.ts';

const STATE_BITS = { INVALID: 1, ESTABLISHED: 2, RELATED: 4, NEW: 8, UNTRACKED: 64 } as const;

const state: Read = (p, look) => {
  const seen = connection(p, look);
  return seen === null ? null : { bits: STATE_BITS[seen.state], known: 0xffffffff };
};

/** Everything but the state has no value without a connection. */
const ofConnection =
  (of: (ct: CtView, p: Packet, look: Look) => Value | typeof BREAK | null): Read =>
  (p, look) => {
    const seen = connection(p, look);
    if (seen === null) return null;
    return seen.ct === null ? BREAK : of(seen.ct, p, look);
  };

const status = ofConnection((ct) => {
  const nat = (ct.snat ? 16 : 0) | (ct.dnat ? 32 : 0);
  // of an established connection, assured and confirmed depend on what came before
  if (ct.state === 'NEW') return { bits: nat, known: 0xffffffff };
  return { bits: nat | 2, known: 16 | 32 | 2 | 512 };
});

const mark = ofConnection((ct, _, look) => ct.mark ?? unknown(look, 'the mark of the connection is not known'));

const tupleKeys: Readonly<Record<string, readonly [kind: Kind, of: (t: Tuple) => Value | null]>> = {
  'ip saddr': ['addr4', (t) => (typeof t.src === 'number' ? t.src : null)],
  'ip daddr': ['addr4', (t) => (typeof t.dst === 'number' ? t.dst : null)],
  'ip6 saddr': ['addr6', (t) => (typeof t.src === 'bigint' ? t.src : null)],
  'ip6 daddr': ['addr6', (t) => (typeof t.dst === 'bigint' ? t.dst : null)],
  'proto-src': ['port', (t) => t.sport],
  'proto-dst': ['port', (t) => t.dport],
  protocol: ['proto', (t) => t.proto],
};

/** `ct state`, `ct original ip daddr` ...; null: not understood. */
export function CT_KEYS(body: unknown): Expr | null {
  const key = get(body, 'key');
  const dir = get(body, 'dir');
  if (typeof key !== 'string') return null;
  if (dir === undefined) {
    if (key === 'state') return { kinds: ['ctstate'], read: state };
    if (key === 'status') return { kinds: ['ctstatus'], read: status };
    if (key === 'mark') return { kinds: ['int'], read: mark };
    if (key === 'direction') return { kinds: ['ctdir'], read: ofConnection((ct) => (ct.reply ? 1 : 0)) };
    if (key === 'protocol') return { kinds: ['proto'], read: ofConnection((ct) => ct.orig.proto) };
    return null;
  }
  const known = Object.hasOwn(tupleKeys, key) ? tupleKeys[key] : undefined;
  if (known === undefined || (dir !== 'original' && dir !== 'reply')) return null;
  const [kind, of] = known;
  const read = ofConnection((ct, p, look) => {
    if (dir === 'original') return of(ct.orig) ?? BREAK;
    // nothing of a new connection is translated yet that the packet does not show
    if (ct.state === 'NEW' && !ct.reply) return of(inverse(p)) ?? BREAK;
    if (!ct.snat && !ct.dnat && ct.altered !== true) return of(inverse(ct.orig)) ?? BREAK;
    return unknown(look, 'the reply side of the translated connection is not known');
  });
  return { kinds: [kind], read };
}
