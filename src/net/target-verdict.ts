import { noted, type Outcome, type PreparedRule, placeOf, type Site, type State, stepOf } from './chain.ts';
import type { Packet } from './packet.ts';

export type Finish = 'accept' | 'drop' | 'reject';

/** Ends the base chain; an accept leaves a step only where it is told. */
export function finish(state: State, site: Site, rule: PreparedRule, verdict: Finish, rejectWith?: string): Outcome {
  const told = verdict !== 'accept' || site.tells ? noted(state, stepOf(site, rule, verdict)) : state;
  const because = verdict === 'accept' ? '' : `${placeOf(site, rule.chain)}: ${rule.text}`;
  return { to: 'end', state: told, verdict, because, ...(rejectWith === undefined ? {} : { rejectWith }) };
}

/** The state with a changed packet, and a step when it did change. */
export function changed(state: State, site: Site, rule: PreparedRule, action: string, packet: Packet): State {
  const { mark, ttl, ttlGap, tos, ct } = state.packet;
  const sameTtl = ttl === packet.ttl && !ttlGap === !packet.ttlGap;
  const same = mark === packet.mark && sameTtl && tos === packet.tos && ct?.mark === packet.ct?.mark;
  return same ? state : noted(state, stepOf(site, rule, action), { packet });
}

export const goOn = (state: State): Outcome => ({ to: 'next', state });
