import { expect, it } from 'vitest';
import { parseAddr } from '../../src/net/addr.ts';
import { tooBig } from '../../src/net/forwardable.ts';
import { ICMP, ICMP6, inPieces, makePacket } from '../../src/net/packet.ts';
import type { RouteAnswer } from '../../src/net/routing.ts';
import type { Run } from '../../src/net/run.ts';
import { START } from '../../src/net/way.ts';
import { hostOf } from './hook-nodes.ts';

const ROUTE: RouteAnswer = {
  type: 'unicast',
  dev: 'eth0',
  via: null,
  mtu: 1500,
  text: '',
  cites: [],
  reason: null,
  prefsrc: null,
  hopLimit: null,
  share: 1,
  table: 'main',
};
const run = { send: () => [] } as unknown as Run;
const routed = (six: boolean, df: boolean, sentMtu: number) => {
  const [src, dst] = (six ? ['fd00:244:1::10', 'fd00:244:2::10'] : ['10.244.1.10', '10.244.2.10']).map(parseAddr);
  const packet = makePacket({ src: src!, dst: dst!, proto: six ? ICMP6 : ICMP, size: 2048, df });
  return tooBig(run, START, hostOf({}), inPieces(packet, sentMtu), ROUTE)?.[0]?.verdict ?? 'passes';
};

// ping -s 2000 -M dont between pods of a host-gw cluster with IPv6, Linux 6.18: the sender makes the pieces, and they pass
it.each([
  ['IPv6 in pieces that fit', true, false, 1500, 'passes'],
  ['IPv6 in pieces that do not: a router makes none', true, false, 9000, 'dropped'],
  ['IPv6 whole', true, true, 9000, 'dropped'],
  ['IPv4: a router makes pieces', false, false, 9000, 'passes'],
  ['IPv4 that must not be fragmented', false, true, 9000, 'dropped'],
])('a router with an MTU of 1500 and 2048 bytes of %s', (_, six, df, mtu, what) => {
  expect(routed(six, df, mtu)).toBe(what);
});
