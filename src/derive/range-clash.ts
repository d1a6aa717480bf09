import type { Prefix } from '../core/address.ts';
import { parsePrefix, prefixesOverlap, samePrefix } from '../core/address.ts';
import type { Route } from '../facts/index.ts';

/** The default route, or a piece of it as VPNs write them (0.0.0.0/1 and 128.0.0.0/1): meant for what nothing else is. */
export const isDefault = (dst: Prefix) => dst.length < 4;

export const overlapsRoute = (text: string, prefix: Prefix) => {
  const dst = parsePrefix(text);
  return dst !== null && !isDefault(dst) && prefixesOverlap(dst, prefix);
};

export const isSamePrefix = (text: string, prefix: Prefix) => {
  const parsed = parsePrefix(text);
  return parsed !== null && samePrefix(parsed, prefix);
};

/** Longest prefix, then lowest metric, then first listed. null: each range goes where its owner means it to go. */
export function whoLoses(
  own: Prefix,
  ownRoute: Route | undefined,
  dst: Prefix,
  other: Route,
  routes: readonly Route[],
): 'lan' | 'containers' | 'latent' | null {
  if (ownRoute === undefined) return null;
  const attached = !ownRoute.flags.includes('linkdown') && !ownRoute.flags.includes('dead');
  if (own.length !== dst.length) return own.length > dst.length ? 'lan' : null;
  const first = routes.find((r) => r === ownRoute || r === other);
  const wins = ownRoute.metric !== other.metric ? ownRoute.metric < other.metric : first === ownRoute;
  if (wins) return 'lan';
  return attached ? 'containers' : 'latent';
}
