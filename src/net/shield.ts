import { formatAddr } from './addr.ts';
import type { Decider } from './ask.ts';
import { askInput } from './ask-host.ts';
import { routeTo } from './ask-route.ts';
import type { NetNode } from './model.ts';

/** Somebody behind no router that is known (RFC 3849). */
const OUTSIDE_6 = '2001:db8::99';

/**
 * What drops a new TCP connection from another machine, wherever it comes in by the device of the default route; null: nothing, or not known.
 * `six`: the listener takes IPv6 too, and a global address of the device has to be shut as well.
 */
export function shieldOf(node: NetNode, outside: string, port: number, six: boolean): Decider | null {
  const out = routeTo(node, outside);
  if (out === null || !Number.isInteger(port)) return null;
  const addresses = node.host.devices.byName.get(out.dev)?.addresses ?? [];
  const own = addresses.find((a) => typeof a.addr === 'number');
  if (own === undefined) return null;
  const near = out.via === null ? outside : formatAddr(out.via);
  const ask = (src: string, dst: string) => askInput(node, { src, dst, proto: 'tcp', dport: port, iif: out.dev });
  const answers = [outside, near].map((src) => ask(src, formatAddr(own.addr)));
  for (const { addr, scope } of six ? addresses : [])
    if (typeof addr !== 'number' && scope === 'global') answers.push(ask(OUTSIDE_6, formatAddr(addr)));
  return answers.every((a) => a.verdict === 'drop') ? (answers[0]?.deciders[0] ?? null) : null;
}
