import { type Addr, isLoopback } from './addr.ts';
import type { OwnAddress } from './devices.ts';
import { FibTable } from './fib.ts';

/** The local table as the kernel keeps it for these addresses, where the dump does not show it. */
export function localTable(addresses: readonly OwnAddress[], family: 4 | 6): FibTable {
  const table = new FibTable();
  const add = (type: string, addr: Addr, length: number, a: OwnAddress) => {
    const route = {
      line: a.cite.line,
      family,
      type,
      dst: '',
      metric: 0,
      table: 'local',
      flags: [],
      nexthops: [],
    };
    table.add(
      {
        route,
        type,
        length,
        metric: 0,
        tos: 0,
        prefsrc: null,
        mtu: null,
        hops: [{ dev: a.dev, via: null, weight: 1, dead: false, linkDown: false, onlink: false }],
      },
      addr,
    );
  };
  const bits = family === 4 ? 32 : 128;
  for (const a of addresses) {
    if ((typeof a.addr === 'number') !== (family === 4)) continue;
    add('local', a.addr, bits, a);
    if (typeof a.addr === 'number' && isLoopback(a.addr)) add('local', a.net.base, a.net.length, a);
    else if (typeof a.net.base === 'number' && a.net.length < 31)
      add('broadcast', (a.net.base | (0xffffffff >>> a.net.length)) >>> 0, 32, a);
  }
  return table;
}
