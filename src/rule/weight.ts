import type { Finding } from './verdict.ts';

/** How much a difference between two bundles says. */
export type Weight = Pick<Finding, 'severity' | 'confidence'> & { readonly doubt: string };

export const PROVEN: Weight = { severity: 'critical', confidence: 'proven', doubt: '' };
const HOUR_MS = 3_600_000;

/**
 * Times as milliseconds; null: not known. flannel may have made a device again between two bundles; and a copy of a cluster, which is not
 * `tied` to this one, may have the same addresses on its own LAN.
 */
export function weightOf(mine: number | null, theirs: number | null, tied: boolean): Weight {
  const apart = mine === null || theirs === null ? 0 : Math.abs(mine - theirs);
  if (apart > 24 * HOUR_MS)
    return {
      severity: 'medium',
      confidence: 'possible',
      doubt: '; their bundles are more than a day apart: it may have changed between them',
    };
  return tied && apart <= HOUR_MS ? PROVEN : { ...PROVEN, confidence: 'likely' };
}

export const weighed = (finding: Finding, { doubt, ...weight }: Weight): Finding => ({
  ...finding,
  ...weight,
  message: `${finding.message}${doubt}`,
});
