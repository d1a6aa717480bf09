import type { IptOption } from '../facts/index.ts';
import { type Act, fork, lost, type Outcome, ruleKey, ruleReason, type State } from './chain.ts';
import { readValueMask } from './match-options.ts';
import type { Packet } from './packet.ts';
import { changed, goOn } from './target-verdict.ts';

/** Sets the packet's mark by a function of its old one. */
export const markAct =
  (to: (mark: number) => number): Act =>
  (state, site, rule) =>
    goOn(changed(state, site, rule, 'mark', { ...state.packet, mark: to(state.packet.mark) >>> 0 }));

/** The options of MARK and CONNMARK that compute a mark; null: not understood. */
export function readMarkOf(options: readonly IptOption[]): ((mark: number) => number) | null {
  const [option, ...more] = options;
  const v = option === undefined || more.length > 0 || option.negated ? null : readValueMask(option.values[0] ?? '');
  if (v === null) return null;
  const [value, mask] = v;
  switch (option!.flag) {
    case '--set-xmark':
      return (m) => (m & ~mask) ^ value;
    case '--set-mark':
      return (m) => (m & ~mask) | value;
    case '--and-mark':
      return (m) => m & value;
    case '--or-mark':
      return (m) => m | value;
    case '--xor-mark':
      return (m) => m ^ value;
    default:
      return null;
  }
}

/** Sets the connection's mark, or the packet's by it. */
export function readConnmark(options: readonly IptOption[]): Act | null {
  const verbs = options.filter((o) => o.flag === '--save-mark' || o.flag === '--restore-mark');
  const masks = options.filter((o) => /^--(nf|ct)?mask$/.test(o.flag));
  if (verbs.length === 0) {
    const to = readMarkOf(options);
    return to === null ? null : connmarkAct((_, ct) => ({ ct: to(ct) >>> 0 }));
  }
  if (verbs.length !== 1 || verbs.length + masks.length !== options.length) return null;
  const mask = (flag: string): number => {
    const text = masks.find((o) => o.flag === flag || o.flag === '--mask')?.values[0];
    return text === undefined ? 0xffffffff : Number(text);
  };
  const [nf, ct] = [mask('--nfmask'), mask('--ctmask')];
  if (!Number.isInteger(nf) || !Number.isInteger(ct)) return null;
  return verbs[0]!.flag === '--save-mark'
    ? connmarkAct((m, c) => ({ ct: ((c & ~ct) ^ (m & nf)) >>> 0 }))
    : connmarkAct((m, c) => ({ mark: ((m & ~nf) ^ (c & ct)) >>> 0 }));
}

/** No connection: nothing happens. A connection mark that is not known is taken as 0, or as anything. */
export function connmarkAct(to: (mark: number, ct: number) => { mark?: number; ct?: number }): Act {
  return (state, site, rule) => {
    const { ct } = state.packet;
    if (ct === null || ct.state === 'INVALID' || ct.state === 'UNTRACKED') return goOn(state);
    const set = (s: State, old: number): Outcome => {
      const now = to(s.packet.mark, old);
      const packet = { ...s.packet, mark: now.mark ?? s.packet.mark, ct: { ...ct, mark: now.ct ?? ct.mark } };
      return goOn(changed(s, site, rule, 'mark', packet));
    };
    if (ct.mark !== null) return set(state, ct.mark);
    const key = ruleKey(site, rule, state.packet, 'connection mark');
    const why = ruleReason(site, rule, { because: 'the mark of the connection is not known', evidence: [] });
    const { yes, no } = fork(state, key, why);
    return [...(no === null ? [] : [set(no, 0)]), ...(yes === null ? [] : [lost(yes, key, why)])];
  };
}

/** TOS, DSCP, TTL and HL: the packet with the field as the target sets it; null: not understood. */
export function readField(name: string, options: readonly IptOption[]): ((p: Packet) => Packet) | null {
  const [option, ...more] = options;
  if (option === undefined || more.length > 0 || option.negated) return null;
  const text = option.values[0] ?? '';
  const n = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : null;
  if (name === 'TOS') {
    const v = option.flag === '--set-tos' ? readValueMask(text, 0xff) : null;
    return v === null ? null : (p) => ({ ...p, tos: (p.tos & ~v[1]) ^ v[0] });
  }
  if (n === null) return null;
  switch (option.flag) {
    case '--set-dscp':
      return (p) => ({ ...p, tos: (p.tos & 3) | (n << 2) });
    case '--ttl-set':
    case '--hl-set':
      return (p) => ({ ...p, ttl: n, ttlGap: null });
    case '--ttl-inc':
    case '--hl-inc':
      return (p) => ({ ...p, ttl: Math.min(255, p.ttl + n) });
    case '--ttl-dec':
    case '--hl-dec':
      return (p) => ({ ...p, ttl: Math.max(0, p.ttl - n) });
    default:
      return null;
  }
}
