import { type Addr, isLinkLocal } from './addr.ts';
import { unknown } from './chain.ts';
import type { Expr } from './nft-expr.ts';
import { get } from './nft-value.ts';

/** `fib daddr type`, `fib saddr . iif oif`: what the routing tables say of an address; null: not understood. */
export function readFib(body: unknown): Expr | null {
  const flags = get(body, 'flags');
  const list = Array.isArray(flags) ? flags : [flags];
  const result = get(body, 'result');
  const [source, iif, oif] = [list.includes('saddr'), list.includes('iif'), list.includes('oif')];
  if (result === 'type') {
    return {
      kinds: ['word'],
      read: (p, look) => {
        const addr: Addr = source ? p.src : p.dst;
        const dev = iif ? p.iif : oif ? p.oif : '';
        const routing = look.space.routing(typeof addr === 'number' ? 4 : 6);
        const { type, reason } = dev === '' ? routing.typeOf(addr) : routing.typeOf(addr, dev);
        if (type === null) look.why = reason ?? { because: 'the type of an address is not known', evidence: [] };
        return type;
      },
    };
  }
  if (!source || oif || (result !== 'oif' && result !== 'oifname' && result !== 'check')) return null;
  return {
    kinds: ['bool'],
    read: (p, look) => {
      if (look.space.device(p.iif)?.kind === 'lo') return 1;
      if (isLinkLocal(p.src) && typeof p.src === 'bigint') return unknown(look, 'fib of a link-local source');
      const how = { loose: !iif, mark: list.includes('mark') };
      const { passes, reason } = look.space.routing(typeof p.dst === 'number' ? 4 : 6).reversePath(p, p.iif, how);
      if (passes === null) look.why = reason;
      return passes === null
        ? null
        : passes === 1
          ? 1
          : passes === 0
            ? 0
            : unknown(look, 'the route back is one of several');
    },
  };
}
